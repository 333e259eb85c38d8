"""What time it is at the API server, by the `Date` header of its answers.

A second opinion on our own clock for those who would delete something because of a date.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from replicated_proxy.clock import Clock


class ServerTime:
    """The newest `Date` that was heard, and the time that has passed since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: tuple[datetime, float] | None = None
        self._header = ""

    def note(self, header: str | None) -> None:
        """Take in an answer's header; one that is missing or no date says nothing."""
        if header == self._header and self._heard is not None:
            self._heard = (self._heard[0], self._clock.monotonic())
            return  # Hundreds of answers come in the same second.
        try:
            date = parsedate_to_datetime(header or "").astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            return
        self._heard, self._header = (date, self._clock.monotonic()), header or ""

    def read(self) -> datetime | None:
        """Return the server's time, exact to a second or so; None before its first answer."""
        if self._heard is None:
            return None
        date, moment = self._heard
        try:
            return date + timedelta(seconds=self._clock.monotonic() - moment)
        except OverflowError:
            return None
