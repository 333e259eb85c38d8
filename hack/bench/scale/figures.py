"""What was measured, and how it is summed up."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Requests = Mapping[str, int]
"""How often each `verb resource` was asked for, as the audit log names them."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_LEASES = "leases"


@dataclass(frozen=True, slots=True)
class Filling:
    """Seconds from the start until each namespace had its copy, sorted; a run in each round."""

    ours: tuple[tuple[float, ...], ...]
    bare: tuple[tuple[float, ...], ...]
    requests: Requests
    """What our last round asked the API server for."""

    @property
    def seconds(self) -> tuple[float, float]:
        """Medians of ours and of the bare writes."""
        ours, bare = (statistics.median(run[-1] for run in runs) for runs in (self.ours, self.bare))
        return ours, bare

    @property
    def ratio(self) -> float:
        """Ours to bare."""
        ours, bare = self.seconds
        return ours / bare


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from the request for a namespace to the sight of its copy, sorted."""

    ours: tuple[float, ...]
    bare: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """The controller's resident memory in MB, the median of several samples."""

    situation: str
    megabytes: float


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds from the start of the process: until it was ready, and until it came to rest."""

    ready: float
    rest: float
    requests: Requests


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the controller asked for while nothing happened."""

    seconds: float
    requests: Requests


@dataclass(frozen=True, slots=True)
class Scale:
    """All of it."""

    memory: tuple[Memory, ...]
    foreign: tuple[Memory, Memory, Memory]
    """Before the Secrets of others, with them, and after a restart with them."""
    restarts: tuple[Restart, ...]
    quiet: Quiet
    filling: Filling
    idle: Latencies
    storm: Latencies


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values: the least that `share` of them do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def writes(requests: Requests) -> int:
    """Count the writes, but for those of the Lease, which says only that somebody is there."""
    return sum(number for verb, number in _counted(requests) if verb in WRITES)


def reads(requests: Requests) -> int:
    """Count what is no write; a watch counts once."""
    return sum(number for verb, number in _counted(requests) if verb not in WRITES)


def _counted(requests: Requests) -> Iterator[tuple[str, int]]:
    """Yield verb and number of all but the Lease's."""
    for words, number in requests.items():
        verb, _, resource = words.partition(" ")
        if resource != _LEASES:
            yield verb, number
