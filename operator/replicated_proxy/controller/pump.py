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
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import kopf

from replicated_proxy.controller.pumping import ACCIDENTS, STEADY_SECONDS, Deliver, Pumped
from replicated_proxy.kube.client import Connection, retry_pause
from replicated_proxy.kube.hearing import Access, Hearing
from replicated_proxy.kube.resources import Resource

_log = logging.getLogger(__name__)
logging.getLogger("kopf").setLevel(logging.WARNING)  # A line for each event and each login says nothing to anybody.

_ENDING_SECONDS: Final = 0.5  # kopf may take 5 s and more to end, in which nobody would watch.
_IDLE_SECONDS: Final = 0.1  # kopf keeps a worker and a queue for each object that it saw; thousands at a start.


class _EndlessBackoffs:
    """Pauses between tries of a request, without end: 1, 2, 4, then 10 seconds for ever.

    With a finite list kopf gives up and ends while the API server is only away for long.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1.0, 2.0, 4.0)
        while True:
            yield 10.0


class _NoEssence(kopf.DiffBaseStorage):
    """Keeps no last handled state: nothing here asks kopf what changed, and it copies each object to find out."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Find nothing worth comparing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Know of no earlier state."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class EventPump:
    """Runs kopf for a few kinds and hands their events over.

    Attributes:
        pumped: what it is for.
        hearing: when each kind was last heard of.
        began: when kopf was last started, by the monotonic clock.
        failures: how often kopf ended by itself lately.
    """

    def __init__(
        self,
        pumped: Pumped,
        connect: Callable[[], Awaitable[Connection]],
        deliver: Deliver,
        listed: Callable[[Resource], None],
    ) -> None:
        """Make a pump that does not run yet.

        Args:
            pumped: what it is for.
            connect: gives the connection of now.
            deliver: receives each event.
            listed: told when kopf has listed a kind, at its start or after a watch broke. What was deleted before that
                and after its last watch ended is in no event; a listing of our own that begins from now on shows it.
        """
        self.pumped = pumped
        self._listed = listed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connect = connect
        self._deliver = deliver
        self._told = asyncio.Event()
        self._stop = threading.Event()
        self.hearing = Hearing((kind.resource for kind in pumped.kinds), time.monotonic, self._pass_listing)
        self.began = time.monotonic()
        self.failures = 0

    def problems(self) -> list[str]:
        """Say that kopf ends again and again; once is an accident that a new start heals."""
        unsteady = time.monotonic() - self.began < STEADY_SECONDS
        return [f"kopf does not run for {self.pumped.name}"] if self.failures > ACCIDENTS and unsteady else []

    def silence(self, resource: Resource) -> float:
        """Return for how many seconds nothing came for a kind although kopf ran."""
        return min(self.hearing.age(resource), time.monotonic() - self.began)

    async def run(self) -> None:
        """Pump until cancelled; kopf is started again whenever it ends."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._told, self._stop = asyncio.Event(), threading.Event()
                self.began = time.monotonic()
                await self._run_once()
                self._stop.set()  # A run that is left behind waits for it in a thread that Python joins at its exit.
                if time.monotonic() - self.began > STEADY_SECONDS:
                    self.failures = 0
                if not self._told.is_set():
                    _log.warning("kopf ended for %s; starting it again", self.pumped.name)
                    await retry_pause(self.failures)
                    self.failures += 1
        finally:
            self._stop.set()

    def restart(self) -> None:
        """Look for the kinds anew: one of them has appeared, vanished, been made anew, or is not heard of."""
        self._told.set()
        self._stop.set()

    def _pass_listing(self, resource: Resource) -> None:
        """Hand over to the main loop that kopf has listed a kind."""
        if self._loop is not None:
            _call_soon(self._loop, lambda: self._listed(resource))

    async def _run_once(self) -> None:
        """Run kopf in a thread of its own until it ends; one that takes long to end ends beside its successor."""
        ended = asyncio.Event()
        arguments = (asyncio.get_running_loop(), self._stop, ended)
        name = f"kopf-{self.pumped.name}"
        threading.Thread(target=self._run_thread, args=arguments, name=name, daemon=True).start()
        either = [asyncio.ensure_future(event.wait()) for event in (ended, self._told)]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDING_SECONDS):
                    await ended.wait()
        finally:
            for waiting in either:
                waiting.cancel()

    def _run_thread(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, ended: asyncio.Event) -> None:
        """Run kopf in this thread until it ends, by itself or because it is told to."""
        try:
            asyncio.run(self._operate(loop, stop, ended))
        except Exception as error:  # noqa: BLE001 - kopf ends with errors of any kind; the answer is always the same.
            _log.warning("kopf failed for %s: %s", self.pumped.name, error)
        finally:
            _call_soon(loop, ended.set)

    async def _operate(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, ended: asyncio.Event) -> None:
        """Run one kopf operator with a registry of its own."""
        registry = kopf.OperatorRegistry()
        access = Access(self.hearing)
        kopf.on.login(registry=registry)(self._make_login(access, loop))
        for kind in self.pumped.kinds:
            self._register(registry, kind.resource, loop)
        # A watcher that is told to end while it asks for its watch overhears that, and kopf waits for it for ever.
        bystander = asyncio.create_task(access.given_up())
        bystander.add_done_callback(lambda _: _call_soon(loop, ended.set))
        try:
            await kopf.operator(
                registry=registry,
                settings=_settings(self.pumped),
                clusterwide=True,
                standalone=True,
                stop_flag=stop,
                # By default kopf names itself after the user, and in a container there is none of that ID.
                identity=threading.current_thread().name,  # type: ignore[arg-type]  # a str; its type is not exported
            )
        finally:
            stop.set()  # kopf waits for it in a thread of its own, without which this loop cannot be closed.

    def _make_login(
        self, access: Access, loop: asyncio.AbstractEventLoop
    ) -> Callable[..., Awaitable[kopf.AiohttpSession]]:
        """Make what gives kopf a session of ours; it asks again when the token was refused, and then not in a hurry."""
        logins = 0

        async def login(**_: Any) -> kopf.AiohttpSession:
            """Open a session at the API server that is listened to."""
            nonlocal logins
            access.expect()
            if logins:
                await retry_pause(logins)
            logins += 1
            connection = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_await(self._connect), loop))
            credentials = kopf.ConnectionInfo(
                server=connection.server,
                ca_path=connection.ca_file,
                certificate_path=connection.certificate_file,
                private_key_path=connection.key_file,
                token=connection.token,
            )
            session = access.open(credentials.as_ssl_context(), credentials.as_http_headers())
            return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

        return login

    def _register(self, registry: kopf.OperatorRegistry, resource: Resource, loop: asyncio.AbstractEventLoop) -> None:
        """Register the handler of one kind."""

        async def pass_on(event: Any, **_: Any) -> None:
            """Hand the event over to the main loop."""
            _call_soon(loop, lambda: self._deliver(resource, event["type"], dict(event["object"])))

        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(pass_on)


async def _await(connect: Callable[[], Awaitable[Connection]]) -> Connection:
    """Make a coroutine of any awaitable."""
    return await connect()


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Call in the main loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _settings(pumped: Pumped) -> kopf.OperatorSettings:
    """Set kopf to pump only: nothing scanned, posted, stored or elected."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.persistence.diffbase_storage = _NoEssence()
    settings.networking.error_backoffs = _EndlessBackoffs()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.inactivity_timeout = pumped.quiet_seconds
    settings.watching.chunk_size = 500
    for kind in pumped.kinds:
        if kind.field_selector:
            resource = kind.resource
            settings.watching.field_selectors[resource.version, resource.plural] = kind.field_selector
    return settings
