"""The controller role: caches kept warm always, a contest for the Lease, and the leader's work while it is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from replicated_proxy.clock import Clock
from replicated_proxy.controller.certificates import make_certificates
from replicated_proxy.controller.electing import Elector, contest_of
from replicated_proxy.controller.entries import LicenseReader, leave_unchecked
from replicated_proxy.controller.leading import Office, Term
from replicated_proxy.controller.listing import KINDS, Lister, until_listed
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.controller.pump import EventPump
from replicated_proxy.controller.pumping import Pumped, WatchedKind
from replicated_proxy.controller.sourcing import SecretLicenseKeeper
from replicated_proxy.controller.sweeping import Sweep
from replicated_proxy.controller.watch_pump import WatchPump
from replicated_proxy.controller.watchdog import Watchdog
from replicated_proxy.controller.world import World
from replicated_proxy.core.license_documents import document_key
from replicated_proxy.core.objects import text_at
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.core.signatures import SignaturePolicy
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.gating import WriteGate
from replicated_proxy.kube.resources import NAMESPACES, SECRETS, Resource
from replicated_proxy.settings import Settings
from replicated_proxy.signatures.verifying import SignatureVerifier
from replicated_proxy.telemetry.metrics import Metrics

_DELETED: Final = "DELETED"
_DRAIN_SECONDS: Final = 3.0  # A write takes some milliseconds; the kubelet waits for half a minute.


class ControllerRole:
    """Everything the controller does, wired; `run` until cancelled.

    One replica leads and writes. The others keep their caches warm and write nothing but attempts at the Lease.
    """

    def __init__(self, settings: Settings, client: KubeClient, metrics: Metrics, clock: Clock, identity: str) -> None:
        self._gate = WriteGate(clock)
        self._elector = Elector(client, self._gate, contest_of(settings, identity), clock, metrics)
        # From here on nobody has a client that writes without the Lease.
        client = client.behind(self._gate)
        world = _make_world(settings)
        self._world = world
        self._lister = Lister(client, world, settings.secret.name)
        secrets = WatchedKind(SECRETS, f"metadata.name={settings.secret.name}")
        core = Pumped("core", (WatchedKind(NAMESPACES), secrets))
        kots = Pumped("kots", tuple(WatchedKind(resource) for resource in KINDS))
        self._pump = WatchPump(core, client, self._deliver, self._look_again)
        self._sources_pump = EventPump(kots, client.connection, self._deliver, self._look_again)
        self._watchdog = Watchdog(client, (self._pump, self._sources_pump), metrics)
        self.stuck = self._watchdog.problems
        self._secret_licenses = SecretLicenseKeeper(client, settings.sources, world.secret_licenses, clock)
        self._office = Office(
            settings=settings,
            client=client,
            clock=clock,
            metrics=metrics,
            world=world,
            sweep=Sweep(self._lister, self._watchdog, metrics, clock, settings.controller.sweep_seconds),
            publisher=TablePublisher(client, settings.namespace, settings.routes_config_map, settings.secret.name),
            certificates=make_certificates(client, settings, clock, metrics),
        )
        self._term: Term | None = None
        self._sources_due = asyncio.Event()
        self._unknown_kinds = set(KINDS)
        self._kinds_known = asyncio.Event()

    def problems(self) -> list[str]:
        """Say what is missing for the controller to be ready; a standby is, when it could take over."""
        problems = [f"{kind}.kots.io is not served" for kind in sorted(self._lister.missing)]
        problems += self._pump.problems() + self._sources_pump.problems() + self._elector.problems()
        if not self._world.complete:
            problems.append("not everything has been listed once")
        problems += self._office.publisher.problems()
        return problems + (self._office.certificates.problems() if self._term else [])

    async def run(self) -> None:
        """Work until cancelled; then what is on its way comes to its end, and the Lease is released."""
        work = asyncio.ensure_future(self._work())
        try:
            await asyncio.shield(work)
        finally:
            await self._gate.drain(_DRAIN_SECONDS)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._elector.release()

    async def _work(self) -> None:
        """Do everything side by side."""
        async with asyncio.TaskGroup() as group:
            for resource in KINDS:
                changed = partial(self._definition_changed, resource)
                group.create_task(self._lister.follow_definition(resource, changed))
            group.create_task(self._office.publisher.follow(self._overview_due))
            group.create_task(self._office.certificates.follow())
            group.create_task(self._pump.run())
            group.create_task(self._pump_sources())
            group.create_task(self._watchdog.run())
            group.create_task(self._relist_sources())
            group.create_task(self._secret_licenses.run(self._overview_due))
            group.create_task(self._elector.run())
            group.create_task(self._alternate())

    async def _alternate(self) -> None:
        """Lead while the Lease is ours, and stand by while it is not."""
        await self._elector.settled.wait()
        while True:
            if self._elector.leading.is_set():
                await _until(self._elector.standing_by, self._lead())
            else:
                await _until(self._elector.leading, self._stand_by())

    async def _lead(self) -> None:
        """Serve one term."""
        self._term = Term(self._office)
        try:
            await self._term.run()
        finally:
            self._term = None

    async def _stand_by(self) -> None:
        """Keep the caches whole, so that taking over is quick."""
        await self._office.sweep.begin()
        await self._office.sweep.run(lambda: None)

    def _overview_due(self) -> None:
        """Say that Licenses, Applications, namespaces or the published table are other than before."""
        if self._term:
            self._term.reconciler.trigger_overview()

    def _namespace_due(self, name: str) -> None:
        """Say that a namespace has to be looked at."""
        if self._term:
            self._term.reconciler.queue.add(name)

    def _definition_changed(self, resource: Resource) -> None:
        """Look at our kinds anew: kopf by a fresh start, the caches by a listing."""
        self._sources_due.set()
        if self._kinds_known.is_set():
            self._sources_pump.restart()
        self._unknown_kinds.discard(resource)
        if not self._unknown_kinds:
            self._kinds_known.set()

    async def _pump_sources(self) -> None:
        """Pump Licenses and Applications; from when it is known what is served, or kopf would have to start twice."""
        await self._kinds_known.wait()
        await self._sources_pump.run()

    def _look_again(self, resource: Resource) -> None:
        """List a kind ourselves after kopf did: it tells nothing of what was deleted before."""
        if resource in KINDS:
            self._sources_due.set()
        else:
            self._office.sweep.hurry()

    def _deliver(self, resource: Resource, kind: str | None, body: Object) -> None:
        """Take in an event and say which turns are due."""
        if resource is NAMESPACES:
            if self._world.namespaces.apply(kind, body):
                self._namespace_due(text_at(body, "metadata", "name"))
                self._overview_due()
        elif resource is SECRETS:
            if self._world.secrets.apply(kind, body):
                self._namespace_due(text_at(body, "metadata", "namespace"))
        elif kind == _DELETED:
            # Deleted by somebody, or with its definition? Only a listing tells.
            self._sources_due.set()
        else:
            if text_at(body, "metadata", "deletionTimestamp"):
                self._sources_due.set()  # Revoked by somebody, or going with its definition? Only a listing tells.
            store = self._world.licenses if resource.plural == "licenses" else self._world.applications
            if store.apply(kind, body):
                self._overview_due()

    async def _relist_sources(self) -> None:
        """List Licenses and Applications whenever one was deleted or a definition changed."""
        while True:
            await self._sources_due.wait()
            self._sources_due.clear()
            if await until_listed(self._lister.list_sources):
                self._overview_due()


def _make_world(settings: Settings) -> World:
    """Make the caches, with the reader of Licenses that the settings ask for."""
    checked = settings.license.signature is not SignaturePolicy.OFF
    verify = SignatureVerifier(settings.license.trusted_keys).verify if checked else leave_unchecked
    return World(
        Ownership(settings.installation, settings.secret.name),
        frozenset(settings.sources.namespaces),
        LicenseReader(verify, settings.validity()),
        [document_key(source.namespace, source.name, source.key) for source in settings.sources.secrets],
    )


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until something happens, and then not a moment longer; what the work fails with is raised."""
    task, happened = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, happened}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happened.cancel()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome
