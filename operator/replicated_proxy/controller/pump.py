"""kopf as a pump of events, and as nothing else.

Only `on.event` handlers: they write nothing to the objects, no finalizer and no annotation. Each pump has a thread
and an event loop of its own, since kopf cancels what it finds in its loop when it ends (nolar/kopf#1030). When it
ends (kopf 1.45.2 ends the operator on a watch error other than 410, and on a kind that is not served) it is started
again; when a kind appears or is made anew it has to be told, because with scanning off kopf looks for kinds once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import kopf

from replicated_proxy.kube.client import Connection, Object, retry_pause
from replicated_proxy.kube.resources import Resource

_log = logging.getLogger(__name__)
logging.getLogger("kopf").setLevel(logging.WARNING)  # A line for each event and each login says nothing to anybody.

_ACCIDENTS = 2
_STEADY_SECONDS = 60.0

Deliver = Callable[[Resource, str | None, Object], None]
"""Receives each event in the main event loop: kind, type (None while listing), object."""


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """A kind to pump events of.

    Attributes:
        resource: the kind.
        field_selector: narrows list and watch on the server, or empty.
    """

    resource: Resource
    field_selector: str = ""


class _EndlessBackoffs:
    """Pauses between tries of a request, without end: 1, 2, 4, then 10 seconds for ever.

    With a finite list kopf gives up and ends while the API server is only away for long.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1.0, 2.0, 4.0)
        while True:
            yield 10.0


class EventPump:
    """Runs kopf for a few kinds and hands their events over."""

    def __init__(
        self, name: str, kinds: Sequence[WatchedKind], connect: Callable[[], Awaitable[Connection]], deliver: Deliver
    ) -> None:
        self._name = name
        self._kinds = tuple(kinds)
        self._connect = connect
        self._deliver = deliver
        self._stop_run = threading.Event()
        self.failures = 0

    def problems(self) -> list[str]:
        """Say that kopf ends again and again; once is an accident that a new start heals."""
        return [f"kopf does not run for {self._name}"] if self.failures > _ACCIDENTS else []

    async def run(self) -> None:
        """Pump until cancelled; kopf is started again whenever it ends."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._stop_run = threading.Event()
                ended: asyncio.Future[None] = loop.create_future()
                arguments = (loop, self._stop_run, ended)
                threading.Thread(
                    target=self._run_thread, args=arguments, name=f"kopf-{self._name}", daemon=True
                ).start()
                started = loop.time()
                await asyncio.shield(ended)
                if loop.time() - started > _STEADY_SECONDS:
                    self.failures = 0
                if not self._stop_run.is_set():
                    _log.warning("kopf ended for %s; starting it again", self._name)
                    await retry_pause(self.failures)
                    self.failures += 1
        finally:
            self._stop_run.set()

    def restart(self) -> None:
        """Look for the kinds anew: one of them has appeared, vanished or been made anew."""
        self._stop_run.set()

    def _run_thread(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, ended: asyncio.Future[None]) -> None:
        """Run kopf in this thread until it ends, by itself or because it is told to."""
        try:
            asyncio.run(self._operate(loop, stop))
        except Exception as error:  # noqa: BLE001 - kopf ends with errors of any kind; the answer is always the same.
            _log.warning("kopf failed for %s: %s", self._name, error)
        finally:
            _call_soon(loop, lambda: _settle(ended))

    async def _operate(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        """Run one kopf operator with a registry of its own."""
        registry = kopf.OperatorRegistry()
        settings = _settings(self._kinds)

        async def login(**_: Any) -> kopf.ConnectionInfo:
            """Give kopf our connection; it asks again when a token has expired."""
            connection = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_await(self._connect), loop))
            return kopf.ConnectionInfo(
                server=connection.server,
                ca_path=connection.ca_file,
                certificate_path=connection.certificate_file,
                private_key_path=connection.key_file,
                token=connection.token,
            )

        kopf.on.login(registry=registry)(login)
        for kind in self._kinds:
            self._register(registry, kind.resource, loop)
        await kopf.operator(
            registry=registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            # By default kopf names itself after the user, and in a container there is none of that ID.
            identity=threading.current_thread().name,  # type: ignore[arg-type]  # a str; its type is not exported
        )

    def _register(self, registry: kopf.OperatorRegistry, resource: Resource, loop: asyncio.AbstractEventLoop) -> None:
        """Register the handler of one kind."""

        async def pass_on(event: Any, **_: Any) -> None:
            """Hand the event over to the main loop."""
            _call_soon(loop, lambda: self._deliver(resource, event["type"], dict(event["object"])))

        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(pass_on)


async def _await(connect: Callable[[], Awaitable[Connection]]) -> Connection:
    """Make a coroutine of any awaitable."""
    return await connect()


def _settle(ended: asyncio.Future[None]) -> None:
    """Mark a run as ended, unless nobody waits for it any more."""
    if not ended.done():
        ended.set_result(None)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Call in the main loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _settings(kinds: Sequence[WatchedKind]) -> kopf.OperatorSettings:
    """Set kopf to pump only: nothing scanned, posted, stored or elected."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.networking.error_backoffs = _EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.chunk_size = 500
    for kind in kinds:
        if kind.field_selector:
            resource = kind.resource
            settings.watching.field_selectors[resource.version, resource.plural] = kind.field_selector
    return settings
