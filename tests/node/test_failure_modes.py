"""Lines of docs/operating/failure-modes.md that take a node: what Pods do while the world around it is away."""

from __future__ import annotations

import pytest

from demo.story import IMAGE, PROXIED
from node.conftest import SLUG, Installed, Json
from rig.layout import PROXY_NAMES
from rig.outages import program_away
from rig.waiting import wait_until

pytestmark = pytest.mark.node
PROXY = PROXY_NAMES[0]


def a_pod(namespace: str, name: str) -> Json:
    """Write a Pod that pulls the private image each time it starts."""
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Always"}
    metadata = {"name": name, "namespace": namespace, "labels": {"test": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def state_of(installed: Installed, namespace: str, name: str) -> str:
    """Return what the only container of a Pod is doing: `running`, or why it waits."""
    statuses = installed.get("pod", name, "-n", namespace).get("status", {}).get("containerStatuses", [])
    state = statuses[0]["state"] if statuses else {}
    return "running" if "running" in state else state.get("waiting", {}).get("reason", "")


def test_pod_waits_for_a_proxy_that_is_away_and_then_runs(installed: Installed, licensed: str) -> None:
    """The Pod is rewritten and cannot pull; what runs goes on; with the proxy back it starts by itself."""
    installed.apply(a_pod(licensed, "before"))
    installed.await_pod(licensed, "test=before")
    with installed.node.outage(PROXY):
        installed.apply(a_pod(licensed, "meanwhile"))
        refused = wait_until(
            lambda: state_of(installed, licensed, "meanwhile") in {"ErrImagePull", "ImagePullBackOff"},
            what="the pull to fail",
            seconds=60,
        )
        assert refused
        assert state_of(installed, licensed, "before") == "running"

    pod = installed.await_pod(licensed, "test=meanwhile")

    assert pod["spec"]["containers"][0]["image"] == PROXIED


def considered(installed: Installed, namespace: str, image: str) -> str:
    """Return the image that a Pod would be created with."""
    dry = ("run", "considered", "-n", namespace, f"--image={image}", "--dry-run=server", "-o", "jsonpath={..image}")
    return installed.kubectl(*dry)


@pytest.mark.own_node
def test_image_that_nobody_can_ask_about_without_dns_counts_as_private(installed: Installed, licensed: str) -> None:
    """A registry inside the cluster is left alone as long as its name has an address, and proxied when it has none."""
    for name in ("found", "lost"):
        installed.kubectl("create", "service", "clusterip", name, "--tcp=443", "-n", licensed)
    found, lost = (f"{name}.{licensed}.svc.cluster.local/team/service:v1" for name in ("found", "lost"))
    wait_until(
        lambda: considered(installed, licensed, found) == found, what="the registry to be found inside", seconds=30
    )
    with program_away(installed.own_node, "coredns"):
        assert considered(installed, licensed, lost) == f"{PROXY}/proxy/{SLUG}/{lost}"
