"""Looking at a process from outside: processor time, rest, memory."""

from __future__ import annotations

import asyncio
import re
import statistics
import time

from bench.observing import processor_seconds
from rig.errors import RigError
from rig.roles import RoleProcess

_INTERVAL_SECONDS = 0.25
_QUIET_INTERVALS = 8
_BUSY_SHARE = 0.1
_MEMORY_SAMPLES = 10
_MEGABYTE = 1_000_000
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


def read_resident(metrics: str) -> float:
    """Return the resident memory in MB that a metrics page tells.

    Raises:
        RigError: it tells none.
    """
    found = _RESIDENT.search(metrics)
    if found is None:
        raise RigError("/metrics has no process_resident_memory_bytes")
    return float(found[1]) / _MEGABYTE


async def await_rest(pid: int, seconds: float) -> float:
    """Wait until a process hardly works any more; returns `time.monotonic()` of when it had done so for the last time.

    Raises:
        RigError: it did not come to rest, or is gone.
    """
    deadline = time.monotonic() + seconds
    last_busy, quiet, before = time.monotonic(), 0, processor_seconds(pid)
    while quiet < _QUIET_INTERVALS:
        if time.monotonic() > deadline:
            raise RigError(f"process {pid} did not come to rest within {seconds:.0f} s")
        await asyncio.sleep(_INTERVAL_SECONDS)
        now = processor_seconds(pid)
        busy = now - before > _BUSY_SHARE * _INTERVAL_SECONDS
        quiet, before = (0 if busy else quiet + 1), now
        last_busy = time.monotonic() if busy else last_busy
    return last_busy


async def resident_megabytes(role: RoleProcess) -> float:
    """Return the median of several samples of a role's resident memory."""
    samples = []
    for _ in range(_MEMORY_SAMPLES):
        samples.append(read_resident(await asyncio.to_thread(role.answer, "/metrics")))
        await asyncio.sleep(1.0)
    return statistics.median(samples)
