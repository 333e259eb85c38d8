"""The one clock: what time it is, how much has passed, and waiting.

Handed to whoever needs it, so that tests run through hours in no time. Dates compare with the world (expiry,
certificates) and may jump; durations (leases, pauses) are measured on the monotonic clock, which does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

Result = TypeVar("Result")
# Linux has one that goes on while the machine is suspended, as other machines' clocks do.
_STEADY: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Time as the roles see it."""

    def now(self) -> datetime:
        """Return the date and time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; never set back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the date and time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some moment; never set back."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work, and cancel it when it takes longer.

    Raises:
        TimeoutError: it took longer.
    """
    task, timer = asyncio.ensure_future(work), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        task.cancel()
        timer.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)


async def wait_for(clock: Clock, event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than this."""
    with suppress(TimeoutError):
        await within(clock, seconds, event.wait())
