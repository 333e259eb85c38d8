"""How registries stand: which ones gave no answer lately, and which ones want to be left alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60.0
_MOST_HOSTS: Final = 1000  # Whoever creates Pods chooses the names.


class _Until:
    """Hosts of which something holds for some time; of too many the one noted longest ago is forgotten."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ends: OrderedDict[str, float] = OrderedDict()

    def note(self, host: str, seconds: float) -> None:
        """Let it hold from now on for some time."""
        self._ends[host] = self._now() + seconds
        self._ends.move_to_end(host)
        if len(self._ends) > _MOST_HOSTS:
            self._ends.popitem(last=False)

    def clear(self, host: str) -> None:
        """Let it hold no more."""
        self._ends.pop(host, None)

    def holds(self, host: str) -> bool:
        """Tell whether it holds now."""
        return self._now() < self._ends.get(host, float("-inf"))


class Ration:
    """So many times in a minute and no more, where somebody else decides how often there would be reason to."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._used = 0
        self._ends = 0.0

    def take(self) -> bool:
        """Use one time, if there is one left."""
        if self._now() >= self._ends:
            self._used, self._ends = 0, self._now() + _MINUTE
        self._used += 1
        return self._used <= self._most


class Standing:
    """What is known of registries, apart from their repositories.

    Attributes:
        resting: said that it is asked too much: it is not asked.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._silent = _Until(now)
        self._answered: OrderedDict[str, float] = OrderedDict()
        self.resting = _Until(now)

    def note_answer(self, host: str) -> None:
        """Note that a registry answered in time."""
        self._silent.clear(host)
        self._answered[host] = self._now()
        self._answered.move_to_end(host)
        if len(self._answered) > _MOST_HOSTS:
            self._answered.popitem(last=False)

    def note_silence(self, host: str, since: float, seconds: float) -> bool:
        """Note that a question of then got no answer in time; returns whether that says anything of the registry.

        It does not where others were answered meanwhile: whoever can make it silent about one repository must not keep
        reviews from waiting for the others.
        """
        if self.has_answered(host, since):
            return False
        self._silent.note(host, seconds)
        return True

    def has_answered(self, host: str, since: float) -> bool:
        """Tell whether a registry answered anything in time, then or later."""
        return self._answered.get(host, float("-inf")) >= since

    def is_silent(self, host: str) -> bool:
        """Tell whether a registry gave no answer lately, so that no other review waits for it."""
        return self._silent.holds(host)
