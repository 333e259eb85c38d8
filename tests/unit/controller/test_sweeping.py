"""Complete listings: at regular times, and soon after a watch began anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from replicated_proxy.controller.listing import Lister
from replicated_proxy.controller.sweeping import Sweep
from replicated_proxy.controller.watchdog import Watchdog
from replicated_proxy.telemetry.metrics import Metrics
from simulated_clock import SimulatedClock, settle


class House:
    """A sweep that runs, and what it does to those around it."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        self.found: set[str] = set()
        self.listings = 0
        self.swept = 0
        self.restarted: list[set[str]] = []
        lister, watchdog = cast("Lister", self), cast("Watchdog", self)
        self.sweep = Sweep(lister, watchdog, self.metrics, self.clock, 600.0)
        self.task = asyncio.ensure_future(self.sweep.run(self._note))

    async def list_everything(self) -> set[str]:
        """Stand in for the lister."""
        self.listings += 1
        return self.found

    def restart_for(self, kinds: set[str]) -> None:
        """Stand in for the watchdog."""
        self.restarted.append(kinds)

    def _note(self) -> None:
        """Count a sweep after which everything is looked at."""
        self.swept += 1

    @property
    def corrections(self) -> float:
        """Read the metric."""
        return self.metrics.registry.get_sample_value("replicated_proxy_sweep_corrections_total") or 0.0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A sweep that runs."""
    running = House()
    await settle()
    yield running
    running.task.cancel()


async def test_sweep_counts_what_events_missed(house: House) -> None:
    """Every ten minutes everything is listed; what is found is counted, and the watch that missed it begins anew."""
    await house.clock.advance(599)
    before = house.listings
    house.found = {"secrets a", "secrets b", "namespaces c"}
    await house.clock.advance(1)

    assert (before, house.listings, house.swept) == (0, 1, 1)
    assert (house.corrections, house.restarted) == (3.0, [{"secrets", "namespaces"}])


async def test_listing_after_a_watch_began_anew_is_no_correction(house: House) -> None:
    """What is found then was deleted while nobody watched: dealt with at once, but no watch is to blame."""
    house.found = {"secrets a"}
    for _ in range(20):
        house.sweep.hurry()
    await house.clock.advance(5)

    assert (house.listings, house.swept) == (1, 1)
    assert (house.corrections, house.restarted) == (0.0, [])


async def test_listing_after_a_watch_began_anew_that_finds_nothing_makes_no_work(house: House) -> None:
    """At each start both watches begin, and nothing is missing: nobody has to be looked at again."""
    house.sweep.hurry()
    await house.clock.advance(5)

    assert (house.listings, house.swept) == (1, 0)
