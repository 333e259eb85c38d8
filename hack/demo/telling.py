"""How the story is told: numbered steps, what was done, what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console

from rig.waiting import wait_until

Result = TypeVar("Result")


class StepFailed(Exception):
    """A step whose check did not hold: the demo ends there, with a non-zero exit."""


@dataclass
class Teller:
    """Prints the story; colours only on a terminal."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: int = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell one step with the time it took."""
        self.steps += 1
        self.console.print(f"\n[bold]{self.steps}. {title}[/bold]")
        started = time.monotonic()
        yield
        self.console.print(f"   [green]ok[/green] [dim]({time.monotonic() - started:.1f} s)[/dim]")

    def did(self, command: str) -> None:
        """Show what was done, as the user would type it."""
        self.console.print(f"   [cyan]$ {command}[/cyan]", markup=True)

    def saw(self, label: str, value: object) -> None:
        """Show what was seen."""
        self.console.print(f"   {label:<18}", end="")
        self.console.print(str(value), markup=False)

    def check(self, *, holds: bool, claim: str) -> None:
        """Go on only if a claim holds.

        Raises:
            StepFailed: it does not.
        """
        if not holds:
            raise StepFailed(f"expected: {claim}")


def await_that(condition: Callable[[], Result | None], what: str, seconds: float = 90) -> Result:
    """Wait for something to be seen."""
    return wait_until(condition, what=what, seconds=seconds)
