"""What is known of registries as a whole."""

from __future__ import annotations

from replicated_proxy.detection import standing
from replicated_proxy.detection.standing import Standing
from simulated_clock import StandingClock


def test_silence_ends_with_its_time_or_with_an_answer() -> None:
    """A registry is silent for some time, and no longer once it answers."""
    clock = StandingClock()
    known = Standing(clock)
    for host in ("a.example", "b.example"):
        assert known.note_silence(host, clock.now, 60)
    known.note_answer("b.example")
    assert (known.is_silent("a.example"), known.is_silent("b.example")) == (True, False)
    clock.now += 59
    assert known.is_silent("a.example")
    clock.now += 1
    assert not known.is_silent("a.example")


def test_silence_about_one_question_is_none_where_others_were_answered_since() -> None:
    """An answer that came after the silent question was asked says that the registry is there."""
    clock = StandingClock()
    known = Standing(clock)
    asked = clock.now
    clock.now += 1
    known.note_answer("a.example")
    assert not known.note_silence("a.example", asked, 60)
    assert not known.is_silent("a.example")
    clock.now += 1
    assert known.note_silence("a.example", clock.now, 60)


def test_names_that_somebody_makes_up_fill_no_memory() -> None:
    """Of very many hosts those noted last are known."""
    known = Standing(StandingClock())
    hosts = [f"h{number}.example" for number in range(standing._MOST_HOSTS + 10)]
    for host in hosts:
        known.note_answer(host)
        known.resting.note(host, 60)
    assert len(known._answered) == len(known.resting._ends) == standing._MOST_HOSTS
    assert known.resting.holds(hosts[-1])
    assert not known.resting.holds(hosts[0])
