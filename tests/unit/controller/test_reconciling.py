"""When statuses are written while namespaces are worked through, and what a restart may conclude from its caches."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from builders import SECRET_NAME, a_license_body, a_route, versioned
from replicated_proxy.controller.reconciling import Hands, Reconciler
from replicated_proxy.controller.reporting import Findings
from replicated_proxy.controller.workqueue import WorkQueue
from replicated_proxy.controller.world import World
from replicated_proxy.core.credentials import RegistryCredentials, encode_docker_config
from replicated_proxy.core.licenses import LicenseID
from replicated_proxy.core.pull_secrets import DesiredSecret, Ownership, render_secret
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.statuses import SyncState
from replicated_proxy.kube.client import Listing
from replicated_proxy.settings import Settings
from simulated_clock import SimulatedClock

OWNERSHIP = Ownership("operator-system/operator", SECRET_NAME)


class House:
    """A reconciler between hands that only note what they are asked for."""

    def __init__(self, *namespaces: str) -> None:
        self.clock = SimulatedClock()
        self.world = World(OWNERSHIP, frozenset())
        self.world.licenses.take(Listing((versioned(a_license_body(), 1),), "10"))
        self.world.namespaces.take(Listing(tuple({"metadata": {"name": name}} for name in namespaces), "10"))
        self.world.applications.take(Listing((), "10"))
        self.world.secrets.take(Listing((), "10"))
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.published = RoutingTable(SECRET_NAME)
        self.problem = ""
        self.reports: list[dict[str, SyncState]] = []
        self.held = 0.0
        anyone = cast("Any", self)
        hands = Hands(client=anyone, writer=anyone, publisher=anyone, reporter=anyone)
        self.reconciler = Reconciler(self.world, hands, WorkQueue(1.0, 60.0), Settings(), self.clock)

    def server_time(self) -> None:
        """Stand in for the client: no answer has been heard yet."""

    async def publish(self, table: RoutingTable) -> None:
        """Stand in for the publisher."""
        self.published = table

    async def report(self, findings: Findings) -> bool:
        """Stand in for the reporter."""
        self.reports.append({name: result.state for name, result in findings.results.items()})
        return False

    async def work_off(self) -> None:
        """Empty the queue without doing anything."""
        while len(self.reconciler.queue):
            self.reconciler.queue.finish(await self.reconciler.queue.take())


async def test_status_is_written_now_and_then_while_namespaces_are_worked_through() -> None:
    """The first turn reports at once, the next ones wait some seconds; with the last namespace done nothing waits."""
    house = House("app", "other")
    told = []
    for seconds in (0, 1, 3, 1, 1):
        await house.clock.advance(seconds)
        await house.reconciler.overview()
        told.append(len(house.reports))
    await house.work_off()
    await house.reconciler.overview()
    await house.reconciler.overview()

    assert (told, len(house.reports)) == ([1, 1, 1, 2, 2], 4)


async def test_nothing_is_reported_before_everything_was_listed() -> None:
    """Absence proves nothing yet, so neither a table nor a status may say it."""
    house = House("app")
    house.world.secrets.complete = False
    await house.reconciler.overview()

    assert (house.reports, house.published.routes) == ([], ())


async def test_restart_reports_what_the_caches_show_to_be_settled() -> None:
    """A copy that is as it should be counts as synced before anybody looked at it again, another one does not."""
    house = House("app", "other")
    credentials = RegistryCredentials.of(LicenseID("my-app-id"), a_route())
    desired = DesiredSecret(encode_docker_config([credentials]), ("uid-of-app-my-app",))
    house.world.secrets.take(Listing((versioned(render_secret("app", desired, OWNERSHIP), 2, uid="u"),), "11"))
    await house.reconciler.overview()

    assert house.reports == [{"app": SyncState.SYNCED}]


async def test_status_that_is_held_back_is_looked_at_again_when_its_time_has_come() -> None:
    """An overview becomes due by itself, and only where something was held back."""
    house = House("app")
    await house.reconciler.overview()
    assert house.reconciler._owed is None

    house.held = 0.01
    await house.reconciler.overview()
    async with asyncio.timeout(10):
        await house.reconciler._overview_due.wait()
