"""The one reconcile: whatever happened, look at the world, compute what should be, and apply the difference.

Two turns share the work. The overview turn computes the routing table and with it what belongs into which
namespace, publishes, and reports. The namespace turn brings one namespace's pull secret in line. Triggers only say
which turn is due; nothing is taken from what an event said.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime

from replicated_proxy.clock import Clock
from replicated_proxy.controller.alarm import Alarm
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.controller.reporting import Findings, Reporter
from replicated_proxy.controller.restraint import Deferred
from replicated_proxy.controller.workqueue import WorkQueue
from replicated_proxy.controller.world import World
from replicated_proxy.controller.writing import SecretWriter, Stale
from replicated_proxy.core.coverage import TablePlan, plan_table, with_conflicts
from replicated_proxy.core.namespaces import Namespace
from replicated_proxy.core.pull_secrets import Action
from replicated_proxy.core.secret_contents import SecretContents
from replicated_proxy.core.statuses import SyncResult, SyncState, conflict
from replicated_proxy.core.validity import ExpiryStanding, Moment, next_change
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError, Conflict
from replicated_proxy.kube.resources import NAMESPACES
from replicated_proxy.settings import Settings

_log = logging.getLogger(__name__)
_PROGRESS_SECONDS = 5.0  # While thousands of namespaces are worked through nobody reads each number.
_COALESCE_SECONDS = 0.2  # A burst of triggers makes one overview turn; nobody sees the difference.


@dataclass(frozen=True, slots=True)
class Hands:
    """Those who act for the reconciler.

    Attributes:
        client: for namespaces that are to be created.
        writer: pull secrets.
        publisher: the routing table.
        reporter: statuses and Events.
    """

    client: KubeClient
    writer: SecretWriter
    publisher: TablePublisher
    reporter: Reporter


class Reconciler:
    """Brings the cluster in line with Licenses and Applications.

    Attributes:
        queue: namespaces whose pull secret has to be looked at.
        results: the last result in each namespace that needs a pull secret.
        ends: how each License stood to its end in the last overview, and when that is, where it has one.
    """

    def __init__(self, world: World, hands: Hands, queue: WorkQueue, settings: Settings, clock: Clock) -> None:
        self._world = world
        self._hands = hands
        self._clock = clock
        self._alarm = Alarm(clock)
        self._settings = settings.coverage()
        self._create_namespaces = settings.secret.create_namespaces
        self._overview_due = asyncio.Event()
        self._contents: SecretContents | None = None
        # What came of a namespace in an earlier term is looked at anew first: it would be said to be waiting meanwhile.
        self._report_after = clock.monotonic() + _PROGRESS_SECONDS
        self._report_waits = False
        self._uids: dict[str, str] = {}
        self._owed: asyncio.TimerHandle | None = None
        self.queue = queue
        self.results: dict[str, SyncResult] = {}
        self.ends: tuple[tuple[ExpiryStanding, datetime | None], ...] = ()

    def trigger_overview(self) -> None:
        """Say that Licenses, Applications, namespaces or results are other than before."""
        self._overview_due.set()

    async def run_overview(self) -> None:
        """Take overview turns until cancelled."""
        attempt = 0
        while True:
            failure: ApiError | None = None
            await self._overview_due.wait()
            await self._clock.sleep(_COALESCE_SECONDS)
            self._overview_due.clear()
            try:
                await self.overview()
            except ApiError as error:
                failure = error
                _log.warning("overview failed, trying again: %s", error)
            except Exception:  # noqa: BLE001 - whatever is wrong with one object, the others' work goes on.
                _log.exception("overview failed, trying again")
            else:
                attempt = 0
                continue
            await retry_pause(attempt, failure)
            attempt += 1
            self._overview_due.set()

    async def run_alarm(self) -> None:
        """Make an overview turn due whenever time alone changes something: a License ends; until cancelled."""
        await self._alarm.run(self.trigger_overview)

    async def run_namespaces(self) -> None:
        """Take namespace turns until cancelled; several of these run side by side."""
        while True:
            name = await self.queue.take()
            again: Deferred | bool
            try:
                again = await self.reconcile_namespace(name)
            except Deferred as deferred:
                again = deferred
            except Exception:  # noqa: BLE001 - one namespace must never end the others' worker, whatever is wrong.
                _log.exception("namespace failed", extra={"namespace": name})
                again = True
            self._put_back(name, again)

    def _put_back(self, name: str, again: Deferred | bool) -> None:
        """Say when a namespace is to be looked at again, if at all; a report that waits for the last one is due."""
        if isinstance(again, Deferred):
            self.queue.postpone(name, again.seconds)
        elif again:
            known = self.results.get(name)
            self.queue.retry(name, known.retry_after if known else 0.0)
        else:
            self.queue.finish(name)
        if self._report_waits and not len(self.queue):
            self.trigger_overview()

    async def overview(self) -> None:
        """Compute table and contents, publish, report.

        Raises:
            ApiError: something could not be written; the turn has to be taken again.
        """
        if not (self._world.complete and self._hands.publisher.loaded.is_set()):
            return  # Absence proves nothing yet.
        moment = Moment(self._clock.now(), self._hands.client.server_time())
        sources, declared = self._world.sources(moment), self._world.declared()
        plan = plan_table(sources, self._world.namespaces.values(), self._settings, self._hands.publisher.published)
        self._adopt_contents(SecretContents(plan, {lic.identity.uid: lic for lic in sources.licenses}))
        self.ends = tuple((plan.standings[lic.identity.uid], lic.expiry.at) for lic in sources.licenses)
        self._alarm.set(next_change(sources.licenses, moment, self._settings.validity))
        await self._hands.publisher.publish(with_conflicts(plan.table, _conflicting(plan, self._world)))
        if self._may_report():
            await self._report(Findings(plan, declared, self.results, self._hands.publisher.problem))

    async def _report(self, findings: Findings) -> None:
        """Bring statuses up to date, and come again where that brought news or one was held back."""
        if await self._hands.reporter.report(findings):
            self.trigger_overview()
        self._owe_report(self._hands.reporter.held)

    def _may_report(self) -> bool:
        """Tell whether statuses are due: at once, but while namespaces are worked through only now and then."""
        now = self._clock.monotonic()
        left = self._report_after - now if len(self.queue) else 0.0
        self._owe_report(left)
        self._report_waits = left > 0
        if self._report_waits:
            return False
        self._report_after = now + _PROGRESS_SECONDS
        return True

    def _owe_report(self, seconds: float) -> None:
        """Come again after that time, in place of what was owed before; 0 means that nothing is."""
        if self._owed is not None:
            self._owed.cancel()
        self._owed = asyncio.get_running_loop().call_later(seconds, self.trigger_overview) if seconds > 0 else None

    def _adopt_contents(self, contents: SecretContents) -> None:
        """Look at every namespace again when what belongs there may have changed."""
        before, self._contents = self._contents, contents
        if before is not None and before.decides_like(contents):
            return
        if not self._report_waits:
            # What came of each namespace is known in a moment; until then only that something is to be done.
            self._report_after = self._clock.monotonic() + _PROGRESS_SECONDS
        for namespace in self._world.namespaces.values():
            if not namespace.terminating:
                self._foresee(namespace, contents)
        self.queue.add_all(self._world.namespaces.keys())
        if self._create_namespaces:
            self.queue.add_all(_missing(contents.plan, self._world))

    def _foresee(self, namespace: Namespace, contents: SecretContents) -> None:
        """Conclude from the caches alone whether something is to do in a namespace.

        So a mere restart changes no status, and no copy counts as synced with what it is yet to get.
        """
        name = namespace.name
        plan = contents.plan_copy(name, self._world.secrets.get(name), opted_out=namespace.opted_out)
        if plan is None:
            return
        if plan.action is Action.CONFLICT:
            self.results[name] = conflict(contents.plan.table.secret_name)
        elif plan.desired is not None and plan.action is Action.NOTHING:
            self.results[name] = SyncResult(SyncState.SYNCED)
        elif plan.desired is not None and self.results.get(name) == SyncResult(SyncState.SYNCED):
            self.results[name] = SyncResult(SyncState.WAITING)

    async def reconcile_namespace(self, name: str) -> bool:
        """Bring one namespace's pull secret in line; returns whether it has to be tried again."""
        contents = self._contents
        if contents is None:
            return False
        noted = self._noted(name)
        try:
            result = await self._sync(name, contents)
        except Stale:
            if name in self.results:  # The pause that an earlier answer asked for was before this try.
                self.results[name] = replace(self.results[name], retry_after=0.0)
            return True
        before = self.results.get(name)
        if result is None:
            self.results.pop(name, None)
        else:
            self.results[name] = result
        if (before, noted) != (result, self._noted(name)):
            self.trigger_overview()
        return result is not None and result.state is SyncState.FAILED

    def _noted(self, name: str) -> tuple[str, ...]:
        """Return whose credentials a namespace's copy holds; the overview reckons with it."""
        copy = self._world.secrets.get(name)
        return copy.licenses if copy else ()

    async def _sync(self, name: str, contents: SecretContents) -> SyncResult | None:
        """Plan and act in one namespace."""
        namespace, observed = self._world.namespaces.get(name), self._world.secrets.get(name)
        if namespace is None or self._uids.setdefault(name, namespace.uid) != namespace.uid:
            self._hands.writer.forget(name)  # What was written there went with the namespace that it was written to.
            self._uids.pop(name, None)
        if namespace is None:
            return await self._create_namespace(name, contents.plan)
        if namespace.terminating:
            return None
        # What the namespace says now counts at once; the table learns of it a moment later.
        plan = contents.plan_copy(name, observed, opted_out=namespace.opted_out)
        return SyncResult(SyncState.WAITING) if plan is None else await self._hands.writer.carry_out(plan)

    async def _create_namespace(self, name: str, plan: TablePlan) -> SyncResult | None:
        """Create a namespace that an Application lists, where the administrator wants that."""
        if not self._create_namespaces or name not in _missing(plan, self._world):
            return None
        try:
            await self._hands.client.create(NAMESPACES, {"metadata": {"name": name}})
        except Conflict:
            return None  # It is there already; its event is on the way.
        except ApiError as error:
            _log.warning("namespace not created: %s", error, extra={"namespace": name})
            return SyncResult(SyncState.FAILED, error.reason, str(error))
        return None


def _conflicting(plan: TablePlan, world: World) -> list[str]:
    """Return the covered namespaces whose Secret of our name is somebody else's."""
    return [copy.namespace for copy in world.secrets.values() if copy.foreign and plan.table.covering(copy.namespace)]


def _missing(plan: TablePlan, world: World) -> list[str]:
    """Return the listed namespaces that do not exist and may."""
    names = (name for name in plan.table.listed if plan.table.covering(name))
    return [name for name in names if world.namespaces.get(name) is None]
