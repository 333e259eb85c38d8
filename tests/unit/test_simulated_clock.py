"""The clock of the tests: what is asked of it ends."""

from __future__ import annotations

import asyncio

from simulated_clock import SimulatedClock, SkewedClock


async def test_a_remainder_of_floating_point_passes() -> None:
    """A sleep too short to change the time it is added to ends all the same, and time has passed by then."""
    clock = SimulatedClock()
    clock.jump(2.0)
    machine = SkewedClock(clock, ahead=-2.0)  # Tells moments apart that the clock behind it cannot.

    async def wait_for(moment: float) -> None:
        while (left := moment - machine.monotonic()) > 0:
            await machine.sleep(left)

    task = asyncio.create_task(wait_for(2.0**-52))
    await clock.advance(1.0)
    assert task.done()
    assert clock.monotonic() == 3.0
