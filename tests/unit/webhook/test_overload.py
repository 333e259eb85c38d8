"""Who is sent away when reviews wait too long: by numbers, without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ids
from replicated_proxy.webhook.overload import DelayGate, handshakes_allowed

# Each step is a time in milliseconds and how long the request of that moment has waited.
CASES: list[tuple[str, list[tuple[int, int]], list[bool]]] = [
    ("nobody waits", [(1000, 0), (1150, 1), (1300, 0)], [False, False, False]),
    ("the very first waits long", [(1000, 900)], [False]),
    ("a burst", [(1000, 0), (1050, 260), (1090, 280), (1110, 290)], [False, False, False, False]),
    ("a standing queue", [(1000, 260), (1050, 270), (1110, 280), (1120, 260)], [False, False, True, True]),
    ("those that came late are answered", [(1000, 260), (1110, 280), (1120, 249)], [False, True, False]),
    ("a short standing queue", [(1000, 130), (1110, 140), (1210, 245)], [False, False, False]),
    ("it goes away", [(1000, 260), (1110, 260), (1120, 1), (1220, 260)], [False, True, False, False]),
    ("it was long ago", [(1000, 260), (1050, 260), (1500, 260)], [False, False, False]),
]


@pytest.mark.parametrize(("steps", "refused"), [row[1:] for row in CASES], ids=ids(CASES))
def test_queue_that_does_not_go_away_is_cut(steps: list[tuple[int, int]], refused: list[bool]) -> None:
    """Only while even the luckiest waits too long, those that waited longest are sent away."""
    gate = DelayGate()
    assert [gate.refuses((now - waited) / 1000, now / 1000) for now, waited in steps] == refused


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 0.02)), max_size=50))
def test_nobody_is_sent_away_while_one_of_each_interval_is_quick(steps: list[tuple[float, float]]) -> None:
    """However long others wait, a process that keeps up refuses nobody."""
    gate, now = DelayGate(), 1000.0
    for pause, waited in steps:
        now += pause
        assert not gate.refuses(now - waited, now)
        assert not gate.refuses(now - 3.0, now)


@pytest.mark.parametrize(("lag", "allowed"), [(0.0, 8), (0.014, 8), (0.016, 1), (5.0, 1)])
def test_handshakes_are_paced(lag: float, allowed: int) -> None:
    """Several while there is time, one after the other while reviews wait, and never none."""
    assert handshakes_allowed(lag) == allowed
