"""Complete listings from time to time, which find what events missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from replicated_proxy.clock import Clock, wait_for
from replicated_proxy.controller.listing import Lister, until_listed
from replicated_proxy.controller.watchdog import Watchdog, kinds_of
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_MOST_NAMES: Final = 20
_GATHER_SECONDS: Final = 1.0  # Kinds are listed one after the other, in pages.


class Sweep:
    """Lists everything at regular times, on a standby too: what it takes over with must be whole."""

    def __init__(self, lister: Lister, watchdog: Watchdog, metrics: Metrics, clock: Clock, seconds: float) -> None:
        self._lister = lister
        self._watchdog = watchdog
        self._metrics = metrics
        self._clock = clock
        self._seconds = seconds
        self._hurried = asyncio.Event()

    async def begin(self) -> None:
        """List everything now; what it finds is no correction, since nothing was watched before."""
        await until_listed(self._lister.list_everything)

    def hurry(self) -> None:
        """List everything soon: a watch began anew, and what was deleted before that is in no event."""
        self._hurried.set()

    async def run(self, swept: Callable[[], None]) -> None:
        """List everything from time to time, and say so, until cancelled."""
        while True:
            await wait_for(self._clock, self._hurried, self._seconds)
            hurried = self._hurried.is_set()
            if hurried:
                await self._clock.sleep(_GATHER_SECONDS)
                self._hurried.clear()
            found = await until_listed(self._lister.list_everything)
            if found and not hurried:
                self._correct(found)
            if found or not hurried:
                swept()

    def _correct(self, found: set[str]) -> None:
        """Count what a watch that stood all the time should have brought, and have it begun anew."""
        _log.warning("the sweep found what events had missed: %s", ", ".join(sorted(found)[:_MOST_NAMES]))
        self._metrics.sweep_corrections.inc(len(found))
        self._watchdog.restart_for(kinds_of(found))
