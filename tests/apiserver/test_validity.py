"""Licenses that end: acted on at the moment it passes, by policy, and undone when they are renewed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from operating import (
    DEFAULT_HOSTS,
    Cluster,
    Json,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
    routes_of,
)
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver
REVOKE: Json = {"settings": {"license": {"onExpiry": "Revoke"}}}
Start = Callable[[Json], RoleProcess]


def ending(namespace: str, moment: datetime | str, **spec: object) -> Json:
    """Write a License with an end."""
    text = moment if isinstance(moment, str) else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    entitlements = {"expires_at": {"title": "Expiration", "value": text, "valueType": "String"}}
    return a_license(namespace, entitlements=entitlements, **spec)


def soon() -> datetime:
    """Return a moment that is worth waiting for, as an edit brings it: before it the License is in effect already."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)


def today() -> datetime:
    """Return a moment that nobody waits for either, and that is warned about."""
    return datetime.now(UTC) + timedelta(hours=1)


def later() -> datetime:
    """Return a moment nobody waits for."""
    return datetime.now(UTC) + timedelta(days=400)


def route_of(cluster: Cluster) -> Json:
    """Return the only route that is published."""
    (route,) = json.loads(routes_of(cluster))["routes"]
    found: Json = route
    return found


def test_license_that_ends_is_retained_by_default(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """At the moment it passes the status, the table and an Event say so, and every pull secret stays as it was."""
    start_controller({})
    app, workers = namespaces.create("app", "workers")
    cluster.apply(ending(app, today()), an_application(app, workers))
    before = cluster.await_secret(workers)
    warned = cluster.await_condition(app, "Expired", "ExpiringSoon")
    cluster.apply(ending(app, soon()))
    ended = cluster.await_condition(app, "Expired", "Retained")
    wait_until(lambda: "retained" in route_of(cluster), what="the table", seconds=20)
    wait_until(lambda: "Retained" in {event["reason"] for event in cluster.events(app)}, what="an Event", seconds=20)

    assert (warned["status"], ended["status"]) == ("False", "True")
    assert cluster.condition("license", app, "my-app", "Ready")["reason"] == "Expired"
    assert cluster.secret(workers) == before
    assert {event["type"] for event in cluster.events(app) if event["reason"] == "Retained"} == {"Warning"}


def test_license_that_ends_is_revoked_where_that_is_the_policy(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """`Revoke` takes the credentials back from every namespace at the end, and renewal gives them back."""
    running = start_controller(REVOKE)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(ending(app, today()), an_application(app, workers))
    cluster.await_secret(workers)
    cluster.apply(ending(app, soon()))
    cluster.await_condition(app, "Expired", "Revoked")
    cluster.await_no_secret(workers)
    cluster.await_no_secret(app)
    revoked = cluster.await_condition(app, "Synced", "CredentialsRevoked")
    published = route_of(cluster)
    cluster.apply(ending(app, later()))
    cluster.await_secret(workers)
    cluster.await_condition(app, "Ready", "Usable")

    assert published["expired"] is True
    assert revoked["status"] == "True"
    assert content_of(cluster.secret(workers)) == expected_content(*DEFAULT_HOSTS)
    assert "license.onExpiry is Revoke" in running.log.read_text(encoding="utf-8")


def test_end_that_passed_while_the_controller_was_down_is_acted_on_at_start(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """Nobody needs to be there at the moment itself."""
    running = start_controller(REVOKE)
    [app] = namespaces.create("app")
    cluster.apply(ending(app, today()))
    cluster.await_secret(app)
    running.kill()
    cluster.apply(ending(app, moment := soon()))
    wait_until(lambda: datetime.now(UTC) > moment, what="the end", seconds=20)
    still_there = cluster.secret(app)
    running.start()
    cluster.await_no_secret(app)

    assert still_there
    assert cluster.await_condition(app, "Ready", "Expired")
    assert cluster.await_condition(app, "Synced", "CredentialsRevoked")


def test_policy_can_be_changed_to_retain(cluster: Cluster, start_controller: Start, namespaces: Namespaces) -> None:
    """Whoever finds that `Revoke` was too strict gets everything back with the setting."""
    revoking = start_controller(REVOKE)
    [app] = namespaces.create("app")
    cluster.apply(ending(app, soon()))
    cluster.await_condition(app, "Expired", "Revoked")
    cluster.await_no_secret(app)
    revoking.stop()
    start_controller({})
    cluster.await_condition(app, "Expired", "Retained")

    assert content_of(cluster.await_secret(app)) == expected_content(*DEFAULT_HOSTS)


UNREADABLE = ["2026-01-01", "next year"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_unreadable_end_freezes_the_last_good_state(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces, text: str
) -> None:
    """Nothing new is written and nothing deleted, also after a restart; a good date lets everything through."""
    running = start_controller(REVOKE)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(ending(app, later()), an_application(app, workers))
    before = cluster.await_secret(workers)
    cluster.apply(ending(app, text, licenseID="a-new-id"))
    cluster.await_condition(app, "Ready", "InvalidExpiry")
    running.kill()
    running.start()
    [late] = namespaces.create("late")
    cluster.apply(an_application(app, workers, late))
    cluster.kubectl("label", "namespace", late, "proxy.kots.io/app=my-app")
    wait_until(lambda: late in routes_of(cluster), what="a turn after the restart", seconds=20)
    frozen, served = cluster.secret(workers), cluster.secret(late)
    cluster.apply(ending(app, later(), licenseID="a-new-id"))
    cluster.await_secret(late)

    assert (frozen["metadata"]["uid"], frozen["data"]) == (before["metadata"]["uid"], before["data"])
    assert served == {}
    assert content_of(cluster.secret(late)) == expected_content(*DEFAULT_HOSTS, license_id="a-new-id")


def test_paused_license_that_ends_and_is_deleted(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """Paused beats expired, whatever the policy; deleting revokes even what is paused."""
    start_controller(REVOKE)
    [app] = namespaces.create("app")
    cluster.apply(ending(app, today()))
    before = cluster.await_secret(app)
    cluster.kubectl("annotate", "license", "my-app", "-n", app, "proxy.kots.io/paused=true")
    cluster.await_condition(app, "Ready", "Paused")
    cluster.apply(ending(app, moment := soon()))
    wait_until(lambda: datetime.now(UTC) > moment, what="the end", seconds=20)
    cluster.await_condition(app, "Expired", "Frozen")
    kept = cluster.secret(app)
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(app)

    assert kept == before
