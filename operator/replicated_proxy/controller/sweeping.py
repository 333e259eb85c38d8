"""Complete listings from time to time, which find what events missed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from replicated_proxy.clock import Clock
from replicated_proxy.controller.listing import Lister, until_listed
from replicated_proxy.controller.watchdog import Watchdog, kinds_of
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_MOST_NAMES: Final = 20


class Sweep:
    """Lists everything at regular times, on a standby too: what it takes over with must be whole."""

    def __init__(self, lister: Lister, watchdog: Watchdog, metrics: Metrics, clock: Clock, seconds: float) -> None:
        self._lister = lister
        self._watchdog = watchdog
        self._metrics = metrics
        self._clock = clock
        self._seconds = seconds

    async def begin(self) -> None:
        """List everything now; what it finds is no correction, since nothing was watched before."""
        await until_listed(self._lister.list_everything)

    async def run(self, swept: Callable[[], None]) -> None:
        """List everything from time to time, and say so, until cancelled."""
        while True:
            await self._clock.sleep(self._seconds)
            found = await until_listed(self._lister.list_everything)
            if found:
                _log.warning("the sweep found what events had missed: %s", ", ".join(sorted(found)[:_MOST_NAMES]))
                self._metrics.sweep_corrections.inc(len(found))
                self._watchdog.restart_for(kinds_of(found))
            swept()
