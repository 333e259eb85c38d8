"""One term of leadership: everything that writes, from winning the Lease to losing it.

What an earlier term concluded is not carried over: meanwhile somebody else acted. So a term begins with listings and
with the published table as it stands, and has a reconciler of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from replicated_proxy.clock import Clock
from replicated_proxy.controller.certificates import Certificates
from replicated_proxy.controller.collecting import Reach, VerdictCollector
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.controller.reconciling import Hands, Reconciler
from replicated_proxy.controller.reporting import Reporter
from replicated_proxy.controller.restraint import Restraint
from replicated_proxy.controller.sweeping import Sweep
from replicated_proxy.controller.workqueue import WorkQueue
from replicated_proxy.controller.world import World
from replicated_proxy.controller.writing import SecretWriter
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.core.statuses import SyncState
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.pacing import Pace
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Office:
    """What outlives a term.

    Attributes:
        settings: everything that can be set.
        client: lets writes through only while the Lease is ours.
        clock: the one clock.
        metrics: the one set of metrics.
        world: the caches.
        sweep: fills them anew.
        publisher: the routing table, as far as it is known.
        certificates: who makes or follows them, and has seen what stands in the cluster.
    """

    settings: Settings
    client: KubeClient
    clock: Clock
    metrics: Metrics
    world: World
    sweep: Sweep
    publisher: TablePublisher
    certificates: Certificates


class Term:
    """The leader's work; `run` until cancelled.

    Attributes:
        reconciler: whom events tell what is due.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self.reconciler = _make_reconciler(office)

    async def run(self) -> None:
        """Take over, then act until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._office.certificates.keep())
                await self._office.sweep.begin()
                await self._office.publisher.take_over()
                self._look_at_everything()
                group.create_task(self._office.sweep.run(self._look_at_everything))
                group.create_task(self.reconciler.run_overview())
                group.create_task(self.reconciler.run_alarm())
                for _ in range(self._office.settings.controller.concurrency):
                    group.create_task(self.reconciler.run_namespaces())
                group.create_task(self._gauge())
                group.create_task(_make_collector(self._office).run())
        finally:
            self._office.publisher.hand_over()
            self.reconciler = _make_reconciler(self._office)  # Nothing is known any more, and the gauges say so.
            self._measure()

    def _look_at_everything(self) -> None:
        """Make every turn due."""
        # Results name namespaces that a listing may just have found gone.
        self.reconciler.queue.add_all({*self._office.world.namespaces.keys(), *self.reconciler.results})
        self.reconciler.trigger_overview()

    async def _gauge(self) -> None:
        """Keep the gauges current; they are read far less often than they change."""
        while True:
            await self._office.clock.sleep(1.0)
            self._measure()

    def _measure(self) -> None:
        """Set the gauges."""
        metrics, results = self._office.metrics, self.reconciler.results.values()
        metrics.queue_depth.set(len(self.reconciler.queue))
        metrics.oldest_unsynced_seconds.set(self.reconciler.queue.oldest())
        metrics.conflicts.set(sum(result.state is SyncState.CONFLICTING for result in results))
        metrics.note_licenses(self.reconciler.ends)
        metrics.note_failures(result.reason for result in results if result.state is SyncState.FAILED)


def _make_collector(office: Office) -> VerdictCollector:
    """Wire a collector that knows what stands in the ConfigMap."""
    reach = Reach(office.certificates.serving_secret)
    return VerdictCollector(office.settings, office.publisher, reach, office.clock, office.metrics)


def _make_reconciler(office: Office) -> Reconciler:
    """Wire a reconciler that knows nothing yet."""
    settings, client, world, clock = office.settings, office.client, office.world, office.clock
    ownership = Ownership(settings.installation, settings.secret.name)
    restraint = Restraint(settings.controller.deletions_per_second, clock.monotonic)
    hands = Hands(
        client=client,
        writer=SecretWriter(client, world.secrets, ownership, office.metrics, restraint),
        publisher=office.publisher,
        reporter=Reporter(client, world, clock.now, settings.validity(), Pace(clock.monotonic)),
    )
    timing = settings.controller
    queue = WorkQueue(timing.retry_first_seconds, timing.retry_longest_seconds)
    return Reconciler(world, hands, queue, settings, clock)
