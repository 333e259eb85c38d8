"""The one interface behind which every cluster of the rig stands, and the choice between them."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rig import docker, official_image
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.existing import Existing
from rig.kind import Kind
from rig.node import Node
from rig.whole import WholeCluster

KIND, KIND_ASSEMBLED = "kind", "kind-assembled"
NODE, CONTROL_PLANE, EXISTING = "node", "control-plane", "existing"
KINDS = (KIND, NODE, CONTROL_PLANE, KIND_ASSEMBLED, EXISTING)
"""What there is: those that may be chosen, the fullest first, and those that are only asked for."""
OURS = (KIND, NODE, CONTROL_PLANE, KIND_ASSEMBLED)
"""What the rig brings up and takes down."""
WHOLE = (KIND, KIND_ASSEMBLED, NODE)
"""On these, Pods pull images and run."""


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


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for, if anything."""

    kind: str = ""
    context: str = ""
    """An existing cluster, by its context in the kubeconfig."""
    image: str = ""
    """The operator's image, where an existing cluster can pull it."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Wish":
        """Read it from the variables of the Makefile."""
        return cls(*(environment.get(name, "") for name in ("CLUSTER", "CONTEXT", "IMAGE")))


def choose(wish: Wish | None = None) -> tuple[str, str]:
    """Return the kind of cluster to use, and why, in words for the user.

    Without a wish it is the fullest that this machine can run; to know that, kind's node image is pulled. An existing
    cluster is never chosen, nor is one that somebody's kubeconfig happens to lead to: it takes the wish and the name of
    its context.

    Raises:
        RigError: there is no such kind, or what an existing cluster needs was not said.
    """
    wish = wish or Wish()
    if wish.kind and wish.kind not in KINDS:
        raise RigError(f"no cluster of kind {wish.kind!r}; there are: {', '.join(KINDS)}")
    _check_existing(wish)
    if wish.kind:
        return wish.kind, "asked for"
    without_kind = obstacle_to_kind()
    if not without_kind:
        return KIND, "Docker answers, and has kind's node image"
    without_node = obstacle_to_node()
    if without_node:
        return CONTROL_PLANE, f"{without_kind}; a node needs {without_node}"
    return NODE, f"{without_kind}; a node needs Linux and root, which are here"


def _check_existing(wish: Wish) -> None:
    if wish.kind == EXISTING:
        missing = [name for name, value in (("CONTEXT", wish.context), ("IMAGE", wish.image)) if not value]
        if missing:
            raise RigError(
                f"an existing cluster needs {' and '.join(f'{name}=…' for name in missing)}: CONTEXT names its context "
                "in your kubeconfig, IMAGE the operator's image where the cluster can pull it"
            )
    elif wish.context:
        raise RigError(f"CONTEXT={wish.context} is for an existing cluster: say CLUSTER={EXISTING} too, or neither")


def obstacle_to_kind() -> str:
    """Return what keeps this machine from running kind, as a clause; empty if nothing does."""
    if sys.platform != "linux":
        # What runs in containers beside the cluster is built for this machine.
        return f"kind needs Linux, this is {sys.platform}"
    found = docker.find()
    if found is None:
        return "no Docker"
    try:
        image = official_image.pinned_image()
    except RigError as error:
        return f"Docker answers, but which node image kind needs cannot be told: {error}"
    obstacle = official_image.obstacle_to_image(found, image)
    name, _, _ = image.partition("@")
    return f"Docker answers, but the node image {name} cannot be had: {obstacle}" if obstacle else ""


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
    """Return a cluster of that kind, one of ours, not yet up; builds and installs what it needs."""
    return ControlPlane() if kind == CONTROL_PLANE else make_whole(kind)


def make_whole(kind: str) -> WholeCluster:
    """Return a cluster of that kind on which Pods run, not yet up.

    Raises:
        RigError: the kind is another.
    """
    makers: Mapping[str, Callable[[], WholeCluster]] = {
        NODE: Node,
        KIND: Kind,
        KIND_ASSEMBLED: lambda: Kind(assembled=True),
    }
    if kind not in makers:
        raise RigError(f"no Pods run on a cluster of kind {kind!r} of ours; use one of: {', '.join(WHOLE)}")
    return makers[kind]()


def choose_for_tests(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the kind of cluster for tests with Pods, and why: what CLUSTER asks for, otherwise the fullest here."""
    return choose(Wish(environment.get("CLUSTER", "")))


def open_existing(wish: Wish) -> Existing:
    """Return the existing cluster that was asked for."""
    choose(wish)
    return Existing(wish.context)
