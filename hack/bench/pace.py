"""How long the sections `webhook`, `admission` and `overload` measure: ROUNDS and SECONDS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.scale.sizes import InvalidSizes, read_number

_LONGEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Rounds, and seconds of each measurement in them."""

    rounds: int
    seconds: float

    @property
    def warm_up(self) -> float:
        """Seconds before a measurement, in which nothing counts."""
        return min(0.3, self.seconds)


def read_pace(environment: Mapping[str, str], rounds: int, seconds: float) -> Pace:
    """Read both, with a section's own defaults.

    Raises:
        InvalidSizes: one of them makes no sense.
    """
    text = environment.get("SECONDS", "") or str(seconds)
    try:
        given = float(text)
    except ValueError:
        given = 0.0
    if not 0 < given <= _LONGEST_SECONDS:
        raise InvalidSizes(f"SECONDS={text} is no number above 0 and up to {_LONGEST_SECONDS:g}")
    return Pace(read_number(environment, "ROUNDS", rounds, 1), given)
