"""Where everything of a node is: addresses inside its network, files below its working folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "rig-node"
# Nobody outside the node's own network namespace ever sees these.
NODE_ADDRESS = "10.9.0.2"
DNS_ADDRESS = "10.9.0.3"
GATEWAY_ADDRESS = "10.9.0.1"
# The registries of the world outside, as seen from the node. Nothing of the cluster is in this range.
REGISTRY_NETWORK = "10.9.1.0/24"
UPSTREAM_ADDRESS = "10.9.1.2"
PUBLIC_ADDRESS = "10.9.1.3"
HANGING_ADDRESS = "10.9.1.4"
PREFIX_LENGTH = 24
POD_NETWORK = "10.244.0.0/24"
API_SERVER_PORT = 6443
REGISTRY_NAME = "registry.replicated.com"
PROXY_NAMES = ("proxy.replicated.com", REGISTRY_NAME)
PUBLIC_REGISTRY = "ghcr.io"
HANGING_REGISTRY = "registry.hanging.example"
"""Takes connections and never says a word."""
PAUSE_IMAGE = "rig.local/pause:1"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one node; the host and the node's first process agree on them through this."""

    workdir: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.workdir / "pki"

    @property
    def certificate_authority(self) -> Path:
        """The authority that signed everything in this node."""
        return self.pki / "ca.crt"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.workdir / "logs"

    @property
    def etc(self) -> Path:
        """Configuration files that the rig writes."""
        return self.workdir / "etc"

    @property
    def licenses(self) -> Path:
        """The licenses that the stand-in knows, and which of them are revoked."""
        return self.workdir / "licenses.json"

    @property
    def settings(self) -> Path:
        """What the host tells the node's first process."""
        return self.workdir / "node.json"

    @property
    def process_id(self) -> Path:
        """The ID, on the host, of the process that made the namespaces."""
        return self.workdir / "pid"

    @property
    def ready(self) -> Path:
        """Appears when the node is ready."""
        return self.workdir / "ready"

    @property
    def mounts(self) -> Path:
        """The folders that are mounted over the host's inside the node."""
        return self.workdir / "mounts"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig for use on the host."""
        return self.workdir / "host.kubeconfig"


def names_by_address(private_registries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the real names that programs and Pods of the node find at our addresses."""
    return {
        NODE_ADDRESS: (NODE_NAME, *PROXY_NAMES),
        UPSTREAM_ADDRESS: tuple(private_registries),
        PUBLIC_ADDRESS: (PUBLIC_REGISTRY,),
        HANGING_ADDRESS: (HANGING_REGISTRY,),
    }
