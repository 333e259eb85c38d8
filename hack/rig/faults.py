"""What can go wrong between a client and its API server, as values; `rig.fault_proxy` makes it happen."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PATH = re.compile(r"^/apis?/(?:[^/]+/)??v[0-9a-z]+/(?:namespaces/[^/]+/(?=[^/]+))?(?P<plural>[^/]+)")


@dataclass(frozen=True, slots=True)
class Requests:
    """Which requests a fault is for; empty means any."""

    path: str = ""
    """Regular expression that is searched for in path and query."""
    methods: frozenset[str] = frozenset()
    watch: bool | None = None

    def match(self, request: web.BaseRequest) -> bool:
        """Tell whether a request is one of these."""
        return (
            (not self.methods or request.method in self.methods)
            and (self.watch is None or self.watch == is_watch(request))
            and re.search(self.path, request.path_qs) is not None
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with a Status instead of asking the API server."""

    status: int
    reason: str = "Injected"
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, then go on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer, of a watch also in the middle."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Let it be done, and close the connection instead of answering."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End a watch in the middle of a line: by a broken connection, or as if that were the end (`clean`)."""

    clean: bool = False


@dataclass(frozen=True, slots=True)
class Freeze:
    """Let nothing through on a watch any more, and keep its connection."""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Send an ERROR event on a watch and end it."""

    code: int
    reason: str = "Injected"


Fault = Answer | Delay | Hang | Drop | Lose | Cut | Freeze | ErrorEvent
_AT_START: tuple[type[Fault], ...] = (Answer, Delay, Hang, Drop, Lose)
_IN_STREAM: tuple[type[Fault], ...] = (Cut, Freeze, ErrorEvent, Drop)


@dataclass(slots=True)
class Rule:
    """A fault in force.

    Attributes:
        requests: what it is for.
        fault: what happens.
        left: how many more times; None for ever.
        hits: how often it has happened.
    """

    requests: Requests
    fault: Fault
    left: int | None = 1
    hits: int = 0

    def claim(self) -> None:
        """Use it once."""
        self.hits += 1
        if self.left is not None:
            self.left -= 1

    def remove(self) -> None:
        """End it; what it has broken stays broken."""
        self.left = 0


class Rules:
    """The faults in force, the oldest first."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Put one in force."""
        self._rules = [*self._rules, rule]

    def clear(self) -> None:
        """End all."""
        for rule in self._rules:
            rule.remove()
        self._rules = []

    def at_start(self, request: web.BaseRequest) -> Iterator[Rule]:
        """Yield what happens to a request before it is passed on; each once, and in force when it is its turn."""
        return self._find(request, _AT_START)

    def in_stream(self, request: web.BaseRequest) -> Rule | None:
        """Find what happens to a watch that runs."""
        return next(self._find(request, _IN_STREAM), None)

    def _find(self, request: web.BaseRequest, kinds: tuple[type[Fault], ...]) -> Iterator[Rule]:
        for rule in self._rules:
            if rule.left != 0 and isinstance(rule.fault, kinds) and rule.requests.match(request):
                yield rule


@dataclass(slots=True)
class Assassin:
    """Kills a process once a number of its writes was applied, before it learns of the last."""

    pid: int
    after: int
    applied: list[str] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def done(self) -> bool:
        """Whether it has struck; nothing of the process is let through any more."""
        return len(self.applied) >= self.after

    def strike(self, write: str) -> bool:
        """Take note of a write that was applied; tells whether it was the last."""
        self.applied.append(write)
        if self.done:
            os.kill(self.pid, signal.SIGKILL)
        return self.done


def is_watch(request: web.BaseRequest) -> bool:
    """Tell whether a request is a watch."""
    return request.query.get("watch") == "true"


def plural_of(path: str) -> str:
    """Return the kind that a path names (`secrets`), or the path."""
    found = _PATH.match(path)
    return found["plural"] if found else path
