"""The controller on a real API server, as the service account that the chart makes."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from operating import LICENSE_ID, ROUTES, SECRET, Cluster, Json, a_license, an_application
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: these tests stop it, and delete its definitions."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        yield cluster


@pytest.fixture
def controller(cluster: Cluster, tmp_path: Path) -> Iterator[RoleProcess]:
    """The controller, running; afterwards nothing of the test is left that could cover other tests' namespaces."""
    cluster.install()
    running = RoleProcess("controller", cluster, tmp_path)
    running.start()
    yield running
    running.stop()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")


class Namespaces:
    """Namespaces of one test: words made unique, so that none has to wait for another's end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._suffix = secrets.token_hex(3)
        self.created: list[str] = []

    def name(self, word: str) -> str:
        """Return the name that a word stands for, whether or not it exists."""
        return f"{word}-{self._suffix}"

    def create(self, *words: str) -> list[str]:
        """Create namespaces and return their names."""
        names = [self.name(word) for word in words]
        for name in names:
            self._cluster.kubectl("create", "namespace", name)
        self.created += names
        return names


@pytest.fixture
def namespaces(cluster: Cluster) -> Iterator[Namespaces]:
    """Make namespaces; they are deleted at the end without waiting."""
    made = Namespaces(cluster)
    yield made
    if made.created:
        cluster.kubectl("delete", "namespace", *made.created, "--ignore-not-found", "--wait=false")


def foreign_secret(namespace: str) -> Json:
    """Write a Secret of our name that is not ours."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "stringData": {"somebody": "else's"},
    }


def content_of(secret: Json) -> str:
    """Decode a pull secret."""
    return base64.b64decode(secret["data"][".dockerconfigjson"]).decode()


def expected_content(*hosts: str) -> str:
    """Write the bytes that KOTS would."""
    auth = base64.b64encode(f"LICENSE_ID:{LICENSE_ID}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth} for host in sorted(hosts)}}, separators=(",", ":"))


def routes_of(cluster: Cluster) -> str:
    """Read the published routing table; empty where there is none."""
    text: str = cluster.get("configmap", ROUTES, "-n", NAMESPACE).get("data", {}).get("routes.json", "")
    return text


DEFAULT_HOSTS = ("proxy.replicated.com", "registry.replicated.com")


@pytest.mark.usefixtures("controller")
def test_listed_namespaces_and_the_own_one_get_kots_bytes(cluster: Cluster, namespaces: Namespaces) -> None:
    """One License gives its own and every listed namespace exactly the Secret that KOTS would write."""
    app, workers, bystander = namespaces.create("app", "workers", "bystander")

    cluster.apply(a_license(app), an_application(app, workers))

    for namespace in (app, workers):
        secret = cluster.await_secret(namespace)
        assert secret["type"] == "kubernetes.io/dockerconfigjson"
        assert content_of(secret) == expected_content(*DEFAULT_HOSTS)
        assert "ownerReferences" not in secret["metadata"]
    assert cluster.secret(bystander) == {}


@pytest.mark.usefixtures("controller")
def test_namespace_created_later_is_served(cluster: Cluster, namespaces: Namespaces) -> None:
    """A namespace that did not exist when it was listed, or that `"*"` covers, gets its Secret when it appears."""
    [app] = namespaces.create("app")
    cluster.apply(a_license(app), an_application(app, namespaces.name("later"), "*"))
    cluster.await_secret(app)
    status = wait_until(
        lambda: cluster.get("license", "my-app", "-n", app).get("status", {}).get("namespaces"),
        what="counts",
        seconds=20,
    )

    assert status["pending"] == 1

    later, unforeseen = namespaces.create("later", "unforeseen")

    cluster.await_secret(later)
    cluster.await_secret(unforeseen)


@pytest.mark.usefixtures("controller")
def test_wildcard_leaves_excluded_namespaces_out(cluster: Cluster, namespaces: Namespaces) -> None:
    """`"*"` reaches neither the system's namespaces, nor the operator's, nor those that opt out by label."""
    app, private, last = namespaces.create("app", "private", "last")
    cluster.kubectl("label", "namespace", private, "proxy.kots.io/sync=disabled")

    cluster.apply(a_license(app), an_application(app, "*"))
    cluster.await_secret(last)
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Synced").get("status") == "True",
        what="Synced",
        seconds=20,
    )

    for excluded in ("kube-system", "kube-public", "kube-node-lease", NAMESPACE, private):
        assert cluster.secret(excluded) == {}, excluded

    cluster.kubectl("label", "namespace", private, "proxy.kots.io/sync-")
    cluster.await_secret(private)
    cluster.kubectl("label", "namespace", private, "proxy.kots.io/sync=disabled")
    cluster.await_no_secret(private)


@pytest.mark.usefixtures("controller")
def test_deleted_and_edited_copies_are_repaired(cluster: Cluster, namespaces: Namespaces) -> None:
    """A copy that somebody deletes comes back, and one that somebody edits is put right in place."""
    [app] = namespaces.create("app")
    cluster.apply(a_license(app))
    first = cluster.await_secret(app)

    cluster.kubectl("delete", "secret", SECRET, "-n", app)
    second = cluster.await_secret(app)
    garbage = json.dumps({"data": {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode(), "extra": "eA=="}})
    cluster.kubectl("patch", "secret", SECRET, "-n", app, "--type=merge", "-p", garbage)
    repaired = wait_until(
        lambda: cluster.secret(app) if content_of(cluster.secret(app)) == content_of(first) else None,
        what="the edited copy to be repaired",
        seconds=20,
    )

    assert repaired["metadata"]["uid"] == second["metadata"]["uid"]
    assert list(repaired["data"]) == [".dockerconfigjson"]


@pytest.mark.usefixtures("controller")
def test_foreign_secret_of_our_name_survives_everything(cluster: Cluster, namespaces: Namespaces) -> None:
    """A Secret named like ours that is not ours is never touched: not by create, rotation or revocation."""
    app, taken, free = namespaces.create("app", "taken", "free")
    cluster.apply(foreign_secret(taken))
    before = cluster.secret(taken)

    cluster.apply(a_license(app), an_application(app, taken, free))
    cluster.await_secret(free)
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Synced").get("reason") == "Conflict",
        what="the conflict to be reported",
        seconds=20,
    )
    status = cluster.get("license", "my-app", "-n", app)["status"]
    events = cluster.kubectl("get", "events", "-n", app, "-o", "jsonpath={.items[*].reason}")
    routes = routes_of(cluster)

    assert status["namespaces"]["conflicting"] == 1
    assert [item["namespace"] for item in status["failures"]] == [taken]
    assert "Conflict" in events
    wait_until(
        lambda: f'"conflicts":["{taken}"]' in routes_of(cluster),
        what="the conflict in the routes",
        seconds=20,
    )
    assert LICENSE_ID not in routes

    cluster.apply(a_license(app, licenseID="another-id"))
    wait_until(
        lambda: content_of(cluster.secret(free)) != expected_content(*DEFAULT_HOSTS), what="rotation", seconds=20
    )
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(free)

    assert before == cluster.secret(taken)


@pytest.mark.usefixtures("controller")
def test_changed_license_reaches_every_namespace_in_place(cluster: Cluster, namespaces: Namespaces) -> None:
    """A new custom domain reaches the copies in the same object, with the default hosts beside it."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    before = cluster.await_secret(workers)

    cluster.apply(a_license(app, replicatedProxyDomain="proxy.acme.example"))

    hosts = ("proxy.acme.example", *DEFAULT_HOSTS)
    after = wait_until(
        lambda: cluster.secret(workers) if content_of(cluster.secret(workers)) == expected_content(*hosts) else None,
        what="the new domain",
        seconds=20,
    )

    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_edits_and_deletions_while_down_are_healed_at_start(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """What happened while the controller was killed is put right when it starts again."""
    app, deleted, edited, unlisted = namespaces.create("app", "deleted", "edited", "unlisted")
    cluster.apply(a_license(app), an_application(app, deleted, edited, unlisted))
    for namespace in (app, deleted, edited, unlisted):
        cluster.await_secret(namespace)

    controller.kill()
    cluster.kubectl("delete", "secret", SECRET, "-n", deleted)
    cluster.kubectl("patch", "secret", SECRET, "-n", edited, "--type=merge", "-p", '{"metadata":{"labels":null}}')
    cluster.apply(an_application(app, deleted, edited, namespaces.name("made-meanwhile")))
    [made_meanwhile] = namespaces.create("made-meanwhile")
    controller.start()

    cluster.await_secret(deleted)
    cluster.await_secret(made_meanwhile)
    cluster.await_no_secret(unlisted)
    wait_until(
        lambda: cluster.secret(edited)["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by"),
        what="the stripped labels",
        seconds=20,
    )


def test_license_deleted_while_down_is_revoked_at_start(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """Revocation needs no finalizer: a License that vanished while nobody watched is revoked at the next start."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)

    controller.kill()
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    controller.start()

    cluster.await_no_secret(workers)
    cluster.await_no_secret(app)


def test_definitions_deleted_and_made_anew_lose_no_copies(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """Objects that vanish with their definition are unknown, not revoked; applied again they count as before."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    before = cluster.await_secret(workers)

    cluster.kubectl("delete", "crd", "licenses.kots.io", "applications.kots.io", "--wait=true")
    controller.await_answer("/readyz", "not served")

    assert cluster.secret(workers)["metadata"]["uid"] == before["metadata"]["uid"]

    cluster.install()
    controller.await_ready()
    controller.kill()
    controller.start()

    assert cluster.secret(workers)["metadata"]["uid"] == before["metadata"]["uid"]

    cluster.apply(a_license(app, licenseID="a-new-id"), an_application(app, workers))
    wait_until(
        lambda: content_of(cluster.secret(workers)) != expected_content(*DEFAULT_HOSTS), what="the new ID", seconds=20
    )

    assert cluster.secret(workers)["metadata"]["uid"] == before["metadata"]["uid"]

    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(workers)


@pytest.mark.usefixtures("controller")
def test_license_that_is_being_deleted_is_revoked(cluster: Cluster, namespaces: Namespaces) -> None:
    """Deleting a License revokes it at once, even while somebody's finalizer keeps the object."""
    [app] = namespaces.create("app")
    kept = a_license(app)
    kept["metadata"]["finalizers"] = ["example.com/somebody"]
    cluster.apply(kept)
    cluster.await_secret(app)

    cluster.kubectl("delete", "license", "my-app", "-n", app, "--wait=false")
    cluster.await_no_secret(app)
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Ready").get("reason") == "Deleting", what="it", seconds=20
    )
    cluster.kubectl("patch", "license", "my-app", "-n", app, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    assert cluster.secret(app) == {}


def test_absurdly_nested_license_stops_nobody(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """A License with an unknown field as deep as the API server takes it keeps no other one from being served."""
    app, hostile = namespaces.create("app", "hostile")
    deep = json.dumps(a_license(hostile)).replace('"prod"', '"prod","extra":' + "[" * 9000 + "]" * 9000)
    cluster.kubectl("create", "-f", "-", input=deep)
    cluster.apply(a_license(app))
    cluster.await_secret(app)
    controller.kill()
    cluster.kubectl("delete", "secret", SECRET, "-n", app)
    controller.start()

    assert cluster.await_secret(app)
    assert cluster.await_secret(hostile)


def test_paused_license_survives_a_lost_routing_table(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """Paused means nothing is deleted, even when the table that remembers it is gone and the controller restarts."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    before = cluster.await_secret(workers)
    cluster.kubectl("annotate", "license", "my-app", "-n", app, "proxy.kots.io/paused=true")
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Ready").get("reason") == "Paused", what="it", seconds=20
    )

    controller.kill()
    cluster.kubectl("delete", "configmap", ROUTES, "-n", NAMESPACE)
    controller.start()
    wait_until(lambda: workers in routes_of(cluster), what="the routes", seconds=20)

    assert before == cluster.secret(workers)


def test_table_of_a_later_version_is_left_alone(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """After a rollback nothing is concluded without the table that this version cannot read, until it is deleted."""
    [app] = namespaces.create("app")
    cluster.apply(a_license(app))
    before = cluster.await_secret(app)

    controller.kill()
    newer = json.dumps({"data": {"routes.json": '{"format":2}'}})
    cluster.kubectl("patch", "configmap", ROUTES, "-n", NAMESPACE, "--type=merge", "-p", newer)
    controller.start(ready=False)
    controller.await_answer("/readyz", "newer than 1")

    assert before == cluster.secret(app)
    assert routes_of(cluster) == '{"format":2}'

    cluster.kubectl("delete", "configmap", ROUTES, "-n", NAMESPACE)
    controller.await_ready()
    wait_until(lambda: '"appSlug":"my-app"' in routes_of(cluster), what="the table to be made anew", seconds=20)


@pytest.mark.usefixtures("controller")
def test_namespace_that_opts_out_never_holds_the_credential(cluster: Cluster, namespaces: Namespaces) -> None:
    """A namespace that is created with the opt-out label gets no Secret, not even for a moment."""
    app, witness = namespaces.create("app", "witness")
    cluster.apply(a_license(app), an_application(app, "*"))
    cluster.await_secret(witness)
    private = namespaces.name("private")
    labels = {"proxy.kots.io/sync": "disabled"}

    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": private, "labels": labels}})
    namespaces.created.append(private)
    [later] = namespaces.create("later")
    cluster.await_secret(later)
    wait_until(lambda: private in routes_of(cluster), what="the exclusion in the routes", seconds=20)
    created = [
        line
        for line in cluster.plane.audit_log.read_text(encoding="utf-8").splitlines()
        if f"/{private}/secrets" in line
    ]

    assert created == []


@pytest.mark.usefixtures("controller")
def test_one_stripped_or_changed_label_is_mended(cluster: Cluster, namespaces: Namespaces) -> None:
    """A copy whose label somebody removes or changes is still ours: mended, and revoked with its License."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    for namespace in (app, workers):
        cluster.await_secret(namespace)

    cluster.kubectl("label", "secret", SECRET, "-n", app, "app.kubernetes.io/managed-by-")
    cluster.kubectl("label", "secret", SECRET, "-n", workers, "--overwrite", "app.kubernetes.io/managed-by=Helm")
    for namespace in (app, workers):
        wait_until(
            lambda: (
                cluster.secret(namespace)["metadata"]["labels"].get("app.kubernetes.io/managed-by")  # noqa: B023
                == "replicated-proxy-operator"
            ),
            what="the label",
            seconds=20,
        )
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(app)
    cluster.await_no_secret(workers)

    assert cluster.secret(workers) == {}


def test_definitions_missing_at_start_are_waited_for(cluster: Cluster, tmp_path: Path, namespaces: Namespaces) -> None:
    """A controller that starts before its definitions exist serves them when they come."""
    [app] = namespaces.create("app")
    cluster.kubectl("delete", "crd", "licenses.kots.io", "applications.kots.io", "--ignore-not-found", "--wait=true")
    controller = RoleProcess("controller", cluster, tmp_path)
    controller.start(ready=False)
    try:
        controller.await_answer("/readyz", "not served")
        cluster.install()
        controller.await_ready()
        cluster.apply(a_license(app))

        assert cluster.await_secret(app)
        cluster.kubectl("delete", "license", "my-app", "-n", app)
        cluster.await_no_secret(app)
    finally:
        controller.stop()


@pytest.mark.usefixtures("controller")
def test_api_server_outage_is_survived(cluster: Cluster, namespaces: Namespaces) -> None:
    """After the API server was away, new namespaces are served as before."""
    [app] = namespaces.create("app")
    cluster.apply(a_license(app), an_application(app, "*"))
    cluster.await_secret(app)

    cluster.plane.api_server.stop()
    cluster.plane.api_server.start()
    [after_the_outage] = namespaces.create("after-the-outage")

    cluster.await_secret(after_the_outage, seconds=60)


@pytest.mark.usefixtures("controller")
def test_terminating_and_failing_namespaces_hold_nobody_up(cluster: Cluster, namespaces: Namespaces) -> None:
    """A namespace whose quota forbids Secrets is reported, and the others are served."""
    app, full, fine = namespaces.create("app", "full", "fine")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-secrets", "namespace": full},
        "spec": {"hard": {"count/secrets": "0"}},
    }
    cluster.apply(quota)
    wait_until(
        lambda: cluster.get("resourcequota", "no-secrets", "-n", full).get("status", {}).get("hard"),
        what="the quota to count",
        seconds=20,
    )

    cluster.apply(a_license(app), an_application(app, full, fine))
    cluster.await_secret(fine)
    failures = wait_until(
        lambda: cluster.get("license", "my-app", "-n", app).get("status", {}).get("failures"),
        what="the failure to be reported",
        seconds=20,
    )

    assert [(item["namespace"], item["reason"]) for item in failures] == [(full, "Forbidden")]

    cluster.kubectl("delete", "resourcequota", "no-secrets", "-n", full)
    cluster.await_secret(full)


@pytest.mark.usefixtures("controller")
def test_bad_application_entries_are_reported_and_skipped(cluster: Cluster, namespaces: Namespaces) -> None:
    """`team-*` is named in the Application's status, and the good entries beside it count."""
    app, good = namespaces.create("app", "good")

    cluster.apply(a_license(app), an_application(app, "team-*", good))
    cluster.await_secret(good)
    condition = wait_until(
        lambda: cluster.condition("application", app, "my-app", "Ready"), what="the condition", seconds=20
    )

    assert (condition["status"], condition["reason"]) == ("False", "EntriesSkipped")
    assert "team-*" in condition["message"]


@pytest.mark.usefixtures("controller")
def test_nothing_is_written_when_nothing_changes(cluster: Cluster, namespaces: Namespaces) -> None:
    """Looking again at a settled cluster writes nothing: no Secret, status or table gets a new version."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Synced").get("status") == "True", what="it", seconds=20
    )

    def versions() -> list[str]:
        objects = (
            ("secret", SECRET, "-n", app),
            ("secret", SECRET, "-n", workers),
            ("license", "my-app", "-n", app),
        )
        return [cluster.get(*item)["metadata"]["resourceVersion"] for item in objects]

    settled = versions()
    [unrelated] = namespaces.create("unrelated")
    cluster.kubectl("label", "namespace", unrelated, "kots.io/app-slug=other")
    wait_until(
        lambda: f'"{unrelated}":"other"' in routes_of(cluster),
        what="an overview turn",
        seconds=20,
    )

    assert versions() == settled


@pytest.mark.usefixtures("controller")
def test_edited_and_deleted_routing_table_is_restored(cluster: Cluster, namespaces: Namespaces) -> None:
    """The ConfigMap of the routing table comes back as it was, edited or deleted."""
    [app] = namespaces.create("app")
    cluster.apply(a_license(app))
    cluster.await_secret(app)

    wait_until(lambda: '"appSlug":"my-app"' in routes_of(cluster), what="the routes", seconds=20)
    before = routes_of(cluster)
    cluster.kubectl(
        "patch",
        "configmap",
        "replicated-proxy-routes",
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        '{"data":{"routes.json":"x"}}',
    )
    wait_until(lambda: routes_of(cluster) == before, what="the edited table", seconds=20)
    cluster.kubectl("delete", "configmap", ROUTES, "-n", NAMESPACE)
    wait_until(lambda: routes_of(cluster) == before, what="the deleted table", seconds=20)

    assert routes_of(cluster) == before


@pytest.mark.usefixtures("controller")
def test_webhook_gets_a_certificate_that_its_configuration_trusts(cluster: Cluster) -> None:
    """The controller makes authority and leaf, and patches `caBundle` of the chart's configuration."""
    serving = wait_until(
        lambda: cluster.get("secret", "replicated-proxy-serving", "-n", NAMESPACE), what="the leaf", seconds=20
    )
    configuration = cluster.get("mutatingwebhookconfiguration", NAMESPACE)

    assert {entry["clientConfig"]["caBundle"] for entry in configuration["webhooks"]} == {serving["data"]["ca.crt"]}


def test_license_id_is_in_no_log_status_event_or_table(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """The planted ID stands in the License and the pull secrets, and in nothing that the controller emits."""
    app, taken = namespaces.create("app", "taken")
    cluster.apply(foreign_secret(taken))
    cluster.apply(a_license(app, replicatedProxyDomain="proxy.acme.example"), an_application(app, taken, "missing"))
    cluster.await_secret(app)
    wait_until(lambda: cluster.condition("license", app, "my-app", "Synced"), what="status", seconds=20)

    emitted = [
        controller.log.read_text(encoding="utf-8"),
        controller.answer("/metrics"),
        json.dumps(cluster.get("license", "my-app", "-n", app)["status"]),
        cluster.kubectl("get", "events", "--all-namespaces", "-o", "json"),
        cluster.kubectl("get", "configmaps", "-n", NAMESPACE, "-o", "json"),
    ]
    hidden = (LICENSE_ID, base64.b64encode(f"LICENSE_ID:{LICENSE_ID}".encode()).decode())

    assert not [word for text in emitted for word in hidden if word in text]
