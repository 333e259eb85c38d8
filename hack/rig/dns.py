"""The names that Pods know: CoreDNS, for Services and for the registries of the world outside."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.authority import Authority
from rig.kubeconfig import Server, write_kubeconfig
from rig.layout import API_SERVER_PORT, DNS_ADDRESS, NODE_ADDRESS, Layout, names_by_address
from rig.processes import Process

CLUSTER_DOMAIN = "cluster.local"
_USER = "rig:dns"
_READY_PORT = 8181
# Nothing is remembered for longer than this: what a test changes is seen at once.
_SECONDS = 1


def permissions() -> list[dict[str, object]]:
    """Return the objects that let the server see which Services there are, and nothing else."""
    metadata = {"name": _USER}
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _USER},
            "subjects": [{"apiGroup": group, "kind": "User", "name": _USER}],
        },
    ]


def write_configuration(layout: Layout, authority: Authority, private_registries: Sequence[str]) -> None:
    """Write the server's configuration, its kubeconfig and the zone of the world outside."""
    server = Server(f"https://{NODE_ADDRESS}:{API_SERVER_PORT}", layout.certificate_authority)
    kubeconfig = write_kubeconfig(layout.etc / "dns.kubeconfig", server, authority.client(_USER))
    zone = layout.etc / "dns.zone"
    zone.write_text(zone_file(private_registries))
    (layout.etc / "Corefile").write_text(
        f"{CLUSTER_DOMAIN} {{\n"
        f"  bind {DNS_ADDRESS}\n"
        f"  ready {DNS_ADDRESS}:{_READY_PORT}\n"
        "  errors\n"
        f"  kubernetes {{\n    kubeconfig {json.dumps(str(kubeconfig))}\n    ttl {_SECONDS}\n  }}\n"
        "}\n"
        f". {{\n  bind {DNS_ADDRESS}\n  errors\n  file {json.dumps(str(zone))}\n}}\n"
    )


def zone_file(private_registries: Sequence[str]) -> str:
    """Return the whole world outside as a zone; a name that is not in it does not exist."""
    names = names_by_address(private_registries)
    records = [f"{name}. {_SECONDS} IN A {address}\n" for address, each in names.items() for name in each]
    start = f". {_SECONDS} IN SOA rig. rig. 1 3600 3600 3600 {_SECONDS}\n. {_SECONDS} IN NS rig.\n"
    return start + "".join(records)


def server(layout: Layout, binaries: Mapping[str, Path]) -> Process:
    """Return the server as a process."""
    return Process(
        "coredns", [str(binaries["coredns"]), "-conf", str(layout.etc / "Corefile")], log=layout.logs / "coredns.log"
    )


def is_ready() -> bool:
    """Tell whether the server has seen the cluster's Services."""
    try:
        with urllib.request.urlopen(f"http://{DNS_ADDRESS}:{_READY_PORT}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
