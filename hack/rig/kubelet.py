"""The Kubernetes programs of a node: kubelet, kube-proxy and, since there is only this node, the scheduler."""

import json
from collections.abc import Mapping
from pathlib import Path

from rig.authority import Authority
from rig.containerd import SOCKET
from rig.dns import CLUSTER_DOMAIN
from rig.kubeconfig import Server, write_kubeconfig
from rig.layout import API_SERVER_PORT, DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, POD_NETWORK, Layout
from rig.processes import Process

_USERS = {
    "kubelet": (f"system:node:{NODE_NAME}", ("system:nodes",)),
    "kube-proxy": ("system:kube-proxy", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
}


def write_configuration(layout: Layout, authority: Authority) -> None:
    """Write the kubeconfig of each program and the kubelet's configuration."""
    server = Server(f"https://{NODE_ADDRESS}:{API_SERVER_PORT}", layout.certificate_authority)
    for name, (user, groups) in _USERS.items():
        write_kubeconfig(layout.etc / f"{name}.kubeconfig", server, authority.client(user, groups))
    authority.server("kubelet", [NODE_NAME, NODE_ADDRESS])
    (layout.etc / "kubelet.json").write_text(json.dumps(_kubelet_configuration(layout), indent=2))


def api_server_flags(layout: Layout, authority: Authority) -> tuple[str, ...]:
    """Return what the API server needs to fetch logs and to run commands in containers."""
    client = authority.client("kube-apiserver-kubelet-client", ["system:masters"])
    return (
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--kubelet-certificate-authority={layout.certificate_authority}",
        # The node's name is known to nobody else.
        "--kubelet-preferred-address-types=InternalIP",
    )


def processes(layout: Layout, binaries: Mapping[str, Path]) -> list[Process]:
    """Return the programs, to be started once containerd answers."""
    kubeconfig = {name: f"--kubeconfig={layout.etc / f'{name}.kubeconfig'}" for name in _USERS}
    arguments = {
        # One scheduler, scraped by nobody: no election, no port.
        "kube-scheduler": [kubeconfig["kube-scheduler"], "--leader-elect=false", "--secure-port=0"],
        "kubelet": [
            kubeconfig["kubelet"],
            f"--config={layout.etc / 'kubelet.json'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ],
        "kube-proxy": [
            kubeconfig["kube-proxy"],
            f"--hostname-override={NODE_NAME}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_NETWORK}",
            # Leave the machine's connection tracking alone: its limits are not a namespace's to change.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--oom-score-adj=0",
            # A new Service works at once rather than within a second; there are few of them.
            "--iptables-min-sync-period=100ms",
        ],
    }
    return [
        Process(name, [str(binaries[name]), *flags], log=layout.logs / f"{name}.log")
        for name, flags in arguments.items()
    ]


def _kubelet_configuration(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificate_authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "resolvConf": "/etc/resolv.conf",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        # Machines with control groups of version 1 are still common, and new kubelets refuse them by default.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        # No groups for the classes of quality of service: nothing is rationed here.
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # Needs to know the root file system's device, which it does not find from inside our mounts.
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        # Taken as they are rather than set: see rig.namespaces, which shows the wanted values.
        "protectKernelDefaults": True,
        # A full disk of the developer's machine is no reason to evict a test.
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
        ),
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
    }
