"""A clock that moves only when it is told to, so that tests run through hours in no time."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from typing import Final

# Between waking and its next sleep a task of ours takes a few turns of the loop; this is far more.
_TURNS: Final = 50
# A remainder of floating point, which added to the time can leave it as it is. Whoever then asks again for the same
# remainder would never see the time pass, so no sleep is shorter; a real clock's are not, either.
_SMALLEST: Final = 1e-6


class SimulatedClock:
    """Time as a test says it is: sleepers wake in the order of their due times, each at its own.

    Attributes:
        skew: what the date shows beside the time that has passed; a clock that somebody sets jumps by it.
        asked: how long somebody wanted to sleep, each time.
    """

    def __init__(self, start: datetime = datetime(2026, 9, 1, 12, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.skew = timedelta()
        self.asked: list[float] = []

    def now(self) -> datetime:
        """Return the date and time, in UTC."""
        return self._start + timedelta(seconds=self._passed) + self.skew

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved the clock so far."""
        self.asked.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._passed + max(seconds, _SMALLEST), self._order, future))
        await future

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def jump(self, seconds: float) -> None:
        """Let time pass for those who only look at the clock; nobody is woken."""
        self._passed += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass: wake each sleeper when it is due, and let everybody go on before the next."""
        target = self._passed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            if self.step(max(0.0, self._sleepers[0][0] - self._passed)):
                await settle()
        self.jump(target - self._passed)
        await settle()

    def step(self, seconds: float) -> bool:
        """Let time pass and wake whoever is due by then, without letting anybody go on yet; returns whether any was."""
        self.jump(seconds)
        woken = False
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                woken = True
        return woken


async def settle() -> None:
    """Let every task go on until it waits for something else than its turn."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class SkewedClock:
    """A machine's clock that runs faster or slower than the test's, and shows another date.

    Attributes:
        frozen_until: nobody on this machine goes on before the test's clock shows that; its own goes on all the same.
    """

    def __init__(self, base: SimulatedClock, rate: float = 1.0, ahead: float = 0.0) -> None:
        self._base = base
        self._rate = rate
        self._ahead = ahead
        self.frozen_until = 0.0

    def now(self) -> datetime:
        """Return the date and time, in UTC."""
        return self._base.now() + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        """Return this machine's seconds."""
        return self._base.monotonic() * self._rate + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait for so many of this machine's seconds."""
        await self._base.sleep(seconds / self._rate)
        while (left := self.frozen_until - self._base.monotonic()) > _SMALLEST:
            await self._base.sleep(left)


class StandingClock:
    """Monotonic seconds that stand where the test puts them.

    Attributes:
        now: the seconds.
    """

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now
