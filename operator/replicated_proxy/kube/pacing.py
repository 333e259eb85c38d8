"""A floor under writes that have to be repeated.

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
