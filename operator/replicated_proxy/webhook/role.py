"""The webhook from start to end: follows its two objects, listens once both are there, drains."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Final

from replicated_proxy.certificates.issuing import webhook_name
from replicated_proxy.clock import Clock, SystemClock
from replicated_proxy.core.objects import Body
from replicated_proxy.detection.detector import Registries, RegistryDetector
from replicated_proxy.detection.sharing import PATH, SharedVerdicts
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.resources import CONFIG_MAPS, SECRETS, Resource
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.health import HealthChecks, HealthServer
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.callers import CallerAuthorities
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.server import ReviewServer
from replicated_proxy.webhook.tables import TableHolder, VerdictTaker

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 10.0


class WebhookRole:
    """One replica of the webhook.

    Attributes:
        server: the HTTPS server; its `port` is real once `serving` is set.
        health: the plain HTTP server of the probes and metrics.
        serving: set while the HTTPS port is open.
    """

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        metrics: Metrics,
        registries: Registries,
        clock: Clock | None = None,
    ) -> None:
        """Take what to ask registries by; it is closed at the end.

        Raises:
            InvalidCaFile: `webhook.clientCaFile` cannot be used.
        """
        webhook = settings.webhook
        clock = self._clock = clock or SystemClock()
        self._registries = registries
        self._detector = RegistryDetector(settings.detection, registries, clock, metrics)
        self._verdicts = VerdictTaker(self._detector.adopt)
        self._settings = settings
        self._client = client
        self._tables = TableHolder()
        name, callers = (
            webhook_name(webhook.service_name, settings.namespace),
            CallerAuthorities(webhook.client_ca_file),
        )
        self._material = MaterialHolder(name, clock.now, metrics, callers)
        handler = ReviewHandler(self._tables, settings.policy(), self._detector, metrics)
        shared = {PATH: SharedVerdicts(self._detector, self._material.key)}
        self.server = ReviewServer(webhook, self._material.context, handler.answer, metrics, shared)
        checks = HealthChecks(ready=self.problems)
        metrics.note_ready(checks.ready)
        metrics.table_outdated.set_function(lambda: float(self._tables.outdated))
        self.health = HealthServer(webhook.health_port, checks, metrics.registry, webhook.bind)
        self._complete = asyncio.Event()
        self.serving = asyncio.Event()

    def problems(self) -> list[str]:
        """Say what keeps this replica from being asked, for `/readyz`.

        A watch that is broken for a moment is none of it: stale rules beat no webhook.
        """
        found = [*self._material.problems(), *self._tables.problems()]
        if self.server.draining:
            found.append("draining: this replica is about to end")
        elif not found and not self.serving.is_set():
            found.append("the HTTPS port is not open yet")
        return found

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain and end.

        Raises:
            OSError: a port is taken.
        """
        await self.health.start()
        try:
            async with asyncio.TaskGroup() as group:
                table, secret = self._settings.routes_config_map, self._settings.certificates.serving_secret
                tasks = [
                    group.create_task(self._follow(CONFIG_MAPS, table, self._take_rules)),
                    group.create_task(self._follow(SECRETS, secret, self._material.update)),
                    group.create_task(self._open()),
                    group.create_task(self._look_again()),
                ]
                await stop.wait()
                await self._drain()
                for task in tasks:
                    task.cancel()
        finally:
            await self.server.stop()
            await self.health.stop()
            await self._detector.close()
            await self._registries.close()

    async def _follow(self, resource: Resource, name: str, update: Callable[[Body | None], None]) -> None:
        """Take over each state of an object."""
        async for body in follow_object(self._client, resource, name, self._settings.namespace):
            update(body)
            self._note_complete()

    def _note_complete(self) -> None:
        """Have the port opened once there is something to serve with."""
        if not self._material.problems() and not self._tables.problems():
            self._complete.set()

    async def _look_again(self) -> None:
        """Look at the certificate now and then: clocks are set and certificates become valid without any event."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            self._material.look_again()
            self._note_complete()

    def _take_rules(self, config_map: Body | None) -> None:
        """Take over what is known of registries, and then the routing table, with which reviews begin."""
        self._verdicts.update(config_map)
        self._tables.update(config_map)

    async def _open(self) -> None:
        """Open the port once there is something to serve with: until then a refused connection says it best."""
        await self._complete.wait()
        _settle_memory()
        await self.server.start()
        self.serving.set()
        _log.info("serving reviews", extra={"port": self.server.port})

    async def _drain(self) -> None:
        """Unready at once; go on serving until endpoints have forgotten us, each answer closing its connection."""
        self.server.draining = True
        if self.serving.is_set():
            _log.info("draining", extra={"seconds": self._settings.webhook.drain_seconds})
            await asyncio.sleep(self._settings.webhook.drain_seconds)


def _settle_memory() -> None:
    """Take what there is by now out of the garbage collector's sight: most of it are modules, which stay.

    A full collection looks at all of it and takes 65 ms, in which every review waits.
    """
    gc.collect()
    gc.freeze()
