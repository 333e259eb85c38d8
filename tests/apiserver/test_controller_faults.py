"""The controller on a real API server: what it survives, and what it must not conclude from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operating import (
    DEFAULT_HOSTS,
    ROUTES,
    SECRET,
    Cluster,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
    routes_of,
)
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver


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

    for namespace in (app, deleted, edited, made_meanwhile):
        assert content_of(cluster.secret(namespace)) == expected_content(*DEFAULT_HOSTS)
    assert cluster.secret(unlisted) == {}


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

    assert (cluster.secret(app), cluster.secret(workers)) == ({}, {})


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


def test_oversized_license_survives_a_lost_routing_table(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """A License that lists too much says so and loses no copy, even when the table that it stood in is gone."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    before = cluster.await_secret(workers)
    many = [f"{number:05}-{'n' * 50}" for number in range(8_000)]
    # Neither `apply`, which would keep a copy in an annotation, nor `replace`, which meets the status writes.
    where = ("applications.kots.io", "my-app", "-n", app, "--type=merge", "--patch-file=/dev/stdin")
    cluster.kubectl("patch", *where, input=json.dumps({"spec": an_application(app, workers, *many)["spec"]}))
    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Ready").get("reason") == "RoutingTableTooLarge",
        what="it",
        seconds=20,
    )

    controller.kill()
    cluster.kubectl("delete", "configmap", ROUTES, "-n", NAMESPACE)
    controller.start()
    wait_until(lambda: routes_of(cluster), what="the table", seconds=20)
    [other] = namespaces.create("other")
    cluster.apply(a_license(other))
    cluster.await_secret(other)  # Turns have been taken since.

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

    secret = cluster.await_secret(after_the_outage, seconds=60)

    assert content_of(secret) == expected_content(*DEFAULT_HOSTS)


@pytest.mark.usefixtures("controller")
def test_terminating_and_failing_namespaces_hold_nobody_up(cluster: Cluster, namespaces: Namespaces) -> None:
    """A namespace whose quota forbids Secrets is reported, and the others are served."""
    app, full, fine = namespaces.create("app", "full", "fine")
    cluster.forbid_secrets(full)

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
