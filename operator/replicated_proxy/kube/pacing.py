"""Limits on writing: a floor under what has to be repeated, and a rate for what should not happen all at once.

Whoever brings something in line for good writes once. Where the same is due again and again, somebody else undoes it
(another release, a GitOps tool), or it never had an effect; without a floor both would write as fast as they can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 60.0
_CALM_SECONDS: Final = 300.0
_FIGHT: Final = 5
_INSTANT: Final = 1e-6  # Sums of fractions are off by less.


class Pace:
    """Says how long to wait before a write of a kind: not at all, then from one second to a minute, doubled each time.

    After some minutes without that kind it starts anew.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: dict[str, tuple[int, float]] = {}

    def pause(self, kind: str) -> float:
        """Return the seconds to wait before the next write of this kind."""
        count = self._count(kind)
        return min(_FIRST_SECONDS * 2 ** (min(count, 10) - 1), _LONGEST_SECONDS) if count else 0.0

    def remaining(self, kind: str) -> float:
        """Return what is left of that pause, since the last write was a while ago."""
        _, last = self._taken.get(kind, (0, 0.0))
        return max(0.0, last + self.pause(kind) - self._clock())

    def calm_in(self, kind: str) -> float:
        """Return the seconds until this kind is forgotten, should nothing more happen."""
        _, last = self._taken.get(kind, (0, 0.0))
        return max(0.0, last + _CALM_SECONDS - self._clock())

    def forget(self, kind: str) -> None:
        """Start anew with this kind."""
        self._taken.pop(kind, None)

    def note(self, kind: str) -> None:
        """Say that a write of this kind was made."""
        self._taken[kind] = (self._count(kind) + 1, self._clock())

    def fights(self, kind: str) -> bool:
        """Tell whether this kind was due so often that nothing but somebody else's writes explains it."""
        return self._count(kind) >= _FIGHT

    def _count(self, kind: str) -> int:
        """Return how often this kind was written without some calm in between."""
        count, last = self._taken.get(kind, (0, 0.0))
        return count if self._clock() - last < _CALM_SECONDS else 0


class Rate:
    """Hands out turns: a second's worth at once, then so many in a second.

    Each key has its turn reserved when it first asks, so whoever waits needs no task for it and is never overtaken.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._interval = 1.0 / per_second
        self._burst = max(1.0, self._interval)
        self._clock = clock
        self._next = clock() - self._burst
        self._turns: dict[str, float] = {}

    def wait(self, key: str) -> float:
        """Return the seconds until this key's turn; 0 says that it is now, and uses it up."""
        now = self._clock()
        if key not in self._turns:
            self._next = max(self._next, now - self._burst) + self._interval
            self._turns[key] = self._next
        left = self._turns[key] - now
        if left > _INSTANT:
            return left
        del self._turns[key]
        return 0.0

    def drop(self, key: str) -> None:
        """Say that a key needs no turn any more."""
        self._turns.pop(key, None)
