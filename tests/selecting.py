"""Which tests with Pods are left out on the cluster of this session, and why."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from rig.clusters import CONTROL_PLANE, NODE, choose_for_tests


@cache
def chosen_cluster() -> tuple[str, str]:
    """Return the kind of cluster of this session, and why: asked once, for the question may pull an image."""
    return choose_for_tests()


def why_left_out(marks: Collection[str], kind: str, reason: str) -> str:
    """Return why a test with these marks cannot run on the kind of cluster, chosen for the reason; empty if it can."""
    own = "own_node" in marks
    if kind == CONTROL_PLANE and (own or "node" in marks):
        return f"no Pod runs on a {kind} ({reason})"
    return f"reaching into the rig's own node, and this is {kind} ({reason})" if own and kind != NODE else ""
