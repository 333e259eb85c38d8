"""Processes seen from outside, and where they run: processor time, memory, cores."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rig.errors import RigError

_TICKS = os.sysconf("SC_CLK_TCK")
_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_LEAST_CORES = 2


def read_ticks(stat: str) -> int:
    """Return the processor time in `/proc/PID/stat`, user and system, in clock ticks."""
    fields = stat[stat.rindex(")") + 2 :].split()  # The name before it may hold anything.
    return int(fields[11]) + int(fields[12])


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, all its threads together, to a hundredth of a second.

    Raises:
        RigError: it has ended.
    """
    return read_ticks(_read(pid, "stat")) / _TICKS


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process.

    Raises:
        RigError: it has ended.
    """
    found = _RESIDENT.search(_read(pid, "status"))
    if found is None:
        raise RigError(f"process {pid} has ended")
    return int(found[1]) * 1024 / 1_000_000


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process, with all the threads that it has and will have, on some cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def require_two_cores() -> None:
    """Refuse to measure where server and load generator would take each other's time.

    Raises:
        RigError: there is one core.
    """
    if (os.cpu_count() or 1) < _LEAST_CORES:
        raise RigError("this benchmark needs two cores: one for the server, one for the load generator")


def _read(pid: int, name: str) -> str:
    """Read what the kernel says of a process."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
    except OSError:
        raise RigError(f"process {pid} has ended") from None
