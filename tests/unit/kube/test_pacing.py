"""The floor under writes that are due again and again."""

from __future__ import annotations

import pytest

from replicated_proxy.kube.pacing import Pace, Rate
from simulated_clock import StandingClock


def test_pauses_grow_to_a_minute(clock: StandingClock) -> None:
    """The first write is free; each further one of the same kind waits twice as long, a minute at most."""
    pace, pauses = Pace(clock), []
    for _ in range(40):
        pauses.append(pace.pause("write"))
        clock.now += pauses[-1]
        pace.note("write")

    assert pauses[:9] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == 60


def test_kinds_are_apart(clock: StandingClock) -> None:
    """One kind's writes do not hold up another's."""
    pace = Pace(clock)
    pace.note("write")

    assert (pace.pause("write"), pace.pause("publish")) == (1, 0)


def test_calm_starts_anew(clock: StandingClock) -> None:
    """After some minutes without that kind everything is forgotten."""
    pace = Pace(clock)
    for _ in range(9):
        pace.note("write")
    assert pace.fights("write")

    clock.now += 301

    assert pace.pause("write") == 0
    assert not pace.fights("write")


def test_few_writes_are_no_fight(clock: StandingClock) -> None:
    """A handful of writes happens in any installation."""
    pace = Pace(clock)
    for _ in range(4):
        pace.note("write")

    assert not pace.fights("write")


def test_pause_runs_out_by_itself(clock: StandingClock) -> None:
    """Whoever comes late enough waits for nothing more."""
    pace = Pace(clock)
    for _ in range(3):
        pace.note("write")
    clock.now += 1.5

    assert pace.remaining("write") == 2.5
    assert pace.calm_in("write") == 298.5
    clock.now += 3

    assert pace.remaining("write") == 0
    assert pace.remaining("publish") == 0


def test_what_is_forgotten_starts_anew(clock: StandingClock) -> None:
    """A kind that is gone leaves nothing behind."""
    pace = Pace(clock)
    pace.note("write")
    pace.forget("write")
    pace.forget("never seen")

    assert pace.pause("write") == 0


def test_rate_gives_a_second_at_once_and_then_so_many_in_a_second(clock: StandingClock) -> None:
    """Ten a second: ten turns at once, each further one a tenth of a second later."""
    rate = Rate(10.0, clock)
    waits = [rate.wait(f"key-{number}") for number in range(14)]

    assert waits[:10] == [0.0] * 10
    assert waits[10:] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_turn_is_kept_and_used_once(clock: StandingClock) -> None:
    """Who asks again has the same turn, and needs another one after it."""
    rate = Rate(1.0, clock)
    assert rate.wait("first") == 0
    assert rate.wait("second") == pytest.approx(1.0)
    clock.now += 0.75
    assert rate.wait("second") == pytest.approx(0.25)
    clock.now += 0.25

    assert rate.wait("second") == 0
    assert rate.wait("second") == pytest.approx(1.0)


def test_dropped_turn_is_asked_for_anew(clock: StandingClock) -> None:
    """A key that needs no turn any more does not come back to an old one."""
    rate = Rate(1.0, clock)
    rate.wait("first")
    rate.wait("second")
    rate.drop("second")

    assert rate.wait("second") == pytest.approx(2.0)


def test_rate_is_kept_in_any_second(clock: StandingClock) -> None:
    """However long nobody asked, no more than a second's worth comes at once."""
    rate = Rate(5.0, clock)
    clock.now += 3600

    assert [rate.wait(f"key-{number}") for number in range(6)] == pytest.approx([0, 0, 0, 0, 0, 0.2])


def test_slow_rate_begins_at_once_too(clock: StandingClock) -> None:
    """With less than one turn in a second the first one is free as well."""
    rate = Rate(0.5, clock)

    assert [rate.wait("first"), rate.wait("second")] == pytest.approx([0, 2])
