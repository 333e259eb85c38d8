"""The one interface behind which every cluster of the rig stands, and the choice between them."""

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.node import Node

CONTROL_PLANE, NODE = "control-plane", "node"
KINDS = (NODE, CONTROL_PLANE)
"""What there is, the fullest first."""


class Cluster(Protocol):
    """A Kubernetes that can be brought up and taken down."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for use on the host."""

    def up(self) -> None:
        """Bring it up and wait until it is ready; leave nothing behind if that fails."""

    def load_image(self, archive: Path) -> None:
        """Put an image archive where the cluster's Pods find it."""

    def down(self) -> None:
        """End it and leave nothing behind; may be called twice."""


def choose(kind: str | None = None) -> tuple[str, str]:
    """Return the kind of cluster to use, and why, in words for the user.

    Without a wish it is the fullest that this machine can run. There is room for two more: ``kind`` where Docker is,
    and an existing cluster, the latter never chosen but only asked for.
    """
    if kind is not None:
        if kind not in KINDS:
            raise RigError(f"no cluster of kind {kind!r}; there are: {', '.join(KINDS)}")
        return kind, "asked for"
    obstacle = obstacle_to_node()
    return (CONTROL_PLANE, f"a node needs {obstacle}") if obstacle else (NODE, "Linux and root: the fullest here")


def obstacle_to_node() -> str:
    """Return what keeps this machine from running a node; empty if nothing does."""
    if sys.platform != "linux":
        return f"Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "root (it makes namespaces and mounts)"
    if shutil.which("unshare") is None:
        return "unshare (package util-linux)"
    return ""


def make(kind: str) -> Cluster:
    """Return a cluster of that kind, not yet up; builds and installs what it needs."""
    return Node() if kind == NODE else ControlPlane()
