"""The controller on a real API server, as the service account that the chart makes: what it does."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest

from operating import (
    DEFAULT_HOSTS,
    LICENSE_ID,
    ROUTES,
    SECRET,
    Cluster,
    Json,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
    foreign_secret,
    routes_of,
)
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver


def counts_of(cluster: Cluster, home: str) -> Json:
    """Read how many namespaces a License's status counts in which state."""
    counts: Json = cluster.get("license", "my-app", "-n", home).get("status", {}).get("namespaces", {})
    return counts


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
    wait_until(lambda: counts_of(cluster, app).get("pending") == 1, what="a pending namespace", seconds=20)

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

    assert status["namespaces"]["conflicting"] == 1
    assert [item["namespace"] for item in status["failures"]] == [taken]
    wait_until(lambda: "Conflict" in {event["reason"] for event in cluster.events(app)}, what="an Event", seconds=20)
    wait_until(
        lambda: f'"conflicts":["{taken}"]' in routes_of(cluster),
        what="the conflict in the routes",
        seconds=20,
    )
    assert LICENSE_ID not in routes_of(cluster)

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


@pytest.mark.usefixtures("controller")
def test_bad_application_entries_are_reported_and_skipped(cluster: Cluster, namespaces: Namespaces) -> None:
    """`team-*` is named in the Application's status, and the good entries beside it count."""
    app, good = namespaces.create("app", "good")

    cluster.apply(a_license(app), an_application(app, "team-*", good))
    cluster.await_secret(good)
    # Seen before its License, it is not bound at first.
    wait_until(
        lambda: cluster.condition("application", app, "my-app", "Ready").get("reason") == "EntriesSkipped",
        what="the condition",
        seconds=20,
    )
    condition = cluster.condition("application", app, "my-app", "Ready")

    assert condition["status"] == "False"
    assert "team-*" in condition["message"]


@pytest.mark.usefixtures("controller")
def test_nothing_is_written_when_nothing_changes(cluster: Cluster, namespaces: Namespaces) -> None:
    """Looking again at a settled cluster writes nothing: no Secret, status or table gets a new version."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)
    # Not `Synced` alone: that may still be said of the License before its Application was seen.
    wait_until(lambda: counts_of(cluster, app).get("summary") == "2/2", what="both namespaces in line", seconds=20)

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

    def row() -> Json | None:
        # Not the whole table: namespaces of tests before this one go meanwhile, and their labels with them.
        with suppress(ValueError):
            rows: list[Json] = json.loads(routes_of(cluster))["routes"]
            return next((each for each in rows if each["license"] == f"{app}/my-app"), None)
        return None

    before = wait_until(row, what="the routes", seconds=20)
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
    wait_until(lambda: row() == before, what="the edited table", seconds=20)
    cluster.kubectl("delete", "configmap", ROUTES, "-n", NAMESPACE)
    wait_until(lambda: row() == before, what="the deleted table", seconds=20)


@pytest.mark.usefixtures("controller")
def test_webhook_gets_a_certificate_that_its_configuration_trusts(cluster: Cluster) -> None:
    """The controller makes authority and leaf, and patches `caBundle` of the chart's configuration."""

    def is_trusted() -> bool:
        serving = cluster.get("secret", "replicated-proxy-serving", "-n", NAMESPACE)
        entries = cluster.get("mutatingwebhookconfiguration", NAMESPACE)["webhooks"]
        published = {entry["clientConfig"].get("caBundle") for entry in entries}
        return bool(serving) and published == {serving["data"]["ca.crt"]}

    wait_until(is_trusted, what="a leaf that the published bundle trusts", seconds=20)


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
