"""A queue of keys: each is worked on once at a time, and once more if it was added meanwhile.

The shape is client-go's workqueue: level-triggered, so a key says only "look at this", and a failure waits longer
each time without holding up other keys.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

_SPREAD: Final = 0.2


class WorkQueue:
    """Keys waiting to be worked on, within one event loop.

    A key that failed is *unsynced* until it is finished, also while it waits for its next try.
    """

    def __init__(
        self,
        first_retry: float,
        longest_retry: float,
        chance: Callable[[], float] = random.random,  # noqa: S311 - spreads load, protects nothing.
    ) -> None:
        """Make an empty queue.

        Args:
            first_retry: wait in seconds after a first failure; doubled each time.
            longest_retry: the longest wait.
            chance: a number from 0 to 1; by it a wait is up to a fifth longer, so that what failed together does not
                come back together.
        """
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._chance = chance
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._due_since: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many keys wait or are worked on."""
        return len(self._waiting) + len(self._working)

    def oldest(self) -> float:
        """Return for how many seconds the oldest key has not been in line; 0 when all are."""
        # Kept in the order of insertion, so the first one is the oldest.
        oldest = next(iter(self._due_since.values()), None)
        return 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest

    def add(self, key: str) -> None:
        """Add a key, unless it waits already."""
        self._due_since.setdefault(key, asyncio.get_running_loop().time())
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_all(self, keys: Iterable[str]) -> None:
        """Add many keys."""
        for key in keys:
            self.add(key)

    async def take(self) -> str:
        """Wait for a key; `finish`, `retry` or `postpone` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def finish(self, key: str) -> None:
        """Say that a key is done."""
        self._failures.pop(key, None)
        self._due_since.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._release(key)

    def retry(self, key: str, at_least: float = 0.0) -> float:
        """Say that a key failed; it comes again by itself. Returns the wait in seconds.

        Args:
            key: the key.
            at_least: seconds that somebody asked to be left alone for.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = min(self._first_retry * 2.0 ** min(failures, 30), self._longest_retry)
        wait = max(wait, at_least) * (1 + _SPREAD * self._chance())
        self.postpone(key, wait)
        return wait

    def postpone(self, key: str, seconds: float) -> None:
        """Say that a key has to wait, without having failed."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)
        self._release(key)

    def _release(self, key: str) -> None:
        """Let a key be taken again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
