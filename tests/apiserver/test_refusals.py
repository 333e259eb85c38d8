"""Writes that the API server refuses for good reasons, in one namespace or in all, and fights over a copy."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from auditing import lines_of
from faulty import FaultyCluster, faulty_cluster
from operating import (
    DEFAULT_HOSTS,
    LICENSE_ID,
    SECRET,
    Json,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
)
from rig.errors import RigError
from rig.faults import WRITES, Delay, Freeze, Requests
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

NEW_ID = "another-license-id-for-tests"
MANY = 40
POLICY = "refuse-pull-secrets"


@pytest.fixture(scope="module")
def cluster() -> Iterator[FaultyCluster]:
    """A cluster behind a proxy, which counts what is asked for."""
    with faulty_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def no_faults(cluster: FaultyCluster) -> Iterator[None]:
    """Leave no fault behind."""
    yield
    cluster.proxy.clear()


class Tries:
    """The writes of Secrets to a namespace from now on."""

    def __init__(self, cluster: FaultyCluster, namespace: str) -> None:
        requests = Requests(path=f"/{namespace}/secrets", methods=WRITES)
        self._rule = cluster.proxy.inject(requests, Delay(0), None)
        self._began = time.monotonic()

    @property
    def count(self) -> int:
        """How many there were."""
        return self._rule.hits

    def are_paced(self) -> bool:
        """Tell whether the pause was doubled each time: tries at 0, 1, 3, 7, … seconds, and one more by an event."""
        count = self.count
        return 2.0 ** (count - 2) - 1 <= time.monotonic() - self._began


def failures_of(cluster: FaultyCluster, home: str) -> dict[str, str]:
    """Read which namespaces failed, and why."""
    failures = cluster.get("license", "my-app", "-n", home).get("status", {}).get("failures", [])
    return {item["namespace"]: item["reason"] for item in failures}


def metric(role: RoleProcess, name: str) -> float:
    """Read a metric."""
    lines = (line for line in role.answer("/metrics").splitlines() if line.startswith(f"replicated_proxy_{name} "))
    return float(next(lines, "x -1").rsplit(" ", 1)[1])


def a_policy(namespace: str) -> list[Json]:
    """Write an admission policy that refuses Secrets of our name in one namespace."""
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
    policy = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": f"object.metadata.name != '{SECRET}'", "message": "not in this house"}],
        },
    }
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {
            "policyName": POLICY,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": here},
        },
    }
    return [policy, binding]


def test_policy_in_one_namespace_of_many_is_reported_and_backed_off(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """The others are served, the status names the one and its reason, it is tried ever more seldom, and then healed."""
    app, refused, *others = namespaces.create("app", "refused", *(f"n{number}" for number in range(MANY)))
    cluster.apply(*a_policy(refused))
    wait_until(lambda: is_refused(cluster, refused), what="the policy", seconds=30)
    writes = Tries(cluster, refused)

    cluster.apply(a_license(app), an_application(app, refused, *others))
    for namespace in (app, *others):
        cluster.await_secret(namespace)
    wait_until(lambda: failures_of(cluster, app), what="the failure", seconds=20)
    wait_until(lambda: metric(controller, "oldest_unsynced_seconds") > 5, what="age", seconds=20)

    assert set(failures_of(cluster, app)) == {refused}
    assert 'replicated_proxy_failures{reason="' in controller.answer("/metrics")
    message = cluster.get("license", "my-app", "-n", app)["status"]["failures"][0]["message"]
    assert "not in this house" in message
    assert writes.count > 1
    assert writes.are_paced()

    cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", POLICY)
    cluster.await_synced(app, refused, *others, license_id=LICENSE_ID)
    wait_until(lambda: metric(controller, "oldest_unsynced_seconds") == 0, what="nobody unsynced", seconds=20)


def is_refused(cluster: FaultyCluster, namespace: str) -> bool:
    """Tell whether the policy is in force already."""
    try:
        cluster.kubectl("create", "secret", "generic", SECRET, "-n", namespace, "--dry-run=server")
    except RigError:
        return True
    return False


def test_right_that_is_taken_away_and_given_back(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """Without `create` on Secrets every new namespace fails by name, the old copies stay, and all heals with it."""
    app, old, new = namespaces.create("app", "old", "new")
    cluster.apply(a_license(app), an_application(app, old))
    before = cluster.await_secret(old)
    role = cluster.get("clusterrole", f"{RELEASE}-controller")
    allowed = [rule for rule in role["rules"] if rule.get("resources") != ["secrets"] or rule["verbs"] != ["create"]]
    assert len(allowed) < len(role["rules"])
    cluster.kubectl("replace", "-f", "-", input=json.dumps(role | {"rules": allowed}))
    wait_until(lambda: not may_create(cluster, new), what="the API server to forget the right", seconds=30)

    cluster.apply(an_application(app, old, new))
    wait_until(lambda: failures_of(cluster, app) == {new: "Forbidden"}, what="the failure", seconds=20)

    assert cluster.secret(old) == before
    assert controller.answer("/livez") == "ok\n"

    role["metadata"].pop("resourceVersion")
    cluster.kubectl("replace", "-f", "-", input=json.dumps(role))
    cluster.await_synced(app, old, new, license_id=LICENSE_ID)


def may_create(cluster: FaultyCluster, namespace: str) -> bool:
    """Tell whether the controller's account may create Secrets in a namespace, as the API server sees it now."""
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-controller"
    question = {"namespace": namespace, "resource": "secrets", "verb": "create"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "resourceAttributes": question},
    }
    answer = json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review)))
    return bool(answer["status"]["allowed"])


@pytest.mark.usefixtures("controller")
def test_terminating_namespace_is_tried_once(cluster: FaultyCluster, namespaces: Namespaces) -> None:
    """A refusal because the namespace is going ends its turn: no second try, no failure, also if nobody said so."""
    app, going = namespaces.create("app", "going")
    cluster.apply(a_license(app), an_application(app, going))
    cluster.await_synced(app, going, license_id=LICENSE_ID)
    keeper = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "keeper", "namespace": going, "finalizers": ["example.com/keep"]},
    }
    cluster.apply(keeper)
    cluster.await_quiet()
    # The controller does not learn that the namespace is terminating, and finds its copy deleted.
    freeze = cluster.proxy.inject(Requests(path="/namespaces[?]", watch=True), Freeze())
    wait_until(lambda: freeze.hits, what="the watch to freeze", seconds=20)
    writes = Tries(cluster, going)
    cluster.kubectl("delete", "namespace", going, "--wait=false")
    wait_until(lambda: writes.count, what="the try", seconds=30)
    cluster.await_quiet()

    assert writes.count == 1
    assert failures_of(cluster, app) == {}

    cluster.kubectl(
        "patch", "configmap", "keeper", "-n", going, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )


@pytest.mark.parametrize("differs", [{"immutable": True}, {"type": "Opaque"}], ids=["immutable", "type"])
def test_copy_that_cannot_be_changed_is_replaced(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces, differs: Json
) -> None:
    """A copy of ours that somebody made immutable, or made anew with another type, is right again after a change."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    copy = cluster.await_secret(workers)
    kept = {name: copy["metadata"][name] for name in ("name", "namespace", "labels", "annotations")}
    changed = json.dumps(copy | {"metadata": kept} | differs)
    os.kill(controller.pid, signal.SIGSTOP)  # It would be faster than kubectl between deleting and creating.
    try:
        cluster.kubectl("replace", "--force", "-f", "-", input=changed)
    finally:
        os.kill(controller.pid, signal.SIGCONT)
    cluster.apply(a_license(app, licenseID=NEW_ID))
    cluster.await_synced(app, workers, license_id=NEW_ID)
    found = cluster.secret(workers)

    assert (found["type"], found.get("immutable")) == ("kubernetes.io/dockerconfigjson", None)


class Fighter(threading.Thread):
    """Somebody who spoils a copy whenever it is right."""

    def __init__(self, cluster: FaultyCluster, namespace: str) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._namespace = namespace
        self.over = threading.Event()

    def run(self) -> None:
        """Fight until told to stop."""
        spoil = '{"data":{".dockerconfigjson":"e30="}}'
        while not self.over.is_set():
            found = self._cluster.secret(self._namespace)
            if found and content_of(found) != "{}":
                with suppress(RigError):
                    self._cluster.kubectl("patch", "secret", SECRET, "-n", self._namespace, "--type=merge", "-p", spoil)


def test_fight_over_a_copy_is_paced_and_reported(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """Somebody who keeps undoing a copy gets it repaired ever more seldom, the status says so, and the others go on."""
    app, fought_over, fine = namespaces.create("app", "fought-over", "fine")
    cluster.apply(a_license(app), an_application(app, fought_over, fine))
    cluster.await_synced(app, fought_over, fine, license_id=LICENSE_ID)
    writes = Tries(cluster, fought_over)
    fighter = Fighter(cluster, fought_over)
    fighter.start()
    try:
        failures = wait_until(lambda: failures_of(cluster, app), what="the failure", seconds=60)
        cluster.kubectl("delete", "secret", SECRET, "-n", fine)
        cluster.await_secret(fine)
    finally:
        fighter.over.set()
        fighter.join()

    assert failures == {fought_over: "Contended"}
    assert writes.are_paced()
    wait_until(
        lambda: 'replicated_proxy_failures{reason="Contended"} 1.0' in controller.answer("/metrics"),
        what="the metric",
        seconds=10,
    )
    wait_until(
        lambda: content_of(cluster.secret(fought_over)) == expected_content(*DEFAULT_HOSTS),
        what="the last word",
        seconds=60,
    )


@pytest.mark.usefixtures("controller")
def test_nothing_of_a_license_but_its_credential_is_on_its_copies(
    cluster: FaultyCluster, namespaces: Namespaces
) -> None:
    """Marks that a GitOps tool puts on a License do not travel, or it would prune the copies as its own."""
    app, workers = namespaces.create("app", "workers")
    tracked = a_license(app)
    tracked["metadata"]["labels"] = {"app.kubernetes.io/instance": "argo-application"}
    tracked["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "argo:kots.io/License:app/my-app"}
    cluster.apply(tracked, an_application(app, workers))
    metadata = cluster.await_secret(workers)["metadata"]

    assert all(name.startswith(("proxy.kots.io/", "app.kubernetes.io/managed-by")) for name in metadata["labels"])
    assert all(name.startswith("proxy.kots.io/") for name in metadata["annotations"])
    assert "ownerReferences" not in metadata
    assert "finalizers" not in metadata


def test_license_too_large_for_its_copies_harms_no_other(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """A License whose ID would burst the merged Secret is not used and says why; the other's copies stay complete."""
    app, other = namespaces.create("app", "other")
    cluster.apply(a_license(app), an_application(app, other))
    bursting = json.dumps(a_license(other, appSlug="bursting", licenseID="x" * 500_000))
    cluster.kubectl("create", "-f", "-", input=bursting)
    ready = wait_until(lambda: cluster.condition("license", other, "my-app", "Ready"), what="it", seconds=20)
    cluster.await_synced(app, other, license_id=LICENSE_ID)

    assert (ready["status"], ready["reason"]) == ("False", "InvalidLicense")
    assert "500000 characters" in ready["message"]
    assert "xxxx" not in controller.log.read_text()


def test_deletions_are_logged_with_their_reason(
    cluster: FaultyCluster, controller: RoleProcess, namespaces: Namespaces, tmp_path: Path
) -> None:
    """Whoever asks where a copy went finds in the log when it went and why."""
    del tmp_path
    app, unlisted = namespaces.create("app", "unlisted")
    cluster.apply(a_license(app), an_application(app, unlisted))
    cluster.await_synced(app, unlisted, license_id=LICENSE_ID)
    cluster.apply(an_application(app))
    cluster.await_no_secret(unlisted)
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(app)

    def deletions() -> list[tuple[str, str]]:
        lines = (json.loads(line) for line in lines_of(controller.log) if '"pull secret deleted"' in line)
        return [(line["namespace"], line["because"]) for line in lines]

    # What was done is logged once its answer is there, which is after everybody can see it.
    wait_until(lambda: len(deletions()) > 1, what="two deletions in the log", seconds=20)
    assert deletions() == [
        (unlisted, "its License covers this namespace no more"),
        (app, "its License was deleted"),
    ]
