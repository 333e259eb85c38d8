"""Conditions, the one shape in which Kubernetes objects tell how they are (`metav1.Condition`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from replicated_proxy.core.objects import Body, format_timestamp, list_at, mapping_at, text_at

LONGEST_MESSAGE: Final = 1024  # What an Event can hold; a status would take 32 times as much, and nobody reads it.


class ConditionStatus(StrEnum):
    """Whether it holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object.

    Attributes:
        type: what is stated (`Ready`).
        status: whether it holds.
        reason: one CamelCase word, documented.
        message: for people; `shown` of it is written.
        warning: whether somebody should act; None: when it does not hold.
        routine: as good as nothing: not worth an Event when it is stated for the first time.
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str
    warning: bool | None = None
    routine: bool = False

    @property
    def alarming(self) -> bool:
        """Tell whether its Event is a warning."""
        return self.status is ConditionStatus.FALSE if self.warning is None else self.warning

    @property
    def shown(self) -> str:
        """The message, cut to what fits: it may quote what somebody wrote without end."""
        fits = len(self.message) <= LONGEST_MESSAGE
        return self.message if fits else f"{self.message[: LONGEST_MESSAGE - 1]}…"


def render_conditions(
    conditions: Iterable[Condition], earlier: Body, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Write conditions into a status; the transition time moves only when a status flips.

    Args:
        conditions: what holds now.
        earlier: the status as it stands.
        generation: the generation that was looked at.
        now: the time of a transition.
    """
    before = {text_at(item, "type"): mapping_at(item) for item in list_at(earlier, "conditions")}
    return [_render(condition, before.get(condition.type, {}), generation, now) for condition in conditions]


def _render(condition: Condition, before: Body, generation: int, now: datetime) -> dict[str, Any]:
    """Write one condition."""
    unchanged = before.get("status") == condition.status.value
    since = text_at(before, "lastTransitionTime") if unchanged else ""
    return {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason,
        "message": condition.shown,
        "observedGeneration": generation,
        "lastTransitionTime": since or format_timestamp(now),
    }


def find_transitions(conditions: Sequence[Condition], earlier: Body) -> list[Condition]:
    """Return the conditions whose status or reason is another than before: what an Event is worth."""
    before = {
        text_at(item, "type"): (text_at(item, "status"), text_at(item, "reason"))
        for item in list_at(earlier, "conditions")
    }
    return [
        item
        for item in conditions
        if before.get(item.type) != (item.status.value, item.reason) and (item.type in before or not item.routine)
    ]
