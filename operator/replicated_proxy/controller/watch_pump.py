"""Our own watches as a pump, for the kinds of which a cluster has thousands.

kopf keeps a queue, a worker and a few copies for each object that it sees, all of it to serve handlers that we do not
have. For Licenses and Applications that is nothing; for namespaces and pull secrets it was the larger part of what the
controller did (docs/decisions/0023).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from replicated_proxy.controller.pumping import ACCIDENTS, STEADY_SECONDS, Deliver, Pumped, WatchedKind
from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError, Gone, NotFound, Unreachable
from replicated_proxy.kube.hearing import Hearing
from replicated_proxy.kube.resources import Resource

_log = logging.getLogger(__name__)
_BOOKMARK: Final = "BOOKMARK"
_SHORT_WATCH_SECONDS: Final = 1.0


class WatchPump:
    """Lists and watches a few kinds and hands their events over.

    Attributes:
        pumped: what it is for.
        hearing: when each kind was last heard of.
        began: when it last started, by the monotonic clock.
        failures: how often a watch was interrupted lately.
    """

    def __init__(
        self, pumped: Pumped, client: KubeClient, deliver: Deliver, listed: Callable[[Resource], None]
    ) -> None:
        """Make a pump that does not run yet.

        Args:
            pumped: what it is for.
            client: asks the API server.
            deliver: receives each event.
            listed: told when a kind was listed, at the start or after its history was gone. What was deleted meanwhile
                is in no event; a listing that begins from now on shows it.
        """
        self.pumped = pumped
        self.hearing = Hearing((kind.resource for kind in pumped.kinds), time.monotonic, listed)
        self.began = time.monotonic()
        self.failures = 0
        self._client = client
        self._deliver = deliver
        self._told = asyncio.Event()
        self._since: dict[Resource, str] = {}
        self._failed = 0.0

    def problems(self) -> list[str]:
        """Say that watches end again and again; once is an accident that asking anew heals."""
        lately = time.monotonic() - self._failed < STEADY_SECONDS
        return [f"no watch holds for {self.pumped.name}"] if self.failures > ACCIDENTS and lately else []

    def silence(self, resource: Resource) -> float:
        """Return for how many seconds nothing came for a kind although it was watched."""
        return min(self.hearing.age(resource), time.monotonic() - self.began)

    def restart(self) -> None:
        """List and watch anew: a kind is not heard of, or a sweep found what events had missed."""
        self._told.set()

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:
            self._told.clear()
            self.began = time.monotonic()
            watches = [asyncio.ensure_future(self._pump(kind)) for kind in self.pumped.kinds]
            told = asyncio.ensure_future(self._told.wait())
            try:
                await asyncio.wait([told, *watches], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (told, *watches):
                    task.cancel()
                outcomes = await asyncio.gather(*watches, return_exceptions=True)
            # A watch ends by a mistake of ours only; whoever runs this pump has to know.
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome

    async def _pump(self, kind: WatchedKind) -> None:
        """List, then watch; a history that is gone is listed anew, and so is a kind that vanished."""
        attempt = 0
        while True:
            begun = float("inf")  # Nothing holds before it was listed, however long a listing hangs.
            try:
                await self._list(kind)
                begun = time.monotonic()
                await self._watch(kind)
            except Gone:
                attempt = 0 if time.monotonic() - begun > STEADY_SECONDS else attempt + 1
                if attempt:
                    await retry_pause(attempt)
            except ApiError as error:
                attempt = 0 if time.monotonic() - begun > STEADY_SECONDS else attempt
                await self._pause(kind, attempt, error)
                attempt += 1

    async def _list(self, kind: WatchedKind) -> None:
        """Hand over what is there, and note from where to watch."""
        listing = await self._client.list_all(kind.resource, field_selector=kind.field_selector)
        for body in listing.items:
            self._deliver(kind.resource, None, body)
        self._since[kind.resource] = listing.resource_version
        self.hearing.note(kind.resource.path(), watch=False)

    async def _watch(self, kind: WatchedKind) -> None:
        """Hand over what happens; an interrupted watch goes on from the last version that came.

        Raises:
            Gone: that version is too old.
            NotFound: the kind is not served any more.
        """
        attempt = 0
        while True:
            begun = time.monotonic()
            try:
                await self._watch_once(kind)
            except (Gone, NotFound):
                raise
            except ApiError as error:
                attempt = 0 if time.monotonic() - begun > STEADY_SECONDS else attempt
                await self._pause(kind, attempt, error)
                attempt += 1
            else:
                attempt = 0
                if time.monotonic() - begun < _SHORT_WATCH_SECONDS:
                    await _pause_between()

    async def _watch_once(self, kind: WatchedKind) -> None:
        """Watch until the server ends it, or says nothing for longer than bookmarks take to come."""
        path, since, quiet = kind.resource.path(), self._since[kind.resource], self.pumped.quiet_seconds
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(quiet) as silence:
                async for type_, body in self._client.watch(kind.resource, since, field_selector=kind.field_selector):
                    silence.reschedule(loop.time() + quiet)
                    self.hearing.note(path, watch=True)
                    self._since[kind.resource] = text_at(body, "metadata", "resourceVersion")
                    if type_ != _BOOKMARK:
                        self._deliver(kind.resource, type_, body)
        except TimeoutError:
            raise Unreachable(f"the watch of {kind.resource.plural} was silent for {quiet:g} s") from None

    async def _pause(self, kind: WatchedKind, attempt: int, error: ApiError) -> None:
        """Say what interrupted a kind, the first time loudly, and wait."""
        level = logging.DEBUG if attempt else logging.WARNING
        _log.log(level, "%s are not watched for a moment: %s", kind.resource.plural, error)
        self.failures = self.failures + 1 if attempt else 1
        self._failed = time.monotonic()
        await retry_pause(attempt, error)


async def _pause_between() -> None:
    """Wait where a server (or a proxy before it) ends each watch at once: asking again at once would be a loop."""
    await asyncio.sleep(1.0)
