"""When statuses are written while namespaces are worked through, and what a restart may conclude from its caches."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from builders import SECRET_NAME, a_license_body, a_route, versioned
from replicated_proxy.controller.reconciling import Hands, Reconciler
from replicated_proxy.controller.reporting import Findings
from replicated_proxy.controller.workqueue import WorkQueue
from replicated_proxy.controller.world import World
from replicated_proxy.controller.writing import Stale
from replicated_proxy.core.credentials import RegistryCredentials, encode_docker_config
from replicated_proxy.core.licenses import LicenseID
from replicated_proxy.core.pull_secrets import DesiredSecret, Ownership, SecretPlan, render_secret
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.statuses import SyncResult, SyncState
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
        self.forgotten: list[str] = []
        self.carried_out: dict[str, SyncResult | Stale] = {}
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

    async def carry_out(self, plan: SecretPlan) -> SyncResult | None:
        """Stand in for the writer."""
        outcome = self.carried_out.get(plan.namespace)
        if isinstance(outcome, Stale):
            raise outcome
        return outcome

    def forget(self, namespace: str) -> None:
        """Stand in for the writer."""
        self.forgotten.append(namespace)

    def put_copy(self) -> None:
        """Have the License's copy in its namespace, as it should be."""
        credentials = RegistryCredentials.of(LicenseID("my-app-id"), a_route())
        desired = DesiredSecret(encode_docker_config([credentials]), ("uid-of-app-my-app",))
        copy = versioned(render_secret("app", desired, OWNERSHIP), 2, uid="u")
        self.world.secrets.take(Listing((copy,), "11"))

    async def work_off(self) -> None:
        """Empty the queue without doing anything."""
        while len(self.reconciler.queue):
            self.reconciler.queue.finish(await self.reconciler.queue.take())


async def test_status_is_written_now_and_then_while_namespaces_are_worked_through() -> None:
    """Turns that have nothing new to tell wait some seconds; with the last namespace done nothing waits."""
    house = House("app", "other")
    told = []
    for seconds in (0, 1, 3, 1, 1):
        await house.clock.advance(seconds)
        await house.reconciler.overview()
        told.append(len(house.reports))
    await house.work_off()
    await house.reconciler.overview()
    await house.reconciler.overview()

    assert (told, len(house.reports)) == ([0, 0, 0, 1, 1], 3)


async def test_nothing_is_reported_before_everything_was_listed() -> None:
    """Absence proves nothing yet, so neither a table nor a status may say it."""
    house = House("app")
    house.world.secrets.complete = False
    await house.reconciler.overview()

    assert (house.reports, house.published.routes) == ([], ())


async def test_restart_reports_what_the_caches_show_to_be_settled() -> None:
    """A copy that is as it should be counts as synced before anybody looked at it again, another one does not."""
    house = House("app", "other")
    house.put_copy()
    await house.reconciler.overview()
    await house.work_off()
    await house.reconciler.overview()

    assert house.reports == [{"app": SyncState.SYNCED}]


@pytest.mark.parametrize("state", [SyncState.FAILED, None], ids=["one still fails", "nothing is wanted"])
async def test_restart_reports_when_it_knows_what_came_of_each_namespace(state: SyncState | None) -> None:
    """A namespace that failed before and still does is not said to be waiting for a moment, with two Events."""
    house = House("app")
    if state is not None:
        house.carried_out["app"] = SyncResult(state, "Forbidden", "quota exceeded")
    house.reconciler.queue.add("app")
    house.reconciler.trigger_overview()
    tasks = [asyncio.ensure_future(work()) for work in (house.reconciler.run_overview, house.reconciler.run_namespaces)]
    await house.clock.advance(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert house.reports[0] == ({} if state is None else {"app": state})


async def test_copy_that_is_to_get_something_else_counts_as_synced_no_more() -> None:
    """A changed License is reported on when its copies have it, or after some seconds as what is still to do."""
    house = House("app")
    house.put_copy()
    await house.reconciler.overview()
    await house.work_off()
    await house.reconciler.overview()
    house.world.licenses.apply("MODIFIED", versioned(a_license_body(licenseID="renewed"), 12))
    await house.reconciler.overview()
    assert house.reports == [{"app": SyncState.SYNCED}]

    await house.clock.advance(5)
    await house.reconciler.overview()
    assert house.reports[1:] == [{"app": SyncState.WAITING}]


async def test_status_that_is_held_back_is_looked_at_again_when_its_time_has_come() -> None:
    """An overview becomes due by itself, and only where something was held back."""
    house = House("app")
    await house.reconciler.overview()
    await house.work_off()
    await house.reconciler.overview()
    assert house.reconciler._owed is None

    house.held = 0.01
    await house.reconciler.overview()
    async with asyncio.timeout(10):
        await house.reconciler._overview_due.wait()


async def test_void_plan_waits_for_nobody_who_asked_for_time_before() -> None:
    """An earlier answer's pause was for that try; what stands there now has been read, and is planned anew soon."""
    house = House("app")
    await house.reconciler.overview()
    house.carried_out["app"] = SyncResult(SyncState.FAILED, "TooManyRequests", "", 17.0)
    assert await house.reconciler.reconcile_namespace("app")
    assert house.reconciler.results["app"].retry_after == 17.0
    house.carried_out["app"] = Stale()
    assert await house.reconciler.reconcile_namespace("app")

    assert house.reconciler.results["app"] == SyncResult(SyncState.FAILED, "TooManyRequests")
    assert house.reconciler.results["app"].retry_after == 0.0


async def test_namespace_made_anew_before_anybody_looked_owes_nothing_to_the_old_one() -> None:
    """Its first copy is no repair of one that somebody keeps deleting, however often the namespace is made anew."""
    house = House("app")
    await house.reconciler.overview()
    for version in ("11", "12", "12"):
        body = {"metadata": {"name": "app", "uid": f"uid-{version}", "resourceVersion": version}}
        house.world.namespaces.apply("MODIFIED", body)
        await house.reconciler.reconcile_namespace("app")
    assert house.forgotten == ["app"]

    house.world.namespaces.apply("DELETED", {"metadata": {"name": "app", "resourceVersion": "13"}})
    await house.reconciler.reconcile_namespace("app")
    assert house.forgotten == ["app", "app"]
