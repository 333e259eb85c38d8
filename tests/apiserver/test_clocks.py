"""Clocks that jump: with `Revoke` nothing is taken back, and nothing given back, on the word of one clock alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from operating import DEFAULT_HOSTS, Cluster, Json, Namespaces, a_license, content_of, expected_content
from replicated_proxy.clock import SystemClock
from replicated_proxy.controller.role import ControllerRole
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.settings.loading import parse_settings
from replicated_proxy.telemetry.metrics import Metrics
from rig.roles import NAMESPACE
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver
REVOKE: Json = {"settings": {"license": {"onExpiry": "Revoke"}}}


class WrongClock(SystemClock):
    """The machine's clock with a date that somebody sets.

    Attributes:
        ahead: by how much.
    """

    ahead = timedelta()

    def now(self) -> datetime:
        """Return the date as it was set."""
        return super().now() + self.ahead


@pytest.fixture
async def clock(cluster: Cluster) -> AsyncIterator[WrongClock]:
    """The clock of a controller that runs in this process, with `Revoke`."""
    cluster.install(REVOKE)
    clock = WrongClock()
    client = await KubeClient.connect(cluster.kubeconfig("controller"), clock, "wrong-clock")
    settings = parse_settings(cluster.settings(REVOKE), {"POD_NAMESPACE": NAMESPACE})
    role = asyncio.create_task(ControllerRole(settings, client, Metrics(), clock, "wrong-clock").run())
    yield clock
    assert not role.done()
    role.cancel()
    await asyncio.gather(role, return_exceptions=True)
    # kopf ends by itself in threads of its own, and what it has open belongs to this test.
    await asyncio.to_thread(wait_until, _no_kopf, what="the end of kopf's threads", seconds=60)
    await client.close()
    everything = ("delete", "licenses.kots.io", "--all", "--all-namespaces", "--wait=true")
    await asyncio.to_thread(cluster.kubectl, *everything)
    await asyncio.to_thread(cluster.install)


def _no_kopf() -> bool:
    """Tell whether no thread of kopf's is left."""
    return not any(thread.name.startswith("kopf-") for thread in threading.enumerate())


def ending(namespace: str, moment: datetime, license_id: str) -> Json:
    """Write a License with an end."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    entitlements = {"expires_at": {"value": text, "valueType": "String"}}
    return a_license(namespace, entitlements=entitlements, licenseID=license_id)


async def test_date_that_jumps_revokes_nothing(cluster: Cluster, clock: WrongClock, namespaces: Namespaces) -> None:
    """A date set two hours ahead ends a License by our clock alone: the status says so and the pull secret stays."""
    [app] = namespaces.create("app")
    end = datetime.now(UTC) + timedelta(hours=1)
    await asyncio.to_thread(cluster.apply, ending(app, end, "first-id"))
    before = await asyncio.to_thread(cluster.await_secret, app)
    clock.ahead = timedelta(hours=2)
    await asyncio.to_thread(cluster.apply, ending(app, end, "second-id"))  # Whatever happens next is by the new date.
    told = await asyncio.to_thread(cluster.await_condition, app, "Expired", "ClockDisagrees")
    second = expected_content(*DEFAULT_HOSTS, license_id="second-id")
    await asyncio.to_thread(
        wait_until, lambda: content_of(cluster.secret(app)) == second, what="the second ID", seconds=20
    )
    during = cluster.secret(app)
    clock.ahead = timedelta()
    # Nobody tells the controller that its date was set: it looks now and then.
    await asyncio.to_thread(cluster.await_condition, app, "Expired", "ExpiringSoon", seconds=60)

    assert told["status"] == "True"
    assert during["metadata"]["uid"] == before["metadata"]["uid"]
    assert cluster.secret(app) == during


async def test_date_that_jumps_back_gives_nothing_back(
    cluster: Cluster, clock: WrongClock, namespaces: Namespaces
) -> None:
    """Once revoked a License stays so although our date says that its end is to come; a renewed one waits for both."""
    [app] = namespaces.create("app")
    end = datetime.now(UTC) - timedelta(hours=1)
    await asyncio.to_thread(cluster.apply, ending(app, end, "first-id"))
    await asyncio.to_thread(cluster.await_condition, app, "Expired", "Revoked")
    clock.ahead = timedelta(hours=-2)
    await asyncio.to_thread(cluster.apply, ending(app, end + timedelta(minutes=1), "second-id"))
    await asyncio.to_thread(cluster.await_status, app)
    still = await asyncio.to_thread(cluster.await_condition, app, "Expired", "Revoked")
    none = cluster.secret(app)
    clock.ahead = timedelta()
    await asyncio.to_thread(cluster.apply, ending(app, end + timedelta(days=9), "third-id"))
    given = await asyncio.to_thread(cluster.await_secret, app)

    assert still["status"] == "True"
    assert none == {}
    assert given
