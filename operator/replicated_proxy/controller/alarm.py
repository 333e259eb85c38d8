"""Being woken at a moment of the date, such as a License's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from replicated_proxy.clock import Clock, wait_for

_LOOK_SECONDS: Final = 30.0  # Dates jump (NTP, a suspended machine) and timers do not: so look now and then.


class Alarm:
    """Rings once at the moment it is set to; setting it again replaces that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: datetime | None = None
        self._changed = asyncio.Event()

    def set(self, moment: datetime | None) -> None:
        """Ring at a moment; None for never."""
        if moment != self._at:
            self._at = moment
            self._changed.set()

    async def run(self, ring: Callable[[], None]) -> None:
        """Ring when it is time, until cancelled."""
        while True:
            self._changed.clear()
            if self._at is not None and self._at <= self._clock.now():
                self._at = None
                ring()
            await self._wait()

    async def _wait(self) -> None:
        """Wait until it is set anew, or until the moment, or until the next look at the date."""
        if self._at is None:
            await self._changed.wait()
            return
        left = (self._at - self._clock.now()).total_seconds()
        await wait_for(self._clock, self._changed, max(0.0, min(left, _LOOK_SECONDS)))
