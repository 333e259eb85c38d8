"""Writing only while it is allowed: the controller's writes pass a gate that its Lease holds open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from replicated_proxy.clock import Clock
from replicated_proxy.kube.errors import ApiError

_SHUT: Final = float("-inf")


class NotLeading(ApiError):
    """A write that was refused here, or cut off on its way, because another replica may lead by now."""

    def __init__(self, request: str) -> None:
        super().__init__(0, "NotLeading", f"{request} was not carried out: this replica does not hold the Lease")


class WriteGate:
    """Lets writes through until a moment that each renewal moves on; a write on its way is cut off there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = _SHUT
        self._timeouts: set[asyncio.Timeout] = set()
        self._passed = asyncio.Event()
        self._draining = False

    @property
    def remaining(self) -> float:
        """Seconds for which writes are let through; 0 while the gate is shut."""
        return max(0.0, self._until - self._clock.monotonic())

    def open_until(self, moment: float) -> None:
        """Let writes through until then, on the monotonic clock, those on their way too."""
        self._until = moment
        self._reschedule()

    def shut(self) -> None:
        """Refuse writes from now on, and cut off those on their way."""
        self._until = _SHUT
        self._reschedule()

    def _reschedule(self) -> None:
        """Move the end of the writes on their way; they count by the loop's clock."""
        moment = asyncio.get_running_loop().time() + self.remaining
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(moment)

    @asynccontextmanager
    async def passage(self, request: str) -> AsyncIterator[None]:
        """Enclose one write.

        Raises:
            NotLeading: the gate is shut, or was shut while the write was on its way.
        """
        if self._draining:
            await asyncio.Event().wait()  # Its task is about to be cancelled, and an error would be noise.
        if not self.remaining:
            raise NotLeading(request)
        timeout = asyncio.timeout(self.remaining)
        self._timeouts.add(timeout)
        try:
            async with timeout:
                yield
        except TimeoutError:
            if timeout.expired():
                raise NotLeading(request) from None
            raise
        finally:
            self._timeouts.discard(timeout)
            self._passed.set()

    async def drain(self, seconds: float) -> None:
        """Hold new writes back for good, and let those on their way come to their end, then shut.

        What the API server has received it may still carry out after we have gone away, so the Lease is released
        only after this.
        """
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, self.remaining)):
                while self._timeouts:
                    self._passed.clear()
                    await self._passed.wait()
        self.shut()
