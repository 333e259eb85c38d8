"""What came of asking a registry whether an image can be pulled without a password."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProbeOutcome(StrEnum):
    """What a registry's answer, or its silence, means (reference/references.md 3.3)."""

    PUBLIC = "public"
    """The manifest could be fetched without a password."""
    PRIVATE = "private"
    """It could not: 401 or 403 for the manifest or its token, or nothing but Basic authentication."""
    INTERNAL = "internal"
    """Every address of the registry is on somebody's own network; it was not asked."""
    MISSING = "missing"
    """404: says nothing about the repository, since some registries hide what is private."""
    LIMITED = "rate-limited"
    """429: the registry wants to be left alone for a while."""
    FAILED = "failed"
    """No answer that means anything: name, connection, certificate, time, or nonsense."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What came of one probe.

    Attributes:
        outcome: what it means.
        cause: why it failed, one word of a fixed list (`name`, `connection`, `certificate`, `timeout`, `answer`,
            `redirect`), or empty.
        retry_after: seconds that a rate-limited registry wants to be left alone; 0 where it did not say.
    """

    outcome: ProbeOutcome
    cause: str = ""
    retry_after: float = 0.0
