"""What Licenses and Applications say about themselves."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_license, an_application, ids
from replicated_proxy.core.conditions import Condition
from replicated_proxy.core.statuses import (
    LicenseReport,
    SyncResult,
    SyncState,
    application_conditions,
    application_fields,
    license_conditions,
    license_fields,
    merge_tallies,
    tally_results,
)

SYNCED, PENDING, WAITING = SyncResult(SyncState.SYNCED), SyncResult(SyncState.PENDING), SyncResult(SyncState.WAITING)
FAILED = SyncResult(SyncState.FAILED, "Forbidden", "quota exceeded")
CONFLICT = SyncResult(SyncState.CONFLICTING, "Conflict", "not ours")
EXPIRING: dict[str, Any] = {
    "entitlements": {"expires_at": {"value": "2030-07-27T02:00:00+02:00", "valueType": "String"}}
}
UNREADABLE: dict[str, Any] = {"entitlements": {"expires_at": {"value": "soon", "valueType": "String"}}}
PAUSED: dict[str, Any] = {"annotations": {"proxy.kots.io/paused": "true"}}
DELETING: dict[str, Any] = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


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
    ready, _ = license_conditions(report)

    assert ("Ready", status, reason) == summary(ready)
    assert ready.message


def test_ready_tells_what_was_left_out() -> None:
    """A domain that is no host does not make a License useless, but it is said."""
    ready, _ = license_conditions(a_report(lic=a_license(replicatedProxyDomain="https://x")))
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
    _, synced = license_conditions(a_report(results={f"ns-{number}": item for number, item in enumerate(results)}))

    assert ("Synced", status, reason) == summary(synced)


FROZEN: list[tuple[str, dict[str, Any]]] = [
    ("paused", {"lic": a_license(metadata=PAUSED)}),
    ("unreadable expiry", {"lic": a_license(**UNREADABLE)}),
    ("held", {"held": True}),
]


@pytest.mark.parametrize("differs", [row[1] for row in FROZEN], ids=ids(FROZEN))
def test_namespace_that_a_frozen_license_cannot_serve_is_not_said_to_be_on_its_way(differs: dict[str, Any]) -> None:
    """While nothing is written nobody has to wait for it: Synced is Unknown, with the number; failures go first."""
    _, held = license_conditions(a_report(results={"a": SYNCED, "b": WAITING}, **differs))
    _, failed = license_conditions(a_report(results={"a": FAILED, "b": WAITING}, **differs))
    _, synced = license_conditions(a_report(results={"a": SYNCED}, **differs))
    expected = [("Synced", "Unknown", "Held"), ("Synced", "False", "SyncFailed"), ("Synced", "True", "AllSynced")]

    assert expected == [summary(item) for item in (held, failed, synced)]
    assert "1 namespaces" in held.message


def test_shadowed_license_names_those_that_count() -> None:
    """The message names three Licenses in alphabetical order, each with its namespaces, and counts the rest."""
    ready, _ = license_conditions(a_report(shadows={f"ns-{number}/my-app": number for number in (4, 2, 1, 3)}))
    expected = "ns-1/my-app in 1 namespaces, ns-2/my-app in 2 namespaces, ns-3/my-app in 3 namespaces and 1 others"

    assert expected in ready.message


def test_tallies_add_up() -> None:
    """Summing up parts gives what summing up the whole does."""
    results = {f"ns-{number:02}": (SYNCED, FAILED, CONFLICT, PENDING, WAITING)[number % 5] for number in range(90)}
    parts = [dict(list(results.items())[start::7]) for start in range(7)]

    assert tally_results(results) == merge_tallies(map(tally_results, parts))


def test_conflict_names_the_secret_and_the_way_out() -> None:
    """Whoever reads the condition learns what to rename or annotate."""
    _, synced = license_conditions(a_report(results={"a": CONFLICT}))
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


NOTE = "proxyRegistryDomain 'b.acme.com' has no effect"
APPLICATIONS: list[tuple[str, tuple[str, ...], tuple[str, str], tuple[str, str, str]]] = [
    ("bound", ("a",), ("", ""), ("Ready", "True", "Bound")),
    ("not bound", ("a",), ("no License in this namespace", ""), ("Ready", "False", "NotBound")),
    ("skipped entries", ("a", "team-*"), ("", ""), ("Ready", "False", "EntriesSkipped")),
    ("not bound before skipped entries", ("team-*",), ("no License", ""), ("Ready", "False", "NotBound")),
    ("overridden host", ("a",), ("", NOTE), ("Ready", "False", "HostOverridden")),
    ("skipped entries before overridden host", ("team-*",), ("", NOTE), ("Ready", "False", "EntriesSkipped")),
]


@pytest.mark.parametrize(("names", "found", "expected"), [row[1:] for row in APPLICATIONS], ids=ids(APPLICATIONS))
def test_application_says_whether_it_has_an_effect(
    names: tuple[str, ...], found: tuple[str, str], expected: tuple[str, str, str]
) -> None:
    """Bound to a License, with every entry understood and in effect, an Application is Ready; else it says why."""
    (ready,) = application_conditions(an_application(*names), *found)

    assert expected == summary(ready)
    assert all(text in ready.message for text in found)


SHOWN: list[tuple[str, tuple[str, ...], str]] = [
    ("none", (), ""),
    ("one", ("a",), "a"),
    ("wildcard last", ("*", "a"), "a, *"),
    ("three", ("a", "b", "c"), "a, b, c"),
    ("more", ("a", "b", "c", "d", "*"), "a, b, c and 2 more"),
]


@pytest.mark.parametrize(("names", "expected"), [row[1:] for row in SHOWN], ids=ids(SHOWN))
def test_application_shows_its_namespaces_in_a_column(names: tuple[str, ...], expected: str) -> None:
    """The printer column names three and counts the rest."""
    assert {"namespaces": expected} == application_fields(an_application(*names))
