"""What a cluster where nothing happens costs: the role in this process, on a simulated clock and a real API server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from auditing import WRITES, Json, lines_of
from operating import SECRET, Cluster, Namespaces, a_license, an_application
from replicated_proxy.controller.role import ControllerRole
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.settings.loading import parse_settings
from replicated_proxy.telemetry.metrics import Metrics
from rig.roles import NAMESPACE, RELEASE
from simulated_clock import SimulatedClock

pytestmark = pytest.mark.apiserver

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-controller"
TEN_MINUTES = 600
RENEWALS = TEN_MINUTES // 2
SWEEP = Counter(
    {
        "list namespaces": 1,
        f"list secrets {SECRET}": 1,
        "list licenses": 1,
        "list applications": 1,
        "get customresourcedefinitions licenses.kots.io": 2,
        "get customresourcedefinitions applications.kots.io": 2,
    }
)


class Quiet:
    """The role on its simulated clock."""

    def __init__(self, cluster: Cluster, client: KubeClient, clock: SimulatedClock) -> None:
        self._cluster = cluster
        self._clock = clock
        settings = parse_settings(cluster.settings(), {"POD_NAMESPACE": NAMESPACE})
        self.role = ControllerRole(settings, client, Metrics(), clock, "quiet-replica")
        self._task = asyncio.create_task(self.role.run())

    async def stop(self) -> None:
        """End it; one that ended by itself failed."""
        assert not self._task.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        # kopf ends by itself in threads of its own, and what it has open belongs to this test.
        await until(lambda: not any(thread.name.startswith("kopf-") for thread in threading.enumerate()))

    async def pass_seconds(self, seconds: int) -> None:
        """Let time pass, and each renewal that falls due reach the API server before more of it does."""
        for _ in range(seconds):
            await self._clock.advance(1.0)
            # A renewal is due when two of the ten seconds are over.
            await until(lambda: self.role._gate.remaining > 8.0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until something is so."""

        async def hurry() -> None:
            while True:  # Answers come in real time, which simulated time must not run away from.
                await self._clock.advance(0.2)
                await asyncio.sleep(0.02)

        hurrying = asyncio.create_task(hurry())
        try:
            await until(condition)
        finally:
            hurrying.cancel()
            await asyncio.gather(hurrying, return_exceptions=True)

    def requests(self) -> list[Json]:
        """Return the requests of the controller's account so far, watches left out."""
        events = (json.loads(line) for line in lines_of(self._cluster.plane.audit_log) if ACCOUNT in line)
        return [event for event in events if event["user"]["username"] == ACCOUNT and event["verb"] != "watch"]

    def synced(self, *namespaces: str) -> bool:
        """Tell whether the pull secrets are there and the statuses say so."""
        found = [self._cluster.condition("license", namespace, "my-app", "Synced") for namespace in namespaces]
        return all(condition.get("status") == "True" for condition in found)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(120):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - conditions of any kind.
            await asyncio.sleep(0.01)


@pytest.fixture
async def quiet(cluster: Cluster) -> AsyncIterator[Quiet]:
    """The running role."""
    cluster.install()
    clock = SimulatedClock(datetime.now(UTC))
    client = await KubeClient.connect(cluster.kubeconfig("controller"), clock, "quiet-replica")
    running = Quiet(cluster, client, clock)
    yield running
    await running.stop()
    await client.close()


def said(event: Json) -> str:
    """Write a request in one line."""
    where = event["objectRef"]
    return " ".join(filter(None, (event["verb"], where["resource"], where.get("name"), where.get("subresource"))))


async def test_ten_quiet_minutes_cost_no_write(cluster: Cluster, quiet: Quiet, namespaces: Namespaces) -> None:
    """Nothing but the Lease is written, no status either; nothing is read but one sweep, and the Lease not at all."""
    one, other, *_ = namespaces.create("one", "other", "n1", "n2", "n3")
    soon = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ending = {"expires_at": {"title": "Expiration", "value": soon, "valueType": "String"}}
    cluster.apply(
        a_license(one, entitlements=ending),
        a_license(other, appSlug="other-app", licenseID="other-license-id"),
        an_application(one, "*"),
    )
    await quiet.until(lambda: quiet.synced(one, other))
    await quiet.until(lambda: not quiet.role.problems())
    await quiet.pass_seconds(60)  # Far from both ends of the time between two sweeps.
    before = len(quiet.requests())

    await quiet.pass_seconds(TEN_MINUTES)

    requests = quiet.requests()[before:]
    written = Counter(said(event) for event in requests if event["verb"] in WRITES)
    read = Counter(said(event) for event in requests if event["verb"] not in WRITES)
    assert written == {"update leases replicated-proxy-controller": RENEWALS}
    assert read == SWEEP
