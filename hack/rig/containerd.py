"""The container runtime: containerd, runc and the network of the Pods."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from rig.layout import PAUSE_IMAGE, POD_NETWORK, Layout
from rig.processes import Process

SOCKET = "/run/containerd/containerd.sock"


def write_configuration(layout: Layout, binaries: Mapping[str, Path]) -> None:
    """Write what containerd reads: its own configuration, the registries' authority, the Pod network."""
    # For every registry: real names with certificates of our authority, so that images keep the names that they have in
    # production.
    folder = layout.etc / "certs.d" / "_default"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'ca = "{layout.certificate_authority}"\n')
    network = layout.etc / "cni"
    network.mkdir()
    (network / "10-rig.conflist").write_text(json.dumps(_pod_network(), indent=2))
    (layout.etc / "containerd.toml").write_text(_configuration(layout, binaries))


def containerd(layout: Layout, binaries: Mapping[str, Path]) -> Process:
    """Return containerd as a process; its shim and runc are found through PATH."""
    folders = [str(binaries[name].parent) for name in ("containerd-shim-runc-v2", "runc")]
    path = ":".join([*dict.fromkeys(folders), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    command = [str(binaries["containerd"]), "--config", str(layout.etc / "containerd.toml")]
    return Process("containerd", command, log=layout.logs / "containerd.log", env={"PATH": path})


def import_arguments(archive: Path) -> list[str]:
    """Return the arguments of ctr that put an image archive where the kubelet finds it."""
    # --local: the client unpacks by itself, without the daemon's transfer service.
    return ["--address", SOCKET, "--namespace", "k8s.io", "images", "import", "--local", str(archive)]


def _pod_network() -> dict[str, object]:
    return {
        "cniVersion": "1.0.0",
        "name": "rig",
        "plugins": [
            {
                # A pair of devices for each Pod and a route: one node needs no bridge.
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "subnet": POD_NETWORK,
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _configuration(layout: Layout, binaries: Mapping[str, Path]) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE (as in many containers) nobody may lower its own score.
    # SystemdCgroup = false: the first process of the node is no systemd.
    return f"""version = 3
root = "{layout.workdir / "containerd"}"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{layout.etc / "certs.d"}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{binaries["runc"]}"
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{binaries["ptp"].parent}"]
conf_dir = "{layout.etc / "cni"}"
"""
