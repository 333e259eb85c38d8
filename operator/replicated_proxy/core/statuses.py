"""What Licenses and Applications say about themselves: their `status`, decided from what was found.

Counts and a short sample, never a list of all namespaces: with thousands of them that list would be written, and
read by everybody, at each change (external-secrets#1441).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from replicated_proxy.core.applications import Application
from replicated_proxy.core.conditions import Condition, ConditionStatus

_MOST_FAILURES: Final = 20


class SyncState(StrEnum):
    """How a namespace's pull secret stands."""

    SYNCED = "synced"
    WAITING = "waiting"
    FAILED = "failed"
    CONFLICTING = "conflicting"
    PENDING = "pending"


_FAILURES: Final = frozenset({SyncState.FAILED, SyncState.CONFLICTING})


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What came of the last try in one namespace.

    Attributes:
        state: how it stands.
        reason: one CamelCase word, for failures and conflicts.
        message: for people; the API server's own words.
        retry_after: seconds not to try again for; no part of what came of it.
    """

    state: SyncState
    reason: str = ""
    message: str = ""
    retry_after: float = field(default=0.0, compare=False)


def conflict(secret_name: str) -> SyncResult:
    """Return the result for a namespace where the Secret of our name is somebody else's."""
    return SyncResult(SyncState.CONFLICTING, "Conflict", f"Secret {secret_name} is not ours and was left alone")


class StatusReason(StrEnum):
    """Condition reasons of Licenses and Applications; listed with cause and remedy in `docs/status.md`."""

    USABLE = "Usable"
    SHADOWED = "Shadowed"
    DELETING = "Deleting"
    PAUSED = "Paused"
    INVALID_LICENSE = "InvalidLicense"
    INVALID_EXPIRY = "InvalidExpiry"
    EXPIRED = "Expired"
    SIGNATURE_NOT_ACCEPTED = "SignatureNotAccepted"
    SOURCE_UNKNOWN = "SourceUnknown"
    NOT_HONOURED = "NamespaceNotHonoured"
    APPLICATION_UNKNOWN = "ApplicationUnknown"
    ALL_SYNCED = "AllSynced"
    SYNCING = "Syncing"
    CREDENTIALS_REVOKED = "CredentialsRevoked"
    HELD = "Held"
    CONFLICT = "Conflict"
    SYNC_FAILED = "SyncFailed"
    EXCLUDED = "Excluded"
    TABLE_TOO_LARGE = "RoutingTableTooLarge"
    BOUND = "Bound"
    NOT_BOUND = "NotBound"
    ENTRIES_SKIPPED = "EntriesSkipped"
    HOST_OVERRIDDEN = "HostOverridden"


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of many namespaces, in few words.

    Attributes:
        counts: how many stand how; states without any may be absent.
        failures: the first failing namespaces by name, with what came of them.
    """

    counts: Mapping[SyncState, int] = field(default_factory=dict)
    failures: tuple[tuple[str, SyncResult], ...] = ()

    def count(self, state: SyncState) -> int:
        """Tell how many namespaces stand like this."""
        return self.counts.get(state, 0)


def tally_results(results: Mapping[str, SyncResult]) -> Tally:
    """Sum up what came of each namespace, by name."""
    failing = ((name, result) for name, result in results.items() if result.state in _FAILURES)
    counts = Counter(result.state for result in results.values())
    return Tally(counts, tuple(heapq.nsmallest(_MOST_FAILURES, failing, key=_by_name)))


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Sum up several; no namespace may be in two of them."""
    counts: dict[SyncState, int] = {}
    failures: list[tuple[str, SyncResult]] = []
    for tally in tallies:
        for state, number in tally.counts.items():
            counts[state] = counts.get(state, 0) + number
        failures += tally.failures
    return Tally(counts, tuple(sorted(failures, key=_by_name)[:_MOST_FAILURES]))


def only_failures(tally: Tally) -> Tally:
    """Keep what failed: where nothing is wanted any more only a deletion can."""
    return Tally({state: number for state, number in tally.counts.items() if state in _FAILURES}, tally.failures)


def _by_name(item: tuple[str, SyncResult]) -> str:
    """Sort key of failures."""
    return item[0]


def application_conditions(application: Application, problem: str, note: str = "") -> list[Condition]:
    """Decide an Application's `Ready`: bound to a License, with every entry understood and in effect.

    Args:
        application: the Application.
        problem: why it is bound to no License, or empty.
        note: what of it an older Application overrides, or empty.
    """
    if problem:
        return [Condition("Ready", ConditionStatus.FALSE, StatusReason.NOT_BOUND, problem)]
    if application.problems or note:
        reason = StatusReason.ENTRIES_SKIPPED if application.problems else StatusReason.HOST_OVERRIDDEN
        text = "; ".join(filter(None, (note, *application.problems)))
        return [Condition("Ready", ConditionStatus.FALSE, reason, text)]
    return [Condition("Ready", ConditionStatus.TRUE, StatusReason.BOUND, "bound to the License of its namespace")]


def application_fields(application: Application) -> dict[str, Any]:
    """Write what of an Application's status is no condition."""
    names: Sequence[str] = (*application.namespaces, *(["*"] if application.every_namespace else []))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return {"namespaces": shown}
