"""Liveness means progress: a watch that is silent while the API server answers is asked for anew.

The order of remedies is that of their cost: kopf itself asks again after a minute without a bookmark; then its pump is
started anew, which lists; when that was in vain several times the process says that it is not alive. While the API
server is away none of this happens, since nothing of it would help.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from replicated_proxy.controller.pumping import QUIET_SECONDS, Pump, WatchedKind
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_NOBODY: Final = "metadata.name=replicated-proxy-watchdog"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is too long.

    Attributes:
        silence_seconds: how long a watch may be silent before its pump is started anew; more than what kopf waits.
        check_seconds: time between two looks.
        most_restarts: fresh starts of one pump, without a sign of its watches between, before only a new process helps.
    """

    silence_seconds: float = 2.5 * QUIET_SECONDS
    check_seconds: float = 5.0
    most_restarts: int = 3


class Watchdog:
    """Looks after pumps."""

    def __init__(
        self, client: KubeClient, pumps: Sequence[Pump], metrics: Metrics, patience: Patience | None = None
    ) -> None:
        self._client = client
        self._pumps = tuple(pumps)
        self._metrics = metrics
        self._patience = patience or Patience()
        self._restarts = dict.fromkeys((pump.pumped.name for pump in pumps), 0)

    def problems(self) -> list[str]:
        """Say which pump no fresh start helps, for the liveness probe."""
        return [
            f"the watches of {name} stay silent after {count} fresh starts"
            for name, count in self._restarts.items()
            if count > self._patience.most_restarts
        ]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._patience.check_seconds)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        for pump in self._pumps:
            self._note_ages(pump)
            await self._look_at(pump)

    def restart_for(self, kinds: Iterable[str]) -> None:
        """Start the pumps of these kinds (plurals) anew: a sweep found what their events had missed."""
        missed = set(kinds)
        for pump in self._pumps:
            if missed & {kind.resource.plural for kind in pump.pumped.kinds}:
                self._restart(pump)

    def _note_ages(self, pump: Pump) -> None:
        """Keep the gauge current."""
        for kind in pump.pumped.kinds:
            self._metrics.watch_age.labels(kind.resource.plural).set(pump.hearing.age(kind.resource))

    async def _look_at(self, pump: Pump) -> None:
        """Start a pump anew if one of its kinds is silent although it can be listed."""
        limit = self._patience.silence_seconds
        silent = [kind for kind in pump.pumped.kinds if pump.silence(kind.resource) > limit]
        if not silent:
            if all(pump.hearing.watched_since(kind.resource, pump.began) for kind in pump.pumped.kinds):
                self._restarts[pump.pumped.name] = 0
            return
        if await self._is_served(silent):
            names = ", ".join(kind.resource.plural for kind in silent)
            _log.warning("nothing came from the watches of %s for long; starting them anew", names)
            self._restarts[pump.pumped.name] += 1
            self._restart(pump)

    def _restart(self, pump: Pump) -> None:
        """Start a pump anew, and count it."""
        self._metrics.watch_restarts.labels(pump.pumped.name).inc()
        pump.restart()

    async def _is_served(self, kinds: Iterable[WatchedKind]) -> bool:
        """Tell whether the API server answers for each of these kinds; where it does not, silence is no wonder."""
        try:
            for kind in kinds:
                await self._client.list_all(kind.resource, field_selector=kind.field_selector or _NOBODY)
        except ApiError as error:
            _log.info("silent watches are left alone, since listing fails too: %s", error)
            return False
        return True


def kinds_of(found: Iterable[str]) -> set[str]:
    """Return the kinds in what a listing found (`kind key`)."""
    return {entry.split(" ", 1)[0] for entry in found}
