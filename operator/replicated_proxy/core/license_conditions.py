"""What a License says about itself: four conditions, its end, and how many namespaces have their pull secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from replicated_proxy.core.conditions import Condition, ConditionStatus
from replicated_proxy.core.licenses import License
from replicated_proxy.core.objects import format_timestamp
from replicated_proxy.core.signatures import SignaturePolicy, SignatureState
from replicated_proxy.core.statuses import StatusReason, SyncState, Tally
from replicated_proxy.core.validity import ExpiryStanding, ValidityPolicy, freezes

_LONGEST_MESSAGE: Final = 256
_MOST_SHADOWS: Final = 3
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_KEPT: Final = "its last good state is kept"
_NEVER_USED: Final = "it has not been in effect before, so no pull secret is made for it"
_DELETING: Final = (
    "being deleted: it is no longer used, its credentials are taken back; a finalizer of somebody else keeps the object"
)
_PAUSED: Final = "paused by annotation proxy.kots.io/paused: nothing is written or deleted for it"
_APPLICATION_UNKNOWN: Final = "an Application it was bound to is gone with its CustomResourceDefinition: apply it again"
_EXPIRY_TEXTS: Final[Mapping[ExpiryStanding, str]] = {
    ExpiryStanding.NEVER: "it has no end",
    ExpiryStanding.VALID: "it ends at {end}",
    ExpiryStanding.SOON: "it ends at {end}: apply a renewed license before that",
    ExpiryStanding.RETAINED: (
        "it ended at {end}; pull secrets and rewriting stay (license.onExpiry is Retain), but the registry refuses new "
        "pulls: apply a renewed license"
    ),
    ExpiryStanding.REVOKED: (
        "it ended at {end}; its credentials were taken back and images are not rewritten for it (license.onExpiry is "
        "Revoke): apply a renewed license"
    ),
    ExpiryStanding.FROZEN: "it ended at {end}; nothing follows from that while nothing is written for it, see Ready",
    ExpiryStanding.CLOCK_DISAGREES: (
        "by the controller's clock it ended at {end}, but that clock and the API server's do not agree within 5 "
        "minutes: nothing is revoked until they do; check the clocks of the nodes"
    ),
}
_RENEWED: Final = (
    "it ends at {end}, and its credentials were taken back at an earlier end: they are given back when the "
    "controller's clock and the API server's agree within 5 minutes; check the clocks of the nodes"
)


@dataclass(frozen=True, slots=True)
class LicenseReport:
    """Everything that a License's status is made of.

    Attributes:
        lic: as parsed; None when it could not be.
        problem: why it is not used, or empty.
        problem_reason: the condition reason that goes with it.
        held: its routes are kept although something about it is unknown.
        tally: what came of the namespaces that it covers.
        shadows: `namespace/name` of each License of the same application that gives the credentials instead, with
            the number of namespaces where it does.
        secret_name: where its credential goes.
        own_namespace_excluded: no pull secret in its own namespace.
        in_effect: it has a place in the routing table.
        leaving: pull secrets still hold its credentials, which are not wanted there any more.
        renewed: its credentials were taken back at an earlier end, and clocks have to agree before they are given back.
        standing: how it stands to its end.
        policy: the administrator's part.
    """

    lic: License | None
    problem: str = ""
    problem_reason: str = ""
    held: bool = False
    tally: Tally = field(default_factory=Tally)
    shadows: Mapping[str, int] = field(default_factory=dict)
    secret_name: str = ""
    own_namespace_excluded: bool = False
    in_effect: bool = True
    leaving: bool = False
    renewed: bool = False
    standing: ExpiryStanding = ExpiryStanding.NEVER
    policy: ValidityPolicy = ValidityPolicy()

    @property
    def frozen(self) -> bool:
        """Tell whether nothing new is written for it."""
        return self.held or (self.lic is not None and freezes(self.lic))

    @property
    def kept(self) -> str:
        """What is left of a frozen License, in words."""
        return _KEPT if self.in_effect else _NEVER_USED


def license_conditions(report: LicenseReport) -> list[Condition]:
    """Decide `Ready`, `Synced`, `SignatureVerified` and `Expired`; the last two only of what could be read."""
    conditions = [_decide_ready(report), _decide_synced(report)]
    if report.lic is not None:
        conditions += [_decide_signature(report.lic, report.policy), _decide_expired(report, report.lic)]
    return conditions


def _decide_ready(report: LicenseReport) -> Condition:
    """Tell whether the License is used."""
    lic = report.lic
    if report.problem or lic is None:
        status = _UNKNOWN if report.problem_reason == StatusReason.SOURCE_UNKNOWN else _FALSE
        return Condition("Ready", status, report.problem_reason, report.problem, warning=True)
    unaccepted = f"{lic.signature.detail}; license.signature is Enforce, and {report.kept}"
    obstacles = (
        (lic.deleting, _FALSE, StatusReason.DELETING, _DELETING),
        (lic.paused, _UNKNOWN, StatusReason.PAUSED, f"{_PAUSED}; {report.kept}"),
        (not lic.accepted, _FALSE, StatusReason.SIGNATURE_NOT_ACCEPTED, unaccepted),
        (bool(lic.expiry.problem), _FALSE, StatusReason.INVALID_EXPIRY, f"{lic.expiry.problem}; {report.kept}"),
        (report.held, _UNKNOWN, StatusReason.APPLICATION_UNKNOWN, _APPLICATION_UNKNOWN),
        (report.standing.passed, _FALSE, StatusReason.EXPIRED, _describe_end(report, lic)),
    )
    for applies, status, reason, text in obstacles:
        if applies:
            return Condition("Ready", status, reason, text)
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
    return Condition("Ready", _TRUE, reason, "; ".join(notes) or "the License is used")


def _describe_shadows(shadows: Mapping[str, int]) -> str:
    """Say which Licenses of the same application go before this one, and where."""
    named = [f"{key} in {_count(number)}" for key, number in sorted(shadows.items())[:_MOST_SHADOWS]]
    more = f" and {len(shadows) - _MOST_SHADOWS} others elsewhere" if len(shadows) > _MOST_SHADOWS else ""
    return f"another License of this application gives the credentials: {', '.join(named)}{more}"


def _decide_synced(report: LicenseReport) -> Condition:
    """Tell whether every namespace has its pull secret."""
    tally = report.tally
    if conflicting := tally.count(SyncState.CONFLICTING):
        text = (
            f"in {_count(conflicting)} a Secret {report.secret_name} is not ours and was left "
            "alone: rename it, or annotate it proxy.kots.io/adopt=true"
        )
        return Condition("Synced", _FALSE, StatusReason.CONFLICT, text)
    if failed := tally.count(SyncState.FAILED):
        text = f"it could not be written in {_count(failed)}; status.failures names them"
        return Condition("Synced", _FALSE, StatusReason.SYNC_FAILED, text)
    waiting = tally.count(SyncState.WAITING)
    if waiting and report.frozen:
        text = f"nothing is written while {_KEPT}, and {_count(waiting)} had no pull secret before; see Ready"
        return Condition("Synced", _UNKNOWN, StatusReason.HELD, text)
    if waiting:
        return Condition("Synced", _FALSE, StatusReason.SYNCING, "pull secrets are being written", warning=False)
    return _decide_settled(report)


def _decide_settled(report: LicenseReport) -> Condition:
    """Tell what there is to tell when no namespace waits for its pull secret, nor failed to get it."""
    if report.leaving and not report.frozen:
        return Condition("Synced", _FALSE, StatusReason.SYNCING, "its credentials are being taken back", warning=False)
    if report.standing is ExpiryStanding.REVOKED:
        return Condition("Synced", _TRUE, StatusReason.CREDENTIALS_REVOKED, "no pull secret holds its credentials")
    served = bool(report.tally.counts)
    text = "every namespace has its pull secret" if served else "no namespace takes its credentials from it"
    return Condition("Synced", _TRUE, StatusReason.ALL_SYNCED, text)


def _count(namespaces: int) -> str:
    """Write how many namespaces."""
    return "1 namespace" if namespaces == 1 else f"{namespaces} namespaces"


def _decide_signature(lic: License, policy: ValidityPolicy) -> Condition:
    """Tell whether the vendor signed what counts."""
    signature = lic.signature
    if signature.state is SignatureState.NOT_CHECKED:
        text = signature.detail or "not checked: license.signature is Off"
        return Condition("SignatureVerified", _UNKNOWN, signature.state, text, routine=True)
    if signature.state is SignatureState.VERIFIED:
        return Condition("SignatureVerified", _TRUE, signature.state, "the vendor's signature is genuine", routine=True)
    if signature.state is SignatureState.MODIFIED:
        text = f"edited after signing, without effect, since the signed values count: {signature.detail}"
        return Condition("SignatureVerified", _TRUE, signature.state, text, warning=True)
    used = "it is not used" if policy.signature is SignaturePolicy.ENFORCE else "it is used all the same"
    text = f"{signature.detail}; {used} (license.signature is {policy.signature})"
    return Condition("SignatureVerified", _FALSE, signature.state, text)


def _decide_expired(report: LicenseReport, lic: License) -> Condition:
    """Tell whether the License has ended."""
    standing = report.standing
    if standing is ExpiryStanding.UNREADABLE:
        return Condition("Expired", _UNKNOWN, standing, lic.expiry.problem, warning=True)
    status = _TRUE if standing.passed else _FALSE
    warning = standing.passed or standing is ExpiryStanding.SOON
    return Condition("Expired", status, standing, _describe_end(report, lic), warning=warning, routine=not warning)


def _describe_end(report: LicenseReport, lic: License) -> str:
    """Say when a License ends, and what follows; never how many days are left, which would change each day."""
    end = format_timestamp(lic.expiry.at) if lic.expiry.at else ""
    text = _RENEWED if report.renewed else _EXPIRY_TEXTS.get(report.standing, "")
    return text.format(end=end)


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
