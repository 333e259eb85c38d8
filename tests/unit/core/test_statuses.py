"""What Applications say about themselves, and how results of namespaces are summed up."""

from __future__ import annotations

import pytest

from builders import an_application, ids
from replicated_proxy.core.conditions import Condition
from replicated_proxy.core.statuses import (
    SyncResult,
    SyncState,
    application_conditions,
    application_fields,
    merge_tallies,
    only_failures,
    tally_results,
)

SYNCED, PENDING, WAITING = SyncResult(SyncState.SYNCED), SyncResult(SyncState.PENDING), SyncResult(SyncState.WAITING)
FAILED = SyncResult(SyncState.FAILED, "Forbidden", "quota exceeded")
CONFLICT = SyncResult(SyncState.CONFLICTING, "Conflict", "not ours")


def summary(condition: Condition) -> tuple[str, str, str]:
    """Return what of a condition is not prose."""
    return (condition.type, condition.status, condition.reason)


def test_tallies_add_up() -> None:
    """Summing up parts gives what summing up the whole does."""
    results = {f"ns-{number:02}": (SYNCED, FAILED, CONFLICT, PENDING, WAITING)[number % 5] for number in range(90)}
    parts = [dict(list(results.items())[start::7]) for start in range(7)]

    assert tally_results(results) == merge_tallies(map(tally_results, parts))


def test_only_failures_keeps_what_somebody_has_to_look_at() -> None:
    """Where nothing is wanted any more a waiting or synced namespace is none of its business; a failure is."""
    kept = only_failures(tally_results({"a": SYNCED, "b": FAILED, "c": CONFLICT, "d": WAITING, "e": PENDING}))

    assert dict(kept.counts) == {SyncState.FAILED: 1, SyncState.CONFLICTING: 1}
    assert tuple(name for name, _ in kept.failures) == ("b", "c")


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
