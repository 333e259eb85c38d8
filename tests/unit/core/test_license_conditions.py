"""What a License says about itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import a_license, ids
from replicated_proxy.core.conditions import Condition
from replicated_proxy.core.license_conditions import LicenseReport, license_conditions, license_fields
from replicated_proxy.core.licenses import ExpiryPolicy
from replicated_proxy.core.signatures import Signature, SignaturePolicy, SignatureState
from replicated_proxy.core.statuses import SyncResult, SyncState, tally_results
from replicated_proxy.core.validity import ExpiryStanding, ValidityPolicy

SYNCED, PENDING, WAITING = SyncResult(SyncState.SYNCED), SyncResult(SyncState.PENDING), SyncResult(SyncState.WAITING)
FAILED = SyncResult(SyncState.FAILED, "Forbidden", "quota exceeded")
CONFLICT = SyncResult(SyncState.CONFLICTING, "Conflict", "not ours")
EXPIRING: dict[str, Any] = {
    "entitlements": {"expires_at": {"value": "2030-07-27T02:00:00+02:00", "valueType": "String"}}
}
UNREADABLE: dict[str, Any] = {"entitlements": {"expires_at": {"value": "soon", "valueType": "String"}}}
PAUSED: dict[str, Any] = {"annotations": {"proxy.kots.io/paused": "true"}}
DELETING: dict[str, Any] = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


UNACCEPTED = replace(
    a_license(), signature=Signature(SignatureState.INVALID, "the envelope is no JSON"), accepted=False
)
ENFORCE = ValidityPolicy(signature=SignaturePolicy.ENFORCE)


def a_report(**differs: Any) -> LicenseReport:
    """Return the report of a License that is used."""
    fields: dict[str, Any] = {"lic": a_license(), "secret_name": "replicated-proxy-registry"}
    if "results" in differs:
        differs["tally"] = tally_results(differs.pop("results"))
    return LicenseReport(**(fields | differs))


def summary(condition: Condition) -> tuple[str, str, str]:
    """Return what of a condition is not prose."""
    return (condition.type, condition.status, condition.reason)


READY: list[tuple[str, LicenseReport, str, str]] = [
    ("used", a_report(), "True", "Usable"),
    ("own namespace excluded", a_report(own_namespace_excluded=True), "True", "Excluded"),
    ("shadowed", a_report(shadows={"other/my-app": 2}), "True", "Shadowed"),
    ("shadowed and excluded", a_report(shadows={"a/b": 2}, own_namespace_excluded=True), "True", "Shadowed"),
    ("being deleted", a_report(lic=a_license(metadata=DELETING)), "False", "Deleting"),
    ("paused and being deleted", a_report(lic=a_license(metadata=PAUSED | DELETING)), "False", "Deleting"),
    ("paused and shadowed", a_report(lic=a_license(metadata=PAUSED), shadows={"a/b": 1}), "Unknown", "Paused"),
    ("paused", a_report(lic=a_license(metadata=PAUSED)), "Unknown", "Paused"),
    ("unreadable expiry", a_report(lic=a_license(**UNREADABLE)), "False", "InvalidExpiry"),
    ("held", a_report(held=True), "Unknown", "ApplicationUnknown"),
    ("paused and held", a_report(lic=a_license(metadata=PAUSED), held=True), "Unknown", "Paused"),
    (
        "paused with an unreadable expiry",
        a_report(lic=a_license(metadata=PAUSED, **UNREADABLE)),
        "Unknown",
        "Paused",
    ),
    ("expired and retained", a_report(lic=a_license(**EXPIRING), standing=ExpiryStanding.RETAINED), "False", "Expired"),
    ("expired and revoked", a_report(lic=a_license(**EXPIRING), standing=ExpiryStanding.REVOKED), "False", "Expired"),
    ("clocks disagree", a_report(standing=ExpiryStanding.CLOCK_DISAGREES), "False", "Expired"),
    ("expiring soon", a_report(lic=a_license(**EXPIRING), standing=ExpiryStanding.SOON), "True", "Usable"),
    (
        "paused and expired",
        a_report(lic=a_license(metadata=PAUSED), standing=ExpiryStanding.REVOKED),
        "Unknown",
        "Paused",
    ),
    ("signature not accepted", a_report(lic=UNACCEPTED), "False", "SignatureNotAccepted"),
    ("source in doubt", a_report(lic=None, problem="gone", problem_reason="SourceUnknown"), "Unknown", "SourceUnknown"),
    (
        "unreadable",
        a_report(lic=None, problem="spec.licenseID is empty", problem_reason="InvalidLicense"),
        "False",
        "InvalidLicense",
    ),
    (
        "not honoured here",
        a_report(problem="not among sources.namespaces", problem_reason="NamespaceNotHonoured"),
        "False",
        "NamespaceNotHonoured",
    ),
]


@pytest.mark.parametrize(("report", "status", "reason"), [row[1:] for row in READY], ids=ids(READY))
def test_ready_says_whether_a_license_is_used(report: LicenseReport, status: str, reason: str) -> None:
    """Each state has its own reason; a frozen License is Unknown, one that cannot be read is False."""
    ready, *_ = license_conditions(report)

    assert ("Ready", status, reason) == summary(ready)
    assert ready.message


def test_ready_tells_what_was_left_out() -> None:
    """A domain that is no host does not make a License useless, but it is said."""
    ready, *_ = license_conditions(a_report(lic=a_license(replicatedProxyDomain="https://x")))
    expected = ("Ready", "True", "Usable")

    assert expected == summary(ready)
    assert "'https://x'" in ready.message


SYNCS: list[tuple[str, list[SyncResult], str, str]] = [
    ("none", [], "True", "AllSynced"),
    ("all", [SYNCED, SYNCED], "True", "AllSynced"),
    ("pending namespaces are no failure", [SYNCED, PENDING], "True", "AllSynced"),
    ("waiting", [SYNCED, WAITING], "False", "Syncing"),
    ("failed", [SYNCED, WAITING, FAILED], "False", "SyncFailed"),
    ("conflict before failure", [FAILED, CONFLICT, WAITING], "False", "Conflict"),
]


@pytest.mark.parametrize(("results", "status", "reason"), [row[1:] for row in SYNCS], ids=ids(SYNCS))
def test_synced_says_whether_every_namespace_has_its_secret(
    results: list[SyncResult], status: str, reason: str
) -> None:
    """The worst state among the namespaces gives the reason."""
    _, synced, *_ = license_conditions(a_report(results={f"ns-{number}": item for number, item in enumerate(results)}))

    assert ("Synced", status, reason) == summary(synced)


ENDS: list[tuple[str, ExpiryStanding, str, str, bool]] = [
    ("never", ExpiryStanding.NEVER, "False", "NeverExpires", False),
    ("later", ExpiryStanding.VALID, "False", "NotExpired", False),
    ("soon", ExpiryStanding.SOON, "False", "ExpiringSoon", True),
    ("retained", ExpiryStanding.RETAINED, "True", "Retained", True),
    ("revoked", ExpiryStanding.REVOKED, "True", "Revoked", True),
    ("frozen", ExpiryStanding.FROZEN, "True", "Frozen", True),
    ("clocks disagree", ExpiryStanding.CLOCK_DISAGREES, "True", "ClockDisagrees", True),
    ("unreadable", ExpiryStanding.UNREADABLE, "Unknown", "InvalidExpiry", True),
]


@pytest.mark.parametrize(("standing", "status", "reason", "alarming"), [row[1:] for row in ENDS], ids=ids(ENDS))
def test_expired_says_how_a_license_stands_to_its_end(
    standing: ExpiryStanding, status: str, reason: str, alarming: bool
) -> None:
    """Each standing has its reason; what somebody should act on is a warning, the rest no news when it is new."""
    lic = a_license(**(UNREADABLE if standing is ExpiryStanding.UNREADABLE else EXPIRING))
    expired = license_conditions(a_report(lic=lic, standing=standing))[3]

    assert ("Expired", status, reason) == summary(expired)
    assert alarming is expired.alarming is not expired.routine
    assert expired.message


DATED = [ExpiryStanding.VALID, ExpiryStanding.SOON, ExpiryStanding.RETAINED, ExpiryStanding.REVOKED]


@pytest.mark.parametrize("standing", DATED)
def test_end_is_told_as_a_date(standing: ExpiryStanding) -> None:
    """The message names the end, never the days left: those would be written anew each day."""
    expired = license_conditions(a_report(lic=a_license(**EXPIRING), standing=standing))[3]

    assert "2030-07-27T00:00:00Z" in expired.message


SIGNED: list[tuple[str, Signature, SignaturePolicy, str, str]] = [
    ("verified", Signature(SignatureState.VERIFIED), SignaturePolicy.WARN, "True", "genuine"),
    ("modified", Signature(SignatureState.MODIFIED, "spec.licenseID"), SignaturePolicy.WARN, "True", "spec.licenseID"),
    (
        "unsigned",
        Signature(SignatureState.UNSIGNED, "no signature"),
        SignaturePolicy.WARN,
        "False",
        "used all the same",
    ),
    ("enforced", Signature(SignatureState.INVALID, "truncated"), SignaturePolicy.ENFORCE, "False", "it is not used"),
    ("legacy", Signature(SignatureState.LEGACY, "old form"), SignaturePolicy.WARN, "False", "old form"),
    ("unknown key", Signature(SignatureState.UNKNOWN_KEY, "key 'x'"), SignaturePolicy.WARN, "False", "key 'x'"),
    ("MD5 refused", Signature(SignatureState.UNSUPPORTED, "MD5"), SignaturePolicy.WARN, "False", "MD5"),
    ("off", Signature(), SignaturePolicy.OFF, "Unknown", "license.signature is Off"),
]


@pytest.mark.parametrize(("signature", "policy", "status", "words"), [row[1:] for row in SIGNED], ids=ids(SIGNED))
def test_signature_verified_says_what_came_of_it_and_what_follows(
    signature: Signature, policy: SignaturePolicy, status: str, words: str
) -> None:
    """The state is the reason; the message says why, and whether the License is used nevertheless."""
    lic = replace(a_license(), signature=signature)
    verified = license_conditions(a_report(lic=lic, policy=ValidityPolicy(signature=policy)))[2]

    assert ("SignatureVerified", status, signature.state) == summary(verified)
    assert words in verified.message


def test_unaccepted_license_says_why_and_what_stays() -> None:
    """Whoever set `Enforce` reads the signature's problem in `Ready`, too."""
    ready, *_ = license_conditions(a_report(lic=UNACCEPTED, policy=ENFORCE))

    assert "the envelope is no JSON" in ready.message
    assert "last good state is kept" in ready.message


def test_revoked_license_waits_for_nothing() -> None:
    """With its credentials taken back there is nothing left to sync, unless a deletion fails."""
    revoked = {"standing": ExpiryStanding.REVOKED, "policy": ValidityPolicy(on_expiry=ExpiryPolicy.REVOKE)}
    _, done, *_ = license_conditions(a_report(**revoked))
    _, failed, *_ = license_conditions(a_report(results={"a": FAILED}, **revoked))

    assert [
        summary(done),
        summary(failed),
    ] == [("Synced", "True", "CredentialsRevoked"), ("Synced", "False", "SyncFailed")]


def test_renewed_license_that_waits_for_the_clocks_is_not_told_to_be_renewed() -> None:
    """Its end lies ahead; what keeps its credentials away is the clocks, and so it says."""
    report = a_report(lic=a_license(**EXPIRING), standing=ExpiryStanding.REVOKED, renewed=True)
    ready, _, _, expired = license_conditions(report)

    assert "clocks" in ready.message
    assert "it ends at 2030-07-27T00:00:00Z" in expired.message
    assert "apply a renewed license" not in ready.message + expired.message


def test_license_that_cannot_be_read_has_two_conditions() -> None:
    """Of a License without an ID nobody can say whether it is genuine or has ended."""
    conditions = license_conditions(
        a_report(lic=None, problem="spec.licenseID is empty", problem_reason="InvalidLicense")
    )

    assert [condition.type for condition in conditions] == ["Ready", "Synced"]


FROZEN: list[tuple[str, dict[str, Any]]] = [
    ("paused", {"lic": a_license(metadata=PAUSED)}),
    ("unreadable expiry", {"lic": a_license(**UNREADABLE)}),
    ("signature not accepted", {"lic": UNACCEPTED}),
    ("held", {"held": True}),
]


@pytest.mark.parametrize("differs", [row[1] for row in FROZEN], ids=ids(FROZEN))
def test_namespace_that_a_frozen_license_cannot_serve_is_not_said_to_be_on_its_way(differs: dict[str, Any]) -> None:
    """While nothing is written nobody has to wait for it: Synced is Unknown, with the number; failures go first."""
    _, held, *_ = license_conditions(a_report(results={"a": SYNCED, "b": WAITING}, **differs))
    _, failed, *_ = license_conditions(a_report(results={"a": FAILED, "b": WAITING}, **differs))
    _, synced, *_ = license_conditions(a_report(results={"a": SYNCED}, **differs))
    expected = [("Synced", "Unknown", "Held"), ("Synced", "False", "SyncFailed"), ("Synced", "True", "AllSynced")]

    assert expected == [summary(item) for item in (held, failed, synced)]
    assert "1 namespace had" in held.message


def test_shadowed_license_names_those_that_count() -> None:
    """The message names three Licenses in alphabetical order, each with its namespaces, and counts the rest."""
    ready, *_ = license_conditions(a_report(shadows={f"ns-{number}/my-app": number for number in (4, 2, 1, 3)}))
    expected = "ns-1/my-app in 1 namespace, ns-2/my-app in 2 namespaces, ns-3/my-app in 3 namespaces and 1 others"

    assert expected in ready.message


def test_conflict_names_the_secret_and_the_way_out() -> None:
    """Whoever reads the condition learns what to rename or annotate."""
    _, synced, *_ = license_conditions(a_report(results={"a": CONFLICT}))
    expected = [True, True]

    assert expected == [text in synced.message for text in ("replicated-proxy-registry", "proxy.kots.io/adopt")]


def test_fields_count_namespaces() -> None:
    """Desired counts those that exist; pending ones are told apart."""
    results = {"a": SYNCED, "b": SYNCED, "c": FAILED, "d": CONFLICT, "e": PENDING, "f": WAITING}
    fields = license_fields(a_report(lic=a_license(**EXPIRING), results=results))
    expected = {
        "expiresAt": "2030-07-27T00:00:00Z",
        "secretName": "replicated-proxy-registry",
        "namespaces": {"desired": 5, "synced": 2, "failed": 1, "conflicting": 1, "pending": 1, "summary": "2/5"},
        "failures": [
            {"namespace": "c", "reason": "Forbidden", "message": "quota exceeded"},
            {"namespace": "d", "reason": "Conflict", "message": "not ours"},
        ],
    }

    assert expected == fields


def test_license_without_expiry_has_none_in_its_status() -> None:
    """Null takes an earlier value out, also for a License that cannot be read."""
    expected = [None, None]

    assert expected == [license_fields(a_report(lic=lic))["expiresAt"] for lic in (a_license(), None)]


def test_failures_are_a_short_sorted_sample() -> None:
    """At most 20 namespaces are named, in alphabetical order, with messages of at most 256 characters."""
    long = SyncResult(SyncState.FAILED, "Forbidden", "x" * 5_000)
    results = {f"ns-{number:03}": long for number in reversed(range(100))}
    failures = license_fields(a_report(results=results))["failures"]

    assert [f"ns-{number:03}" for number in range(20)] == [one["namespace"] for one in failures]
    assert {256} == {len(one["message"]) for one in failures}


def test_status_never_shows_the_license_id() -> None:
    """Neither conditions nor fields hold the credential."""
    report = a_report(lic=a_license(licenseID="s3cr3t-license", **UNREADABLE))

    assert "s3cr3t" not in f"{license_conditions(report)} {license_fields(report)} {report!r}"


NEVER_USED: list[tuple[str, dict[str, Any]]] = [
    ("paused", {"lic": a_license(metadata=PAUSED)}),
    ("unreadable expiry", {"lic": a_license(**UNREADABLE)}),
    ("signature not accepted", {"lic": UNACCEPTED}),
]


@pytest.mark.parametrize("differs", [row[1] for row in NEVER_USED], ids=ids(NEVER_USED))
def test_license_that_never_was_in_effect_is_not_said_to_be_kept(differs: dict[str, Any]) -> None:
    """Frozen from its first day it has no last good state, and says that no pull secret is made."""
    never, *_ = license_conditions(a_report(in_effect=False, **differs))
    before, *_ = license_conditions(a_report(**differs))

    assert "no pull secret is made" in never.message
    assert "last good state is kept" in before.message
