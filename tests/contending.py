"""A Lease at an API server of its own, and links to it that lose, delay and withhold messages."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import cast

from builders import Json
from replicated_proxy.clock import Clock
from replicated_proxy.controller.electing import Contest, Elector
from replicated_proxy.core.leases import LeaseTiming
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound, Unreachable
from replicated_proxy.kube.gating import WriteGate
from replicated_proxy.kube.resources import Resource
from replicated_proxy.telemetry.metrics import Metrics

DEFAULTS = LeaseTiming(lease=15.0, renew=10.0, retry=2.0)
MINUTE = 60.0


class LeaseServer:
    """One Lease, as strict as the API server."""

    def __init__(self) -> None:
        self.lease: Json | None = None
        self.watches: list[asyncio.Queue[tuple[str, Json]]] = []
        self._version = 0

    @property
    def holder(self) -> str:
        """Who holds the Lease."""
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def put(self, body: Json) -> Json:
        """Store the Lease, as somebody with kubectl could."""
        self._version += 1
        self.lease = copy.deepcopy(body)
        self.lease.setdefault("metadata", {})["resourceVersion"] = str(self._version)
        return self._tell("MODIFIED")

    def edit(self, **spec: object) -> None:
        """Change fields of the Lease."""
        assert self.lease is not None
        self.put(self.lease | {"spec": self.lease["spec"] | spec})

    def delete(self) -> None:
        """Delete the Lease."""
        self._tell("DELETED")
        self.lease = None

    def _tell(self, kind: str) -> Json:
        """Tell whoever watches."""
        for queue in self.watches:
            queue.put_nowait((kind, copy.deepcopy(self.lease or {})))
        return copy.deepcopy(self.lease or {})

    def get(self) -> Json:
        """Read it."""
        if self.lease is None:
            raise NotFound(404, "NotFound", "no such Lease")
        return copy.deepcopy(self.lease)

    def create(self, body: Json) -> Json:
        """Create it."""
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", "there is one")
        return self.put(body)

    def replace(self, body: Json) -> Json:
        """Replace the version that it has."""
        if self.get()["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        return self.put(body)


@dataclass(frozen=True, slots=True)
class Passage:
    """What happens to one request.

    Attributes:
        there, back: seconds on the way.
        lost: `request` or `answer` when that never arrives, else empty.
    """

    there: float = 0.0
    back: float = 0.0
    lost: str = ""


class Link:
    """The client of one contender; `passages` say what becomes of its requests, after them all is well.

    Attributes:
        asked: the requests so far.
        refusal: what the server answers instead, or None.
        read_only: readings are answered all the same.
        cut: nothing arrives in either direction.
    """

    def __init__(self, server: LeaseServer, clock: Clock, passages: Iterable[Passage] = ()) -> None:
        self._server = server
        self._clock = clock
        self._passages = iter(passages)
        self.asked: list[str] = []
        self.refusal: ApiError | None = None
        self.read_only = False
        self.cut = False

    async def _exchange(self, what: str, carry_out: Callable[[], Json]) -> Json:
        """Send a request and wait for the answer."""
        self.asked.append(what)
        passage = next(self._passages, Passage())
        await self._clock.sleep(passage.there)
        if self.cut or passage.lost == "request":
            await asyncio.Event().wait()
        if self.refusal is not None and not (self.read_only and what == "get"):
            raise self.refusal
        try:
            answer = carry_out()
        finally:
            await self._clock.sleep(passage.back)
        if passage.lost == "answer":
            raise Unreachable("connection reset")
        return answer

    async def get(self, *_: object) -> Json:
        """Read the Lease."""
        return await self._exchange("get", self._server.get)

    async def create(self, _: Resource, body: Json, __: str) -> Json:
        """Create the Lease."""
        return await self._exchange("create", lambda: self._server.create(body))

    async def replace(self, _: Resource, body: Json) -> Json:
        """Replace the Lease."""
        return await self._exchange("replace", lambda: self._server.replace(body))

    async def list_all(self, *_: object) -> Listing:
        """List the Lease."""
        await asyncio.sleep(0)
        lease = self._server.lease
        return Listing((copy.deepcopy(lease),) if lease else (), lease["metadata"]["resourceVersion"] if lease else "0")

    async def watch(self, *_: object, **__: object) -> AsyncIterator[tuple[str, Json]]:
        """Yield the changes that arrive."""
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        self._server.watches.append(queue)
        while True:
            event = await queue.get()
            if not self.cut:
                yield event


class WatchedGate(WriteGate):
    """A gate that knows of the others, and counts when it opens while another stands open."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.others: list[WriteGate] = []
        self.overlaps = 0

    def open_until(self, moment: float) -> None:
        """Open, and look at the others at that moment."""
        super().open_until(moment)
        self.overlaps += bool(self.remaining) and any(other.remaining for other in self.others)


class Contender:
    """A running elector, and its gate."""

    def __init__(self, link: Link, clock: Clock, identity: str, timing: LeaseTiming = DEFAULTS) -> None:
        self.link = link
        self.gate = WatchedGate(clock)
        self.metrics = Metrics()
        contest = Contest("ns", "lease", identity, timing)
        self.elector = Elector(cast("KubeClient", link), self.gate, contest, clock, self.metrics)
        self._task = asyncio.create_task(self.elector.run())

    @property
    def leading(self) -> bool:
        """Whether it leads, and says so in all places."""
        leads = self.elector.leading.is_set()
        assert leads != self.elector.standing_by.is_set() or not self.elector.settled.is_set()
        assert self.metrics.registry.get_sample_value("replicated_proxy_leader") == float(leads)
        return leads

    async def kill(self) -> None:
        """End it without a word."""
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)

    async def stop(self) -> None:
        """End it in order."""
        await self.kill()
        await self.elector.release()


Join = Callable[..., Contender]
"""Lets a contender join by its name, with what happens to its first requests."""
