"""Questions to registries on their way: one at a time for each repository, bounded in number, fair to namespaces.

Whoever creates Pods chooses what is asked, so neither one namespace nor one host may take all the room.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.core.askers import is_unnamed
from replicated_proxy.core.images import ImageReference

_log = logging.getLogger(__name__)
_MOST_REFERENCES: Final = 8  # Tags of one repository that are asked for one after the other while each is missing.


@dataclass(frozen=True, slots=True)
class Limits:
    """How much goes on at a time.

    Attributes:
        running: questions that registries are answering.
        of_namespace: those of them that one namespace asked.
        of_host: those of them that go to one host.
        waiting: questions that wait for their turn.
        waiting_of_namespace: those of them that one namespace asked.
        of_unnamed: of those that go on, what all namespaces asked together that the table does not name.
        waiting_of_unnamed: likewise of those that wait.
    """

    running: int = 32
    of_namespace: int = 8
    of_host: int = 8
    waiting: int = 256
    waiting_of_namespace: int = 64
    of_unnamed: int = 16
    waiting_of_unnamed: int = 128


@dataclass(slots=True, eq=False)
class Question:
    """Whether a repository's images can be pulled without a password.

    Attributes:
        repository: host and path.
        host: the registry.
        namespace: whose question it is, as `core/askers.py` calls it.
        urgent: a review waits for the answer.
        begun: monotonic seconds; reviews wait no longer than some time from then.
        references: the tags and digests to ask for, by their full text.
        started: when its turn came; None before.
        done: set when all is over.
    """

    repository: str
    host: str
    namespace: str
    urgent: bool
    begun: float
    references: dict[str, ImageReference] = field(default_factory=dict)
    started: float | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, reference: ImageReference) -> None:
        """Ask for this tag as well, should the earlier ones be missing."""
        if len(self.references) < _MOST_REFERENCES:
            self.references.setdefault(reference.docker_ref, reference)


class Questions:
    """All of them; each is handed to `ask` when its turn comes."""

    def __init__(
        self, ask: Callable[[Question], Awaitable[None]], now: Callable[[], float], limits: Limits | None = None
    ) -> None:
        self._ask = ask
        self._now = now
        self._limits = limits or Limits()
        self._waiting: dict[str, Question] = {}
        self._running: dict[str, Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, repository: str) -> Question | None:
        """Return the question about a repository that is on its way."""
        return self._running.get(repository) or self._waiting.get(repository)

    def running_at(self, host: str) -> Iterator[Question]:
        """Yield what a registry is being asked now."""
        return (question for question in self._running.values() if question.host == host)

    def submit(self, question: Question) -> bool:
        """Take a new question, or refuse it where there is no room."""
        if not self.has_room(question.namespace):
            return False
        self._waiting[question.repository] = question
        self._start()
        return True

    def join(self, question: Question, reference: ImageReference, namespace: str, *, urgent: bool) -> None:
        """Have an interest in somebody's question; while it waits it becomes that of whoever asks less."""
        question.add(reference)
        question.urgent = question.urgent or urgent
        if question.started is None and self._claim(namespace) < self._claim(question.namespace):
            question.namespace = namespace
            self._start()

    async def close(self) -> None:
        """Give up what is on its way."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _claim(self, namespace: str) -> tuple[bool, int]:
        """Sort key of who is to be asked for first: named, and with few questions."""
        load = sum(each.namespace == namespace for each in (*self._waiting.values(), *self._running.values()))
        return is_unnamed(namespace), load

    def has_room(self, namespace: str) -> bool:
        """Tell whether one more question of a namespace may wait for its turn."""
        waiting = Counter(each.namespace for each in self._waiting.values())
        if waiting.total() >= self._limits.waiting or waiting[namespace] >= self._limits.waiting_of_namespace:
            return False
        return not is_unnamed(namespace) or _of_unnamed(waiting) < self._limits.waiting_of_unnamed

    def _start(self) -> None:
        """Let as many go on as there is room for: first what reviews wait for, of namespaces that ask least."""
        while len(self._running) < self._limits.running:
            namespaces = Counter(each.namespace for each in self._running.values())
            hosts = Counter(each.host for each in self._running.values())
            crowded = _of_unnamed(namespaces) >= self._limits.of_unnamed
            able = [
                each
                for each in self._waiting.values()
                if namespaces[each.namespace] < self._limits.of_namespace
                and hosts[each.host] < self._limits.of_host
                and not (crowded and is_unnamed(each.namespace))
            ]
            if not able:
                return
            question = min(able, key=lambda each: (not each.urgent, namespaces[each.namespace]))
            self._running[question.repository] = self._waiting.pop(question.repository)
            question.started = self._now()
            task = asyncio.get_running_loop().create_task(self._run(question))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, question: Question) -> None:
        """Ask, and let the next one go on."""
        try:
            await self._ask(question)
        except Exception:  # noqa: BLE001 - a mistake of ours costs this answer and no others.
            _log.exception("a question to a registry failed unexpectedly")
        finally:
            del self._running[question.repository]
            question.done.set()
            self._start_next()

    def _start_next(self) -> None:
        """Go on, unless everything is being given up."""
        if self._waiting:
            self._start()


def _of_unnamed(counts: Counter[str]) -> int:
    """Add up what all have together that the table does not name."""
    return sum(number for namespace, number in counts.items() if is_unnamed(namespace))
