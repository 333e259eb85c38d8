"""When there is more to do than this process can: some are told to come again, so that the others are answered in time.

The rule is that of CoDel (RFC 8289) for servers: what counts is not how much waits but how long the luckiest request of
an interval had to wait. A burst passes; a queue that does not go away is cut, at its oldest end.
"""

from __future__ import annotations

from typing import Final

_INTERVAL_SECONDS: Final = 0.1
_TARGET_SECONDS: Final = 0.025
_PATIENCE_SECONDS: Final = 0.05


class DelayGate:
    """Judges requests by how long each has waited in this process before anybody looked at it."""

    def __init__(self) -> None:
        self._end = 0.0
        self._least = 0.0
        self._overloaded = False

    def refuses(self, arrived: float, now: float) -> bool:
        """Tell whether to send a request away, and take its delay into account; both times are of one clock."""
        waited = now - arrived
        if now >= self._end:
            # Of an interval that nobody came in nothing is known, and nobody waits.
            self._overloaded = self._least > _TARGET_SECONDS and now - self._end < _INTERVAL_SECONDS
            self._end, self._least = now + _INTERVAL_SECONDS, waited
        elif waited < self._least:
            self._least = waited
        return self._overloaded and waited > _PATIENCE_SECONDS
