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
from replicated_proxy.core.licenses import License
from replicated_proxy.core.objects import format_timestamp

_MOST_FAILURES: Final = 20
_LONGEST_MESSAGE: Final = 256
_MOST_SHADOWS: Final = 3
_DELETING: Final = (
    "being deleted: it is no longer used, its credentials are taken back; a finalizer of somebody else keeps the object"
)


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
    """

    state: SyncState
    reason: str = ""
    message: str = ""


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
    NOT_HONOURED = "NamespaceNotHonoured"
    APPLICATION_UNKNOWN = "ApplicationUnknown"
    ALL_SYNCED = "AllSynced"
    SYNCING = "Syncing"
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


def _by_name(item: tuple[str, SyncResult]) -> str:
    """Sort key of failures."""
    return item[0]


@dataclass(frozen=True, slots=True)
class LicenseReport:
    """Everything that a License's status is made of.

    Attributes:
        lic: the License, or None when it could not be read.
        problem: why it could not be read or is not used.
        problem_reason: the reason code for that.
        held: its routes were taken over because an Application became unknown.
        tally: what came of the namespaces it covers.
        shadows: `namespace/name` of each License of the same application that gives the credentials instead, with
            the number of namespaces where it does.
        secret_name: where its credential goes.
        own_namespace_excluded: no pull secret in its own namespace.
    """

    lic: License | None
    problem: str = ""
    problem_reason: str = ""
    held: bool = False
    tally: Tally = Tally()
    shadows: Mapping[str, int] = field(default_factory=dict)
    secret_name: str = ""
    own_namespace_excluded: bool = False

    @property
    def frozen(self) -> bool:
        """Tell whether nothing new is written for it."""
        return self.held or (self.lic is not None and (self.lic.paused or bool(self.lic.expiry.problem)))


def license_conditions(report: LicenseReport) -> list[Condition]:
    """Decide `Ready` and `Synced`."""
    return [_license_ready(report), _license_synced(report)]


def _license_ready(report: LicenseReport) -> Condition:
    """Tell whether the License is used."""
    lic = report.lic
    if report.problem or lic is None:
        return Condition("Ready", ConditionStatus.FALSE, report.problem_reason, report.problem)
    if lic.deleting:
        return Condition("Ready", ConditionStatus.FALSE, StatusReason.DELETING, _DELETING)
    if lic.paused:
        text = "paused by annotation: nothing is written or deleted for it, published routes stay"
        return Condition("Ready", ConditionStatus.UNKNOWN, StatusReason.PAUSED, text)
    if lic.expiry.problem:
        text = f"{lic.expiry.problem}; its last good state is kept"
        return Condition("Ready", ConditionStatus.FALSE, StatusReason.INVALID_EXPIRY, text)
    if report.held:
        text = "an Application it was bound to is gone with its CustomResourceDefinition: apply it again"
        return Condition("Ready", ConditionStatus.UNKNOWN, StatusReason.APPLICATION_UNKNOWN, text)
    return _ready_with_notes(report, lic)


def _ready_with_notes(report: LicenseReport, lic: License) -> Condition:
    """Say that a License is used, and where not."""
    notes, reason = [*lic.problems], StatusReason.USABLE
    if report.own_namespace_excluded:
        notes.insert(0, "its own namespace is excluded and gets no pull secret")
        reason = StatusReason.EXCLUDED
    if report.shadows:
        notes.insert(0, _describe_shadows(report.shadows))
        reason = StatusReason.SHADOWED
    return Condition("Ready", ConditionStatus.TRUE, reason, "; ".join(notes) or "the License is used")


def _describe_shadows(shadows: Mapping[str, int]) -> str:
    """Say which Licenses of the same application go before this one, and where."""
    named = [f"{key} in {number} namespaces" for key, number in sorted(shadows.items())[:_MOST_SHADOWS]]
    more = f" and {len(shadows) - _MOST_SHADOWS} others elsewhere" if len(shadows) > _MOST_SHADOWS else ""
    return f"another License of this application gives the credentials: {', '.join(named)}{more}"


def _license_synced(report: LicenseReport) -> Condition:
    """Tell whether every namespace has its pull secret."""
    tally = report.tally
    if conflicting := tally.count(SyncState.CONFLICTING):
        text = (
            f"in {conflicting} namespaces a Secret {report.secret_name} is not ours and was left "
            "alone: rename it, or annotate it proxy.kots.io/adopt=true"
        )
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.CONFLICT, text)
    if failed := tally.count(SyncState.FAILED):
        text = f"{failed} namespaces failed; status.failures names them"
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.SYNC_FAILED, text)
    waiting = tally.count(SyncState.WAITING)
    if waiting and report.frozen:
        text = f"{waiting} namespaces have no pull secret and get none while its last good state is kept; see Ready"
        return Condition("Synced", ConditionStatus.UNKNOWN, StatusReason.HELD, text)
    if waiting:
        text = "pull secrets are being written"
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.SYNCING, text)
    return Condition("Synced", ConditionStatus.TRUE, StatusReason.ALL_SYNCED, "every namespace has its pull secret")


def license_fields(report: LicenseReport) -> dict[str, Any]:
    """Write what of a License's status is no condition."""
    tally = report.tally
    synced, pending = tally.count(SyncState.SYNCED), tally.count(SyncState.PENDING)
    desired = sum(tally.counts.values()) - pending
    expiry = report.lic.expiry.at if report.lic else None
    return {
        "expiresAt": format_timestamp(expiry) if expiry else None,
        "secretName": report.secret_name,
        "namespaces": {
            "desired": desired,
            "synced": synced,
            "failed": tally.count(SyncState.FAILED),
            "conflicting": tally.count(SyncState.CONFLICTING),
            "pending": pending,
            "summary": f"{synced}/{desired}",
        },
        "failures": [
            {"namespace": name, "reason": result.reason, "message": result.message[:_LONGEST_MESSAGE]}
            for name, result in tally.failures
        ],
    }


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
