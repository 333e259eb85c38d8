"""The controller role: pumps, caches, reconciler, certificates and sweep, side by side."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from replicated_proxy.clock import SystemClock
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.controller.listing import KINDS, Lister, until_listed
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.controller.pump import EventPump, Pumped, WatchedKind
from replicated_proxy.controller.reconciling import Hands, Reconciler
from replicated_proxy.controller.reporting import Reporter
from replicated_proxy.controller.restraint import Restraint
from replicated_proxy.controller.watchdog import Watchdog, kinds_of
from replicated_proxy.controller.workqueue import WorkQueue
from replicated_proxy.controller.world import World
from replicated_proxy.controller.writing import SecretWriter
from replicated_proxy.core.objects import text_at
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.core.statuses import SyncState
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.resources import NAMESPACES, SECRETS, Resource
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_DELETED: Final = "DELETED"


class ControllerRole:
    """Everything the controller does, wired; `run` until cancelled."""

    def __init__(self, settings: Settings, client: KubeClient, metrics: Metrics, now: Callable[[], datetime]) -> None:
        ownership = Ownership(settings.installation, settings.secret.name)
        self._settings = settings
        self._metrics = metrics
        self._world = World(ownership, frozenset(settings.sources.namespaces))
        self._lister = Lister(client, self._world, settings.secret.name)
        self._publisher = TablePublisher(client, settings.namespace, settings.routes_config_map, settings.secret.name)
        hands = Hands(
            client=client,
            writer=SecretWriter(
                client,
                self._world.secrets,
                ownership,
                metrics,
                Restraint(settings.controller.deletions_per_second, time.monotonic),
            ),
            publisher=self._publisher,
            reporter=Reporter(client, self._world, now, settings.validity()),
        )
        timing = settings.controller
        queue = WorkQueue(timing.retry_first_seconds, timing.retry_longest_seconds)
        self._reconciler = Reconciler(self._world, hands, queue, settings, SystemClock())
        self._certificates = CertificateKeeper(client, settings, now, metrics)
        self._sources_due = asyncio.Event()
        secrets = WatchedKind(SECRETS, f"metadata.name={settings.secret.name}")
        core = Pumped("core", (WatchedKind(NAMESPACES), secrets))
        kots = Pumped("kots", tuple(WatchedKind(resource) for resource in KINDS))
        self._pump, self._sources_pump = (
            EventPump(pumped, client.connection, self._deliver) for pumped in (core, kots)
        )
        self._watchdog = Watchdog(client, (self._pump, self._sources_pump), metrics)
        self.stuck = self._watchdog.problems

    def problems(self) -> list[str]:
        """Say what is missing for the controller to be ready."""
        problems = [f"{kind}.kots.io is not served" for kind in sorted(self._lister.missing)]
        problems += self._pump.problems() + self._sources_pump.problems()
        if not self._world.complete:
            problems.append("not everything has been listed once")
        return problems + self._publisher.problems() + self._certificates.problems()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in KINDS:
                group.create_task(self._lister.follow_definition(resource, self._definition_changed))
            group.create_task(self._publisher.follow(self._reconciler.trigger_overview))
            group.create_task(self._certificates.run())
            group.create_task(self._pump.run())
            group.create_task(self._sources_pump.run())
            group.create_task(self._watchdog.run())
            group.create_task(self._sweep())
            group.create_task(self._relist_sources())
            group.create_task(self._reconciler.run_overview())
            group.create_task(self._reconciler.run_alarm())
            for _ in range(self._settings.controller.concurrency):
                group.create_task(self._reconciler.run_namespaces())
            group.create_task(self._gauge())

    def _definition_changed(self) -> None:
        """Look at our kinds anew: kopf by a fresh start, the caches by a listing."""
        self._sources_pump.restart()
        self._sources_due.set()

    def _deliver(self, resource: Resource, kind: str | None, body: Object) -> None:
        """Take in an event and say which turns are due."""
        if resource is NAMESPACES:
            if self._world.namespaces.apply(kind, body):
                self._reconciler.queue.add(text_at(body, "metadata", "name"))
                self._reconciler.trigger_overview()
        elif resource is SECRETS:
            if self._world.secrets.apply(kind, body):
                self._reconciler.queue.add(text_at(body, "metadata", "namespace"))
        elif kind == _DELETED:
            # Deleted by somebody, or with its definition? Only a listing tells.
            self._sources_due.set()
        else:
            if text_at(body, "metadata", "deletionTimestamp"):
                self._sources_due.set()  # Revoked by somebody, or going with its definition? Only a listing tells.
            store = self._world.licenses if resource.plural == "licenses" else self._world.applications
            if store.apply(kind, body):
                self._reconciler.trigger_overview()

    async def _relist_sources(self) -> None:
        """List Licenses and Applications whenever one was deleted or a definition changed."""
        while True:
            await self._sources_due.wait()
            self._sources_due.clear()
            if await until_listed(self._lister.list_sources):
                self._reconciler.trigger_overview()

    async def _sweep(self) -> None:
        """List everything at start and then from time to time, to find what events missed."""
        await until_listed(self._lister.list_everything)
        self._look_at_everything()
        while True:
            await asyncio.sleep(self._settings.controller.sweep_seconds)
            found = await until_listed(self._lister.list_everything)
            if found:
                _log.warning("the sweep found what events had missed: %s", ", ".join(sorted(found)[:20]))
                self._metrics.sweep_corrections.inc(len(found))
                self._watchdog.restart_for(kinds_of(found))
            self._look_at_everything()

    def _look_at_everything(self) -> None:
        """Make every turn due."""
        # Results name namespaces that a listing may just have found gone.
        self._reconciler.queue.add_all({*self._world.namespaces.keys(), *self._reconciler.results})
        self._reconciler.trigger_overview()

    async def _gauge(self) -> None:
        """Keep the gauges current; they are read far less often than they change."""
        while True:
            await asyncio.sleep(1.0)
            results = self._reconciler.results.values()
            self._metrics.queue_depth.set(len(self._reconciler.queue))
            self._metrics.oldest_unsynced_seconds.set(self._reconciler.queue.oldest())
            self._metrics.conflicts.set(sum(result.state is SyncState.CONFLICTING for result in results))
            self._metrics.note_failures(result.reason for result in results if result.state is SyncState.FAILED)
