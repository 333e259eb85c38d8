"""What was measured beside what is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a section's first table.

    Attributes:
        limit: what it should be at most, or at least.
        remark: whatever else helps to read it.
        at_least: the limit is a lower one.
    """

    what: str
    measured: float
    limit: float
    unit: str
    remark: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether it is met; reaching it exactly is enough."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def row(self) -> str:
        """Write the line."""
        verdict = "met" if self.met else "**missed**"
        word = "≥" if self.at_least else "≤"
        return (
            f"| {self.what} | {self.measured:.3g}{self.unit} | {word} {self.limit:g}{self.unit} | {verdict} "
            f"| {self.remark} |"
        )


def bar_table(bars: Iterable[Bar]) -> str:
    """Lay bars out."""
    return "\n".join(["| what | measured | bar | | |", "|---|---:|---:|---|---|", *(bar.row() for bar in bars)])
