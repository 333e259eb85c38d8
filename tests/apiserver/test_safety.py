"""With `failurePolicy: Fail` and no replica left: the system and we come back, and one command frees the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from operating import Cluster
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.roles import NAMESPACE
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
OTHER: Final = "other"
EXCLUDED: Final = "excluded"
OPTED_OUT: Final = {"proxy.kots.io/rewrite": "opted-out", "proxy.kots.io/sync": "unserved"}
VALUES: Final[Json] = {
    "webhook": {"failurePolicy": "Fail"},
    "settings": {"secret": {"excludedNamespaces": [EXCLUDED]}},
}


@pytest.fixture(scope="module")
def locked() -> Iterator[Cluster]:
    """A control plane whose API server asks a webhook that is not there, and refuses what that does not answer."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(VALUES)
        for namespace in (OTHER, EXCLUDED, *OPTED_OUT.values()):
            cluster.kubectl("create", "namespace", namespace)
        for label, namespace in OPTED_OUT.items():
            cluster.kubectl("label", "namespace", namespace, f"{label}=disabled")
        everywhere = (OTHER, EXCLUDED, NAMESPACE, *OPTED_OUT.values())
        for namespace in (*everywhere, "kube-system", "kube-public", "kube-node-lease"):
            cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=120s")
        wait_until(lambda: refused(cluster, OTHER), what="the registration", seconds=30)
        yield cluster


def a_pod(namespace: str) -> Json:
    """Write a Pod."""
    spec = {"containers": [{"name": "main", "image": "quay.io/my-org/api:v1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "main", "namespace": namespace}, "spec": spec}


def a_deployment(namespace: str) -> Json:
    """Write a Deployment of one Pod."""
    spec = {"containers": [{"name": "main", "image": "quay.io/my-org/api:v1"}]}
    labels = {"safety": "test"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "safety", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def refused(cluster: Cluster, namespace: str) -> str:
    """Return why no Pod can be created in a namespace, by a dry run; empty where one can."""
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(a_pod(namespace)))
    except RigError as error:
        return str(error)
    return ""


def pods(cluster: Cluster, namespace: str, selector: str) -> set[str]:
    """Return the UIDs of Pods that are not about to go."""
    items = cluster.get("pods", "-n", namespace, "-l", selector).get("items", [])
    return {item["metadata"]["uid"] for item in items if "deletionTimestamp" not in item["metadata"]}


def test_other_namespaces_are_refused(locked: Cluster) -> None:
    """Fail means that: without a replica no Pod is created where we are asked, and the error says whom to blame."""
    told = refused(locked, OTHER)

    assert 'failed calling webhook "pods.proxy.kots.io"' in told


@pytest.mark.parametrize(
    "namespace", ["kube-system", "kube-public", "kube-node-lease", NAMESPACE, EXCLUDED, *OPTED_OUT.values()]
)
def test_these_namespaces_are_never_asked_about(locked: Cluster, namespace: str) -> None:
    """System namespaces, our own, excluded and opted-out ones do not depend on us: the API server asks nobody."""
    assert refused(locked, namespace) == ""


def test_system_pods_come_back(locked: Cluster) -> None:
    """A Pod of kube-system that goes is replaced by its controller while all of our replicas are gone."""
    locked.apply(a_deployment("kube-system"))
    (before,) = wait_until(lambda: pods(locked, "kube-system", "safety=test"), what="the Pod", seconds=60)
    locked.kubectl("delete", "pod", "-n", "kube-system", "-l", "safety=test", "--force", "--grace-period=0")

    wait_until(lambda: pods(locked, "kube-system", "safety=test") - {before}, what="its successor", seconds=60)


def test_our_own_pods_come_back(locked: Cluster) -> None:
    """Both roles' Deployments, as the chart renders them, get their Pods although nobody answers reviews."""
    deployments = [each for each in locked.render_all(VALUES) if each["kind"] == "Deployment"]
    locked.apply(*deployments)
    wanted = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["replicas"] for each in deployments
    }

    def have() -> dict[str, int]:
        """Count the Pods of each role."""
        return {role: len(pods(locked, NAMESPACE, f"app.kubernetes.io/component={role}")) for role in wanted}

    wait_until(lambda: have() == wanted, what=f"the Pods {wanted}", seconds=60)
    locked.kubectl("delete", "pods", "-n", NAMESPACE, "--all", "--force", "--grace-period=0")
    wait_until(lambda: have() == wanted, what="their successors", seconds=60)

    assert set(wanted) == {"controller", "webhook"}


def test_workloads_elsewhere_wait_for_the_broken_glass(locked: Cluster) -> None:
    """A Deployment elsewhere gets no Pod, says why, and gets it once our registration is deleted."""
    locked.apply(a_deployment(OTHER))

    def complaints() -> list[str]:
        """Return what its ReplicaSet says about Pods that it cannot create."""
        sets = locked.get("replicasets", "-n", OTHER, "-l", "safety=test")["items"]
        told = (condition for each in sets for condition in each.get("status", {}).get("conditions", []))
        return [condition["message"] for condition in told if condition["type"] == "ReplicaFailure"]

    (why, *_) = wait_until(complaints, what="a complaint", seconds=60)
    assert "pods.proxy.kots.io" in why
    assert not pods(locked, OTHER, "safety=test")

    locked.kubectl("delete", "mutatingwebhookconfiguration", NAMESPACE)
    try:
        wait_until(lambda: not refused(locked, OTHER), what="the end of the registration", seconds=30)
        locked.kubectl("rollout", "restart", "deployment/safety", "-n", OTHER)  # Its own back-off grows to minutes.
        assert wait_until(lambda: pods(locked, OTHER, "safety=test"), what="the Pod", seconds=60)
    finally:
        locked.install(VALUES)
