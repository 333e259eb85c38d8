"""The floor under writes that are due again and again."""

from __future__ import annotations

import pytest

from replicated_proxy.kube.pacing import Pace


class Clock:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that the test can move."""
    return Clock()


def test_pauses_grow_to_a_minute(clock: Clock) -> None:
    """The first write is free; each further one of the same kind waits twice as long, a minute at most."""
    pace, pauses = Pace(clock), []
    for _ in range(40):
        pauses.append(pace.pause("write"))
        clock.now += pauses[-1]
        pace.note("write")

    assert pauses[:9] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == 60


def test_kinds_are_apart(clock: Clock) -> None:
    """One kind's writes do not hold up another's."""
    pace = Pace(clock)
    pace.note("write")

    assert (pace.pause("write"), pace.pause("publish")) == (1, 0)


def test_calm_starts_anew(clock: Clock) -> None:
    """After some minutes without that kind everything is forgotten."""
    pace = Pace(clock)
    for _ in range(9):
        pace.note("write")
    assert pace.fights("write")

    clock.now += 301

    assert pace.pause("write") == 0
    assert not pace.fights("write")


def test_few_writes_are_no_fight(clock: Clock) -> None:
    """A handful of writes happens in any installation."""
    pace = Pace(clock)
    for _ in range(4):
        pace.note("write")

    assert not pace.fights("write")
