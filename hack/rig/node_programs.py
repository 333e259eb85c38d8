"""The programs of an assembled node image, and the configuration that goes with them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from rig.processes import run

_PLACES = {
    "usr/local/bin": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "usr/local/sbin": ("runc",),
    "opt/cni/bin": ("host-local", "loopback", "ptp", "portmap"),
    "usr/bin": ("kubelet", "kubeadm", "kubectl"),
}
# kind's own network plugin is an image that cannot be pulled either. One node needs only pairs of devices, as ours.
_POD_SUBNET = "10.244.0.0/24"


def install_programs(root: Path, programs: Mapping[str, Path]) -> None:
    """Put every program where kind and kubeadm look for it."""
    for place, names in _PLACES.items():
        for name in names:
            target = root / place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(programs[name], target)
            target.chmod(0o755)
    network = root / "etc/cni/net.d/10-rig.conflist"
    network.parent.mkdir(parents=True, exist_ok=True)
    network.write_text(json.dumps(_pod_network(), indent=2))
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(_container_defaults(root)))


def _pod_network() -> dict[str, object]:
    address = {"type": "host-local", "subnet": _POD_SUBNET, "routes": [{"dst": "0.0.0.0/0"}]}
    # ipMasq: containers beside the node, where the registries are, know no way to Pods.
    pairs = {"type": "ptp", "ipMasq": True, "ipam": address}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "rig", "plugins": [pairs, ports]}


def _container_defaults(root: Path) -> dict[str, object]:
    """Return what kind's containerd starts every container from: containerd's own, with kind's hook, without limits."""
    found: dict[str, object] = json.loads(run(["chroot", str(root), "ctr", "oci", "spec"]))
    found["hooks"] = {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}
    process = found["process"]
    if isinstance(process, dict):
        process.pop("rlimits", None)
    return found
