"""When there is more to do than this process can: some are told to come again, so that the others are answered in time.

The rule is that of CoDel (RFC 8289) for servers: what counts is not how much waits but how long the luckiest request of
an interval had to wait. A burst passes; a queue that does not go away is cut, at its oldest end.
"""

from __future__ import annotations

from typing import Final

_INTERVAL_SECONDS: Final = 0.1
_TARGET_SECONDS: Final = 0.025
_PATIENCE_SECONDS: Final = 0.25
_HANDSHAKES: Final = 8
_LATE_SECONDS: Final = 0.015  # Somewhat longer than so many of them take.


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


def handshakes_allowed(lag: float) -> int:
    """Return how many handshakes may begin now, by how many seconds late this process got around to the question.

    Each takes as long as some twenty reviews. A caller who finds all connections busy opens another one, so without a
    pace the first moment of too much work makes ten times as much of it, and the process never gets out again. Late
    means that reviews wait, too: then it is one at a time, by which a new API server still comes in.
    """
    return _HANDSHAKES if lag < _LATE_SECONDS else 1
