"""A queue of keys: each is worked on once at a time, and once more if it was added meanwhile.

The shape is client-go's workqueue: level-triggered, so a key says only "look at this", and a failure waits longer
each time without holding up other keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class WorkQueue:
    """Keys waiting to be worked on, within one event loop."""

    def __init__(self, first_retry: float, longest_retry: float) -> None:
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Return how many keys wait or are worked on."""
        return len(self._waiting) + len(self._working)

    def add(self, key: str) -> None:
        """Add a key, unless it waits already."""
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
        """Wait for a key; `finish` or `retry` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def finish(self, key: str) -> None:
        """Say that a key is done."""
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._release(key)

    def retry(self, key: str) -> float:
        """Say that a key failed; it comes again by itself. Returns the wait in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = min(self._first_retry * 2.0 ** min(failures, 30), self._longest_retry)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(wait, self.add, key)
        self._release(key)
        return wait

    def _release(self, key: str) -> None:
        """Let a key be taken again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
