"""Conditions: the time of a transition moves only with the status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from builders import ids
from replicated_proxy.core.conditions import Condition, ConditionStatus, find_transitions, render_conditions

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
THEN = "2025-01-01T00:00:00Z"
READY = Condition("Ready", ConditionStatus.TRUE, "Usable", "the License is used")


def earlier(**differs: Any) -> dict[str, Any]:
    """Return a status that says Ready since `THEN`."""
    condition = {"type": "Ready", "status": "True", "reason": "Usable", "lastTransitionTime": THEN}
    return {"conditions": [condition | differs]}


def test_new_condition_is_written_in_full() -> None:
    """All six fields of `metav1.Condition` are there, the time in whole seconds."""
    expected = {
        "type": "Ready",
        "status": "True",
        "reason": "Usable",
        "message": "the License is used",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }

    assert [expected] == render_conditions([READY], {}, 3, NOW)


TIMES: list[tuple[str, dict[str, Any], str]] = [
    ("unchanged", earlier(), THEN),
    ("other reason", earlier(reason="Excluded"), THEN),
    ("other message", earlier(message="before"), THEN),
    ("flipped", earlier(status="False"), "2026-01-02T03:04:05Z"),
    ("unknown before", earlier(status="Unknown"), "2026-01-02T03:04:05Z"),
    ("another type", earlier(type="Synced"), "2026-01-02T03:04:05Z"),
    ("no time before", earlier(lastTransitionTime=None), "2026-01-02T03:04:05Z"),
    ("garbage", {"conditions": "none"}, "2026-01-02T03:04:05Z"),
    ("garbage inside", {"conditions": [5, None, {"type": 5}]}, "2026-01-02T03:04:05Z"),
]


@pytest.mark.parametrize(("status", "expected"), [row[1:] for row in TIMES], ids=ids(TIMES))
def test_transition_time_moves_only_when_the_status_flips(status: dict[str, Any], expected: str) -> None:
    """Another reason or message is no transition; garbage in the status counts as nothing."""
    (condition,) = render_conditions([READY], status, 1, NOW)

    assert expected == condition["lastTransitionTime"]


def test_rendering_what_stands_there_changes_nothing() -> None:
    """Without a change the same status is written, so that it need not be written at all."""
    first = render_conditions([READY], {}, 1, NOW)
    later = datetime(2027, 1, 1, tzinfo=UTC)

    assert first == render_conditions([READY], {"conditions": first}, 1, later)


MESSAGES = [
    ("short", "the License is used", "the License is used"),
    ("as long as fits", "x" * 1024, "x" * 1024),
    ("too long", "x" * 1025, "x" * 1023 + "…"),
    ("without end", "é" * 40_000, "é" * 1023 + "…"),
]


@pytest.mark.parametrize(("message", "expected"), [row[1:] for row in MESSAGES], ids=ids(MESSAGES))
def test_message_is_cut_to_what_fits(message: str, expected: str) -> None:
    """A message may quote what somebody wrote; the API server refuses a status with 40,000 characters of it."""
    condition = Condition("Ready", ConditionStatus.FALSE, "InvalidExpiry", message)
    (rendered,) = render_conditions([condition], {}, 1, NOW)

    assert (expected, expected) == (rendered["message"], condition.shown)


TRANSITIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("nothing before", {}, True),
    ("unchanged", earlier(), False),
    ("other message", earlier(message="before"), False),
    ("other reason", earlier(reason="Excluded"), True),
    ("other status", earlier(status="False"), True),
]


@pytest.mark.parametrize(("status", "expected"), [row[1:] for row in TRANSITIONS], ids=ids(TRANSITIONS))
def test_event_is_worth_another_status_or_reason(status: dict[str, Any], expected: bool) -> None:
    """A message that only counts differently is no Event."""
    assert expected == (find_transitions([READY], status) == [READY])
