"""Durations as cert-manager and the rest of Kubernetes write them: `8760h`, `1h30m`, `20s`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_WRITTEN: Final = re.compile(r"(?=\d)(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_SECONDS: Final = ((3600, "h"), (60, "m"), (1, "s"))


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: it is none; says how one is written.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration: write hours, minutes and seconds, for example 8760h, 1h30m or 20s")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """Write a duration in whole seconds, in the fewest parts."""
    left = int(duration.total_seconds())
    text = ""
    for seconds, unit in _SECONDS:
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
