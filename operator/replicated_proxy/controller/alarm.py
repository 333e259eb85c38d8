"""Being woken at a moment of the date, such as a License's end, and whenever the date jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from replicated_proxy.clock import Clock, wait_for

_LOOK_SECONDS: Final = 30.0  # Dates jump (NTP, an administrator) and timers do not: so look now and then.
_LARGEST_DRIFT: Final = timedelta(seconds=10)


class Alarm:
    """Rings once at the moment it is set to, setting it again replaces that; and when somebody sets the date.

    What was concluded from a wrong date, the moment itself included, is worth nothing once it is set right.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: datetime | None = None
        self._changed = asyncio.Event()
        self._zero = self._read_zero()

    def set(self, moment: datetime | None) -> None:
        """Ring at a moment; None for never."""
        if moment != self._at:
            self._at = moment
            self._changed.set()

    async def run(self, ring: Callable[[], None]) -> None:
        """Ring when it is time, until cancelled."""
        while True:
            self._changed.clear()
            if self._is_due():
                ring()
            await wait_for(self._clock, self._changed, self._seconds_to_wait())

    def _is_due(self) -> bool:
        """Tell whether the moment has come, or the date has jumped."""
        zero = self._read_zero()
        jumped = abs(zero - self._zero) > _LARGEST_DRIFT
        reached = self._at is not None and self._at <= self._clock.now()
        if jumped:
            self._zero = zero
        if reached:
            self._at = None
        return jumped or reached

    def _seconds_to_wait(self) -> float:
        """Return how long to wait: until the moment, but no longer than until the next look at the date."""
        if self._at is None:
            return _LOOK_SECONDS
        return max(0.0, min((self._at - self._clock.now()).total_seconds(), _LOOK_SECONDS))

    def _read_zero(self) -> datetime:
        """Return the date at which the monotonic clock was zero: the same one as long as nobody sets the date."""
        return self._clock.now() - timedelta(seconds=self._clock.monotonic())
