"""What Licenses and Applications say about themselves: their `status`, decided from what was found.

Counts and a short sample, never a list of all namespaces: with thousands of them that list would be written, and
read by everybody, at each change (external-secrets#1441).
"""

from __future__ import annotations

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


class SyncState(StrEnum):
    """How a namespace's pull secret stands."""

    SYNCED = "synced"
    WAITING = "waiting"
    FAILED = "failed"
    CONFLICTING = "conflicting"
    PENDING = "pending"


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
    PAUSED = "Paused"
    INVALID_LICENSE = "InvalidLicense"
    INVALID_EXPIRY = "InvalidExpiry"
    NOT_HONOURED = "NamespaceNotHonoured"
    HELD = "ApplicationUnknown"
    ALL_SYNCED = "AllSynced"
    SYNCING = "Syncing"
    CONFLICT = "Conflict"
    SYNC_FAILED = "SyncFailed"
    EXCLUDED = "Excluded"
    TABLE_TOO_LARGE = "RoutingTableTooLarge"
    BOUND = "Bound"
    NOT_BOUND = "NotBound"
    ENTRIES_SKIPPED = "EntriesSkipped"
    HOST_OVERRIDDEN = "HostOverridden"


@dataclass(frozen=True, slots=True)
class LicenseReport:
    """Everything that a License's status is made of.

    Attributes:
        lic: the License, or None when it could not be read.
        problem: why it could not be read or is not used.
        problem_reason: the reason code for that.
        held: its routes were taken over because an Application became unknown.
        results: what came of each namespace it covers.
        secret_name: where its credential goes.
        own_namespace_excluded: no pull secret in its own namespace.
    """

    lic: License | None
    problem: str = ""
    problem_reason: str = ""
    held: bool = False
    results: Mapping[str, SyncResult] = field(default_factory=dict)
    secret_name: str = ""
    own_namespace_excluded: bool = False


def license_conditions(report: LicenseReport) -> list[Condition]:
    """Decide `Ready` and `Synced`."""
    return [_license_ready(report), _license_synced(report)]


def _license_ready(report: LicenseReport) -> Condition:
    """Tell whether the License is used."""
    lic = report.lic
    if report.problem or lic is None:
        return Condition("Ready", ConditionStatus.FALSE, report.problem_reason, report.problem)
    if lic.paused:
        text = "paused by annotation: nothing is written or deleted for it, published routes stay"
        return Condition("Ready", ConditionStatus.UNKNOWN, StatusReason.PAUSED, text)
    if lic.expiry.problem:
        text = f"{lic.expiry.problem}; its last good state is kept"
        return Condition("Ready", ConditionStatus.FALSE, StatusReason.INVALID_EXPIRY, text)
    if report.held:
        text = "an Application it was bound to is gone with its CustomResourceDefinition: apply it again"
        return Condition("Ready", ConditionStatus.UNKNOWN, StatusReason.HELD, text)
    notes = [*lic.problems, *([_EXCLUDED] if report.own_namespace_excluded else [])]
    reason = StatusReason.EXCLUDED if report.own_namespace_excluded else StatusReason.USABLE
    return Condition("Ready", ConditionStatus.TRUE, reason, "; ".join(notes) or "the License is used")


_EXCLUDED: Final = "its own namespace is excluded and gets no pull secret"


def _license_synced(report: LicenseReport) -> Condition:
    """Tell whether every namespace has its pull secret."""
    counts = count_states(report.results.values())
    if counts[SyncState.CONFLICTING]:
        text = (
            f"in {counts[SyncState.CONFLICTING]} namespaces a Secret {report.secret_name} is not ours and was left "
            "alone: rename it, or annotate it proxy.kots.io/adopt=true"
        )
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.CONFLICT, text)
    if counts[SyncState.FAILED]:
        text = f"{counts[SyncState.FAILED]} namespaces failed; status.failures names them"
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.SYNC_FAILED, text)
    if counts[SyncState.WAITING]:
        text = "pull secrets are being written"
        return Condition("Synced", ConditionStatus.FALSE, StatusReason.SYNCING, text)
    return Condition("Synced", ConditionStatus.TRUE, StatusReason.ALL_SYNCED, "every namespace has its pull secret")


def license_fields(report: LicenseReport) -> dict[str, Any]:
    """Write what of a License's status is no condition."""
    counts = count_states(report.results.values())
    desired = sum(counts.values()) - counts[SyncState.PENDING]
    expiry = report.lic.expiry.at if report.lic else None
    return {
        "expiresAt": format_timestamp(expiry) if expiry else None,
        "secretName": report.secret_name,
        "namespaces": {
            "desired": desired,
            "synced": counts[SyncState.SYNCED],
            "failed": counts[SyncState.FAILED],
            "conflicting": counts[SyncState.CONFLICTING],
            "pending": counts[SyncState.PENDING],
            "summary": f"{counts[SyncState.SYNCED]}/{desired}",
        },
        "failures": _sample_failures(report.results),
    }


def count_states(results: Iterable[SyncResult]) -> dict[SyncState, int]:
    """Count namespaces by state."""
    counts = dict.fromkeys(SyncState, 0)
    for result in results:
        counts[result.state] += 1
    return counts


def _sample_failures(results: Mapping[str, SyncResult]) -> list[dict[str, str]]:
    """Name the first failing namespaces in alphabetical order."""
    failing = sorted(
        (name, result) for name, result in results.items() if result.state in {SyncState.FAILED, SyncState.CONFLICTING}
    )
    return [
        {"namespace": name, "reason": result.reason, "message": result.message[:_LONGEST_MESSAGE]}
        for name, result in failing[:_MOST_FAILURES]
    ]


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
        text = "; ".join(filter(None, (note, *application.problems)))[:1024]
        return [Condition("Ready", ConditionStatus.FALSE, reason, text)]
    return [Condition("Ready", ConditionStatus.TRUE, StatusReason.BOUND, "bound to the License of its namespace")]


def application_fields(application: Application) -> dict[str, Any]:
    """Write what of an Application's status is no condition."""
    names: Sequence[str] = (*application.namespaces, *(["*"] if application.every_namespace else []))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return {"namespaces": shown}
