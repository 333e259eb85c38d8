"""Being woken at a moment of the date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from replicated_proxy.controller.alarm import Alarm
from simulated_clock import SimulatedClock, settle


class Bedside:
    """An alarm that runs, and counts how often it rang."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.alarm = Alarm(self.clock)
        self.rung: list[datetime] = []
        self.task = asyncio.ensure_future(self.alarm.run(lambda: self.rung.append(self.clock.now())))

    def in_seconds(self, seconds: float) -> datetime:
        """Return a moment."""
        return self.clock.now() + timedelta(seconds=seconds)


@pytest.fixture
async def bedside() -> AsyncIterator[Bedside]:
    """An alarm that runs."""
    running = Bedside()
    await settle()
    yield running
    running.task.cancel()


async def test_alarm_rings_at_its_moment_and_once(bedside: Bedside) -> None:
    """Not before, not again, and not at the next poll but at the moment itself."""
    moment = bedside.in_seconds(100)
    bedside.alarm.set(moment)
    await bedside.clock.advance(99.9)
    before = list(bedside.rung)
    await bedside.clock.advance(1_000)

    assert (before, bedside.rung) == ([], [moment])


async def test_alarm_that_is_set_anew_forgets_the_old_moment(bedside: Bedside) -> None:
    """Earlier, later or never: what was said last counts."""
    bedside.alarm.set(bedside.in_seconds(10))
    bedside.alarm.set(bedside.in_seconds(50))
    await bedside.clock.advance(20)
    bedside.alarm.set(sooner := bedside.in_seconds(5))
    await bedside.clock.advance(20)
    bedside.alarm.set(bedside.in_seconds(5))
    bedside.alarm.set(None)
    await bedside.clock.advance(100)

    assert bedside.rung == [sooner]


async def test_moment_that_has_passed_rings_at_once(bedside: Bedside) -> None:
    """Who sets it to yesterday does not wait until tomorrow."""
    bedside.alarm.set(bedside.in_seconds(-86_400))
    await settle()

    assert len(bedside.rung) == 1


JUMPS = [timedelta(days=1), timedelta(days=-1), timedelta(minutes=-6)]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
async def test_date_that_jumps_rings_within_half_a_minute(bedside: Bedside, jump: timedelta) -> None:
    """Somebody sets the date: timers do not notice, the alarm does, whatever it was set to, and once."""
    bedside.alarm.set(bedside.in_seconds(7 * 86_400))
    await bedside.clock.advance(100)
    before = len(bedside.rung)
    bedside.clock.skew = jump
    await bedside.clock.advance(30)
    noticed = len(bedside.rung)
    await bedside.clock.advance(300)

    assert (before, noticed, len(bedside.rung)) == (0, 1, 1)


async def test_date_that_is_corrected_a_little_rings_nobody(bedside: Bedside) -> None:
    """Clocks are set by seconds all the time."""
    bedside.clock.skew = timedelta(seconds=-3)
    await bedside.clock.advance(300)

    assert bedside.rung == []
