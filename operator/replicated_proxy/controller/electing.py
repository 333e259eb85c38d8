"""Contending for the Lease, and holding the gate of all other writes open while it is ours.

What to do is decided in `core.leases`; here it is done. The Lease is watched, so that a release or an intruder is
seen at once and a standby asks nothing; renewals and takeovers are updates of one version, and what the API server
answers to a reading is the last word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from replicated_proxy.clock import Clock, wait_for, within
from replicated_proxy.core.leases import (
    Candidate,
    LeaseRecord,
    LeaseTiming,
    Move,
    Observation,
    Plan,
    acquired_record,
    is_held_by,
    observe,
    plan_move,
    released_record,
    render_lease,
    renewed_record,
)
from replicated_proxy.core.objects import Body, mapping_at, text_at
from replicated_proxy.core.pull_secrets import MANAGED_BY_LABEL, MANAGER
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound, Unreachable
from replicated_proxy.kube.gating import WriteGate
from replicated_proxy.kube.resources import LEASES
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_TRIES: Final = 3.0  # A request that gets no answer leaves room for two more before the deadline.


@dataclass(frozen=True, slots=True)
class Contest:
    """What is contended for.

    Attributes:
        namespace, name: where the Lease is.
        identity: who we are in it.
        timing: how long things take.
    """

    namespace: str
    name: str
    identity: str
    timing: LeaseTiming


def contest_of(settings: Settings, identity: str) -> Contest:
    """Return the contest that the settings describe."""
    controller = settings.controller
    timing = LeaseTiming(controller.lease_seconds, controller.renew_seconds, controller.retry_seconds)
    return Contest(settings.namespace, controller.lease_name, identity, timing)


class Elector:
    """One contender.

    Attributes:
        leading: set while the Lease is ours.
        standing_by: set while it is somebody else's; neither is set before the Lease has been read.
        settled: set once one of the two is.
    """

    def __init__(self, client: KubeClient, gate: WriteGate, contest: Contest, clock: Clock, metrics: Metrics) -> None:
        self._client = client
        self._gate = gate
        self._contest = contest
        self._clock = clock
        self._metrics = metrics
        self._candidate = Candidate(contest.identity)
        self._seen = Observation(LeaseRecord(), "", clock.monotonic())
        self._body: Body = {}
        self._doubtful = True
        self._alive = False
        self._not_before = clock.monotonic()
        self._noticed = asyncio.Event()
        self._problem = ""
        self.leading = asyncio.Event()
        self.standing_by = asyncio.Event()
        self.settled = asyncio.Event()

    def problems(self) -> list[str]:
        """Say why it is not known who leads, or why a Lease that is free cannot be taken.

        A Lease that names a holder may be left over from one that is gone, so a replica that stands by is ready once it
        saw that somebody lives. From then on it stays so, whoever leads and for however long nobody does.
        """
        if self.leading.is_set():
            return []  # Whether renewals succeed again is decided by the deadline, not by a probe.
        unknown = (
            ""
            if self._alive
            else f"{self._seen.record.holder or 'nobody'} has not renewed it since it was read here first"
        )
        found = self._problem or (unknown if self.standing_by.is_set() else "has not been read")
        return [f"Lease {self._contest.namespace}/{self._contest.name}: {found}"] if found else []

    async def run(self) -> None:
        """Contend until cancelled; `release` follows when nothing is written any more."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._contend())

    async def _follow(self) -> None:
        """Watch the Lease."""
        async for body in follow_object(self._client, LEASES, self._contest.name, self._contest.namespace):
            if body is None:
                self._doubtful = True  # A late event of the one before, or no Lease any more? Only reading tells.
            elif _number(text_at(body, "metadata", "resourceVersion")) > _number(self._seen.version):
                self._take(body)
            self._noticed.set()

    def _take(self, body: Object | None) -> None:
        """Take in the Lease as it is; that it says something else than it did is a sign of life."""
        before, self._seen = self._seen, observe(self._seen, body, self._clock.monotonic())
        self._alive |= before.version != "" and before.record != self._seen.record
        self._body = body or {}

    async def _contend(self) -> None:
        """Do what is to be done next, for ever."""
        while True:
            self._noticed.clear()
            plan = plan_move(self._candidate, self._seen, self._clock.monotonic(), self._contest.timing)
            if plan.move is Move.STEP_DOWN:
                self._step_down(plan.reason)
            elif plan.move is Move.WAIT and not self._doubtful:
                self._problem = ""  # Who leads is known. One request that succeeded does not say as much.
                await self._wait(plan)
            elif (pause := self._not_before - self._clock.monotonic()) > 0:
                await self._wait(Plan(Move.WAIT, pause))
            else:
                await self._try(plan.move)

    async def _wait(self, plan: Plan) -> None:
        """Wait until something changes, but neither past the time of the plan nor past the end of our Lease."""
        if not (self._doubtful or self.leading.is_set() or self.standing_by.is_set()):
            _log.info("standing by", extra=self._words())
            self.standing_by.set()
            self.settled.set()
        longest = self._gate.remaining if self.leading.is_set() else plan.seconds
        await wait_for(self._clock, self._noticed, min(plan.seconds, longest))

    async def _try(self, move: Move) -> None:
        """Send the next request; after one that failed the next one waits a little."""
        try:
            await self._in_time(self._read() if self._doubtful else self._write(move))
        except ApiError as error:
            self._not_before = self._clock.monotonic() + self._contest.timing.retry
            self._complain(error)

    async def _in_time(self, request: Coroutine[Any, Any, None]) -> None:
        """Send a request that ends well before the deadline, whatever becomes of its connection."""
        seconds = self._contest.timing.renew / _TRIES
        if self.leading.is_set():
            seconds = min(seconds, self._gate.remaining)
        try:
            await within(self._clock, seconds, request)
        except TimeoutError:
            raise Unreachable(f"no answer within {seconds:.1f} s") from None

    async def _read(self) -> None:
        """Read the Lease; what the API server says here replaces whatever was known."""
        try:
            self._take(await self._client.get(LEASES, self._contest.name, self._contest.namespace))
        except NotFound:
            self._take(None)
        self._doubtful = False

    async def _write(self, move: Move) -> None:
        """Write the Lease; when it is other than it was thought to be, that is read at once."""
        try:
            await (self._renew() if move is Move.RENEW else self._acquire())
        except (Conflict, NotFound):
            await self._read()
            raise

    async def _acquire(self) -> None:
        """Become the holder."""
        begun, timing = self._clock.monotonic(), self._contest.timing
        record = acquired_record(self._candidate, self._seen, timing, self._clock.now())
        if self._candidate.term:
            self._candidate = replace(self._candidate, term=record.acquired)  # The answer may get lost.
        await self._put(record)
        self._candidate = replace(self._candidate, term=record.acquired, renewed_at=begun)
        self._alive = True
        self._gate.open_until(begun + timing.renew)
        self._metrics.leader.set(1)
        self.standing_by.clear()
        self.leading.set()
        self.settled.set()
        _log.info("leading", extra=self._words())

    async def _renew(self) -> None:
        """Remain the holder."""
        begun, timing = self._clock.monotonic(), self._contest.timing
        await self._put(renewed_record(self._candidate, self._seen, timing, self._clock.now()))
        self._candidate = replace(self._candidate, renewed_at=begun)
        self._gate.open_until(begun + timing.renew)

    async def _put(self, record: LeaseRecord) -> None:
        """Replace the version that was seen, or make the Lease; what others added to it stays."""
        self._doubtful = True  # Until there is an answer.
        spec = {**mapping_at(self._body, "spec"), **render_lease(record)}
        if self._seen.version:
            body = {**self._body, "spec": spec}
            self._take(await self._client.replace(LEASES, body))
        else:
            metadata = {"name": self._contest.name, "labels": {MANAGED_BY_LABEL: MANAGER}}
            body = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            self._take(await self._client.create(LEASES, body, self._contest.namespace))
        self._doubtful = False

    def _step_down(self, reason: str) -> None:
        """Stop all writing at once."""
        self._gate.shut()
        self._candidate = replace(self._candidate, renewed_at=None)
        self._metrics.leader.set(0)
        self.leading.clear()
        self.standing_by.set()
        _log.warning("not leading any more: %s", reason, extra=self._words())

    async def release(self) -> None:
        """Give up a Lease that is ours, so that another replica need not wait; call it when all writing has ended."""
        self._gate.shut()
        self.leading.clear()
        self._metrics.leader.set(0)
        if self._candidate.renewed_at is None and not self._candidate.term:
            return
        try:
            await self._in_time(self._empty())
        except ApiError as error:
            _log.warning("the Lease was not released and has to run out: %s", error, extra=self._words())

    async def _empty(self) -> None:
        """Empty the Lease as long as it is ours."""
        if self._doubtful:
            await self._read()
        if not (self._seen.version and is_held_by(self._candidate, self._seen)):
            return
        try:
            await self._put(released_record(self._seen, self._clock.now()))
        except Conflict:
            await self._read()
            if not is_held_by(self._candidate, self._seen):
                return
            await self._put(released_record(self._seen, self._clock.now()))
        _log.info("Lease released", extra=self._words())

    def _complain(self, error: ApiError) -> None:
        """Keep what is wrong for the probe, and log it once."""
        if isinstance(error, Conflict):
            _log.info("another replica was faster with the Lease: %s", error)
            return
        if str(error) != self._problem:
            _log.warning("lease: %s", error)
        self._problem = str(error)

    def _words(self) -> dict[str, str]:
        """Say who we are and who holds the Lease, for the log."""
        return {"identity": self._contest.identity, "holder": self._seen.record.holder}


def _number(version: str) -> int:
    """Read a resourceVersion, ordered within one kind (KEP-5504)."""
    return int(version) if version.isdecimal() else 0
