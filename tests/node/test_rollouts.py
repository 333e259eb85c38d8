"""Replicas that come, go, die and hang while Pods are created without pause, and each that is missed is refused."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Iterator

import pytest

from demo.story import IMAGE, PROXIED
from node.conftest import Installed, Json
from pod_stream import Outcome, PodStream, describe
from rig.errors import RigError
from rig.outages import signal_container
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until

pytestmark = pytest.mark.node
WEBHOOK = f"{OPERATOR}-webhook"
_log = logging.getLogger(__name__)


@pytest.fixture
def pods(installed: Installed, licensed: str) -> Iterator[PodStream]:
    """Pods without pause in a licensed namespace, while the webhook's failure policy is `Fail`."""
    set_failure_policy(installed, "Fail")
    try:
        with PodStream(installed.node.kubeconfig, licensed, IMAGE, PROXIED) as pods:
            yield pods
    finally:
        set_failure_policy(installed, "Ignore")


def set_failure_policy(installed: Installed, policy: str) -> None:
    """Change what happens to Pods that the webhook gives no answer about."""
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]
    what = ("mutatingwebhookconfiguration", OPERATOR)
    installed.kubectl("patch", *what, "--type=json", "--patch", json.dumps(patch))


def replicas(installed: Installed, role: str = "webhook") -> dict[str, Json]:
    """Return the Pods of a role by name, those that are about to end included."""
    items = installed.get("pods", "-n", OPERATOR, "-l", f"app.kubernetes.io/component={role}")["items"]
    return {item["metadata"]["name"]: item for item in items}


def await_gone(installed: Installed, *names: str, role: str = "webhook") -> None:
    """Wait until Pods have ended for good: the drain is over then, and every connection to them."""
    wait_until(lambda: not set(names) & set(replicas(installed, role)), what=f"the end of {names}", seconds=120)


def endpoint_of(installed: Installed, pod: str) -> Json:
    """Return whether and how a replica stands among the webhook's endpoints."""
    found = installed.get("endpointslices", "-n", OPERATOR, "-l", f"kubernetes.io/service-name={WEBHOOK}")["items"]
    endpoints = [each for item in found for each in item.get("endpoints") or []]
    return next((each["conditions"] for each in endpoints if each["targetRef"]["name"] == pod), {})


def restarts_of(pod: Json) -> int:
    """Return how often a Pod's container was started again."""
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count


def busiest(installed: Installed, pods: PodStream) -> Json:
    """Return the replica that is asked the most; the API server has its connections to that one."""

    def asked() -> dict[str, int]:
        return {name: installed.figures_of(name, "reviews_total").total() for name in replicas(installed)}

    before = asked()
    pods.await_more()
    after = asked()
    return replicas(installed)[max(after, key=lambda name: after[name] - before[name])]


def test_restart_of_both_roles_refuses_no_pod(installed: Installed, pods: PodStream) -> None:
    """`kubectl rollout restart` replaces every Pod of the operator, and all Pods that are created are rewritten."""
    before = {role: list(replicas(installed, role)) for role in ("webhook", "controller")}
    installed.kubectl("rollout", "restart", "deployment", "-n", OPERATOR)
    for role, names in before.items():
        installed.kubectl("rollout", "status", f"deployment/{OPERATOR}-{role}", "-n", OPERATOR, "--timeout=120s")
        await_gone(installed, *names, role=role)
    pods.await_more()
    _log.info("rollout restart: %s", dict(pods.outcomes()))

    assert describe(pods.creations(0, Outcome.REFUSED, Outcome.UNCHANGED, Outcome.UNREACHABLE)) == []
    assert not set(replicas(installed)) & set(before["webhook"])


def evict(installed: Installed, pod: str) -> bool:
    """Evict a Pod as `kubectl drain` does; tells whether the disruption budget allowed it."""
    metadata = {"name": pod, "namespace": OPERATOR}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{OPERATOR}/pods/{pod}/eviction"
    try:
        installed.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    except RigError as error:
        if "disruption budget" not in str(error):
            raise
        return False
    return True


def test_eviction_of_each_replica_refuses_no_pod(installed: Installed, pods: PodStream) -> None:
    """Each goes when the disruption budget lets it, as when nodes are drained, and all Pods are rewritten."""
    before = list(replicas(installed))
    for name in before:
        wait_until(lambda name=name: evict(installed, name), what=f"leave to evict {name}", seconds=60)  # type: ignore[misc]
    await_gone(installed, *before)
    pods.await_more()
    _log.info("evictions: %s", dict(pods.outcomes()))

    assert describe(pods.creations(0, Outcome.REFUSED, Outcome.UNCHANGED, Outcome.UNREACHABLE)) == []
    assert len(before) == 2


def report(what: str, pods: PodStream, begin: float, end: float) -> None:
    """Say what a failure cost; `-rP` or `--log-cli-level=INFO` shows it, and docs/high-availability.md quotes it."""
    during = [each for each in pods.creations(begin) if each.began < end]
    refused = [each for each in during if each.outcome is Outcome.REFUSED]
    longest = max((each.ended - each.began for each in refused), default=0.0)
    shape = "%s: %.1f s until its endpoint was gone; of %d Pods %d refused, the last %.1f s after; longest wait %.1f s"
    last = max((each.began - begin for each in refused), default=0.0)
    _log.info(shape, what, end - begin, len(during), len(refused), last, longest)


@pytest.mark.own_node
def test_killed_replica_costs_only_calls_on_their_way_to_it(installed: Installed, pods: PodStream) -> None:
    """Pods are refused until its endpoint is gone, none that is sent afterwards; the container starts again."""
    victim = busiest(installed, pods)
    name, status = victim["metadata"]["name"], victim["status"]["containerStatuses"][0]
    begin = time.monotonic()
    signal_container(status["containerID"], signal.SIGKILL)
    wait_until(
        lambda: (
            not endpoint_of(installed, name).get("ready")
            or restarts_of(replicas(installed)[name]) > restarts_of(victim)
        ),
        what="the end of its endpoint",
        seconds=60,
    )
    end = time.monotonic()
    pods.await_more()
    wait_until(lambda: endpoint_of(installed, name).get("ready"), what="the replica to be back", seconds=60)
    pods.await_more()
    report("SIGKILL", pods, begin, end)

    assert describe(pods.creations(end, Outcome.REFUSED)) == []
    assert pods.outcomes()[Outcome.UNCHANGED] == 0


@pytest.mark.own_node
def test_hanging_replica_costs_only_calls_on_their_way_to_it(installed: Installed, pods: PodStream) -> None:
    """Pods are refused until its endpoint is gone, none that is sent afterwards; it goes on when it wakes."""
    victim = busiest(installed, pods)
    name, container = victim["metadata"]["name"], victim["status"]["containerStatuses"][0]["containerID"]
    begin = time.monotonic()
    signal_container(container, signal.SIGSTOP)
    try:
        wait_until(lambda: not endpoint_of(installed, name).get("ready"), what="the end of its endpoint", seconds=60)
        end = time.monotonic()
        pods.await_more()
    finally:
        signal_container(container, signal.SIGCONT)
    wait_until(lambda: endpoint_of(installed, name).get("ready"), what="the replica to be back", seconds=60)
    pods.await_more()
    report("SIGSTOP", pods, begin, end)

    assert describe(pods.creations(end, Outcome.REFUSED)) == []
    assert pods.outcomes()[Outcome.UNCHANGED] == 0
