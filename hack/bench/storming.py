"""The storm: `python -m bench.storming JOB`, what became of its requests as JSON on standard output.

An open loop: requests arrive at a fixed rate whatever comes of those before, each on a connection that is free or on a
new one, as the API server's own client does it. A latency counts from when the request was due, so that a request which
had to wait for its turn here has waited for its server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from bench.asking import AnswerReader
from bench.load import read_target
from bench.storm import Outcome, StormFigures, StormJob

_TICK_SECONDS = 0.002
_SWEEP_SECONDS = 0.05
_WARM = 64
"""Connections that are open beforehand, as those of an API server that asks all the time."""
_TIMED_OUT = "timed out"
_BROKEN = "connection broken"


@dataclass(slots=True, eq=False)
class _Request:
    """One that is due or on its way."""

    due: float
    done: bool = False


class _Storm:
    """Everything that is on its way."""

    def __init__(self, job: StormJob) -> None:
        self.job = job
        self.requests: Iterator[tuple[bytes, bytes]] = job.target.requests(job.timeout)
        self.context = job.target.context()
        self.idle: list[_Connection] = []
        self.waiting: deque[_Request] = deque()
        self.pending: deque[tuple[_Request, _Connection | None]] = deque()
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.late: list[float] = []
        self.open = self.opened = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def arrive(self, due: float) -> None:
        """Take a request that is due now."""
        self.late.append(time.perf_counter() - due)
        request = _Request(due)
        while self.idle:
            connection = self.idle.pop()
            if connection.usable:
                connection.send(request)
                return
        self.waiting.append(request)
        self.pending.append((request, None))
        self.connect()

    def connect(self) -> None:
        """Open one more connection, if there may be more."""
        if self.open < self.job.connections:
            self.open += 1
            task = asyncio.ensure_future(self._open())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _open(self) -> None:
        """Open a connection; what waited longest goes first."""
        self.opened += 1
        target, loop = self.job.target, asyncio.get_running_loop()
        port = target.ports[self.opened % len(target.ports)]
        try:
            async with asyncio.timeout(self.job.timeout):
                await loop.create_connection(
                    lambda: _Connection(self), "127.0.0.1", port, ssl=self.context, server_hostname=target.host
                )
        except TimeoutError:
            self.lost()  # Whoever waited for it is given up by the sweep.
        except OSError:
            if self.waiting:
                self.conclude(self.waiting.popleft(), _BROKEN)
            self.lost()

    def free(self, connection: _Connection) -> None:
        """Use a connection that has nothing to do."""
        while self.waiting:
            request = self.waiting.popleft()
            if not request.done:
                connection.send(request)
                return
        self.idle.append(connection)

    def lost(self) -> None:
        """Replace a connection that is gone if somebody waits for one."""
        self.open -= 1
        while self.waiting and self.waiting[0].done:
            self.waiting.popleft()
        if self.waiting:
            self.connect()

    def conclude(self, request: _Request, word: str) -> None:
        """Note what became of a request, once."""
        if not request.done:
            request.done = True
            self.latencies[word].append(time.perf_counter() - request.due)

    def sweep(self) -> None:
        """Give up what took too long, as the API server does: it closes the connection."""
        limit = time.perf_counter() - self.job.timeout
        while self.pending and (self.pending[0][0].done or self.pending[0][0].due < limit):
            request, connection = self.pending.popleft()
            if not request.done:
                self.conclude(request, _TIMED_OUT)
                if connection is not None and connection.request is request:
                    connection.abort()


class _Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        request: what is on its way over it.
        usable: it is open, and nobody said that it would close.
    """

    def __init__(self, storm: _Storm) -> None:
        self._storm = storm
        self._reader = AnswerReader()
        self.request: _Request | None = None
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find something to do."""
        # uvloop's transports are no subclasses of asyncio's, only shaped like them.
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True
        self._storm.free(self)

    def send(self, request: _Request) -> None:
        """Send a request."""
        self.request = request
        self._storm.pending.append((request, self))
        self._transport.write(next(self._storm.requests)[0])

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        answer = self._reader.feed(data)
        if answer is None or self.request is None:
            return
        request, self.request = self.request, None
        self._storm.conclude(request, answer.outcome)
        if answer.closing:
            self.usable = False
            self._transport.close()
        else:
            self._storm.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note that what was on its way is lost."""
        self.usable = False
        if self.request is not None:
            self._storm.conclude(self.request, _BROKEN)
        self._storm.lost()

    def abort(self) -> None:
        """Give up."""
        self.usable = False
        self.request = None
        self._transport.abort()


async def _main(job: StormJob) -> StormFigures:
    """Let requests arrive, and wait until something has become of each."""
    storm = _Storm(job)
    for _ in range(min(_WARM, job.connections)):
        storm.connect()
    await asyncio.wait(storm.tasks)
    total = max(int(job.rate * job.seconds), 1)
    seconds, busy = await _let_arrive(storm, total)
    while sum(map(len, storm.latencies.values())) < total:
        await asyncio.sleep(_SWEEP_SECONDS)
        storm.sweep()
    late = sorted(storm.late)[total * 99 // 100] * 1000
    outcomes = {word: _sum_up(values) for word, values in sorted(storm.latencies.items())}
    return StormFigures(total, seconds, storm.opened, busy / seconds, late, outcomes)


async def _let_arrive(storm: _Storm, total: int) -> tuple[float, float]:
    """Let requests arrive on time; returns the seconds that it took, and those of this process."""
    rate, due = storm.job.rate, 0
    begin, busy = time.perf_counter(), time.process_time()
    swept = begin
    while due < total:
        now = time.perf_counter()
        for number in range(due, min(total, int((now - begin) * rate) + 1)):
            storm.arrive(begin + number / rate)
            due = number + 1
        if now - swept > _SWEEP_SECONDS:
            storm.sweep()
            swept = now
        await asyncio.sleep(_TICK_SECONDS)
    return time.perf_counter() - begin, time.process_time() - busy


def _sum_up(latencies: list[float]) -> Outcome:
    """Make figures of latencies."""
    ordered = sorted(latencies)
    p50, p99 = (ordered[len(ordered) * part // 100] * 1000 for part in (50, 99))
    return Outcome(len(ordered), sum(value <= 0.1 for value in ordered), p50, p99)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asked = StormJob(**(given | {"target": read_target(given["target"])}))
    os.sched_setaffinity(0, {asked.core})
    print(json.dumps(asdict(uvloop.run(_main(asked)))))
