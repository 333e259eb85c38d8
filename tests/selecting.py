"""Which tests with Pods are left out on the cluster of this session, and why."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from rig.clusters import CONTROL_PLANE, NODE, choose_for_tests

WITH_PODS = frozenset({"node", "own_node", "host"})
"""Marks of tests that need more than a control plane."""


@cache
def chosen_cluster() -> tuple[str, str]:
    """Return the kind of cluster of this session, and why: asked once, for the question may pull an image."""
    return choose_for_tests()


def why_left_out(marks: Collection[str], kind: str, reason: str, obstacle: str) -> str:
    """Return why a test with these marks cannot run on the kind of cluster, chosen for the reason; empty if it can.

    The obstacle is what keeps this machine from running a node of the rig's own, which matters to tests that make
    something on the machine itself, also beside kind.
    """
    own = "own_node" in marks
    if kind == CONTROL_PLANE and WITH_PODS.intersection(marks):
        return f"no Pod runs on a {kind} ({reason})"
    if "host" in marks and obstacle:
        return f"making a node, a Docker or an image on this machine itself, which needs {obstacle}"
    return f"reaching into the rig's own node, and this is {kind} ({reason})" if own and kind != NODE else ""
