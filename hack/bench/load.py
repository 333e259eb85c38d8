"""The load generator: `python -m bench.load JOB`, figures as JSON on standard output.

A closed loop: on each connection the next request leaves when the answer to the last is complete. Every answer is
looked at, and what was shed counts for nothing; the CPU share of this process shows whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from bench.asking import SHED, AnswerReader, Target
from bench.observing import processor_seconds, resident_megabytes
from rig.errors import RigError


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Attributes:
        target: whom to ask.
        connections: how many at once.
        warm_up, seconds: how long without and with recording.
        pids: the servers, whose processor time and memory is told.
        core: where this process runs; None for anywhere.
    """

    target: Target
    connections: int
    warm_up: float
    seconds: float
    pids: tuple[int, ...] = ()
    core: int | None = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        rate: answers in a second.
        p50, p99: milliseconds.
        cpu: microseconds of the servers' processor time for each answer.
        resident: MB of the servers, the sum.
        generator: share of a core that the generator took.
        outcomes: how many answers of each kind.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    resident: float
    generator: float
    outcomes: dict[str, int]


def run_load(job: Job) -> Figures:
    """Run the generator in a process of its own.

    Raises:
        RigError: it failed; what it said is above.
    """
    command = [sys.executable, "-m", "bench.load", json.dumps(asdict(job))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RigError(f"the load generator ended with status {done.returncode}")
    return Figures(**json.loads(done.stdout))


class _Record:
    """What came while it was recording."""

    def __init__(self) -> None:
        self.recording = False
        self.latencies: list[float] = []
        self.outcomes: Counter[str] = Counter()


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: Iterator[tuple[bytes, bytes]], record: _Record) -> None:
        self._requests = requests
        self._record = record
        self._reader = AnswerReader()
        self._sent = 0.0
        self._expected = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's transports are no subclasses of asyncio's, only shaped like them.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        answer = self._reader.feed(data)
        if answer is None:
            return
        shed = answer.outcome == SHED
        if not shed and (answer.status not in {200, 201} or self._expected not in answer.body):
            raise SystemExit(f"unexpected answer: {answer.head[:500]!r} {answer.body[:500]!r}")
        if self._record.recording:
            self._record.outcomes[answer.outcome] += 1
            if not shed:
                self._record.latencies.append(time.perf_counter() - self._sent)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Refuse to measure a server that closes connections."""
        if self._record.recording:
            raise SystemExit(f"a connection was closed: {error}")

    def _send(self) -> None:
        """Send the next one."""
        request, self._expected = next(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(request)


async def _main(job: Job) -> None:
    """Connect, warm up, record, tell."""
    record, requests, target = _Record(), job.target.requests(), job.target
    context = target.context()
    loop = asyncio.get_running_loop()
    for number in range(job.connections):
        port = target.ports[number % len(target.ports)]
        await loop.create_connection(
            lambda: _Connection(requests, record), "127.0.0.1", port, ssl=context, server_hostname=target.host
        )
    await asyncio.sleep(job.warm_up)
    record.recording = True
    begin, own, theirs = time.perf_counter(), time.process_time(), _processor_seconds(job.pids)
    await asyncio.sleep(job.seconds)
    record.recording = False
    seconds = time.perf_counter() - begin
    own, theirs = time.process_time() - own, _processor_seconds(job.pids) - theirs
    print(json.dumps(asdict(_sum_up(record, seconds, (own, theirs), job.pids))))


def _sum_up(record: _Record, seconds: float, busy: tuple[float, float], pids: tuple[int, ...]) -> Figures:
    """Make figures of what was recorded; processor time is this process's and the servers'."""
    ordered = sorted(record.latencies)
    if not ordered:
        raise SystemExit("not one answer came while it was recording")
    return Figures(
        rate=len(ordered) / seconds,
        p50=ordered[len(ordered) // 2] * 1000,
        p99=ordered[len(ordered) * 99 // 100] * 1000,
        cpu=busy[1] / len(ordered) * 1_000_000,
        resident=sum(map(resident_megabytes, pids)),
        generator=busy[0] / seconds,
        outcomes=dict(record.outcomes),
    )


def _processor_seconds(pids: tuple[int, ...]) -> float:
    """Return the processor time of all servers."""
    return sum(map(processor_seconds, pids))


def read_target(given: dict[str, object]) -> Target:
    """Read whom to ask from what JSON makes of it."""
    return Target(**(given | {"ports": tuple(cast("list[int]", given["ports"]))}))  # type: ignore[arg-type]


def _read_job(text: str) -> Job:
    """Read what to do."""
    given = json.loads(text)
    return Job(**(given | {"target": read_target(given["target"]), "pids": tuple(given["pids"])}))


if __name__ == "__main__":
    asked = _read_job(sys.argv[1])
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    uvloop.run(_main(asked))
