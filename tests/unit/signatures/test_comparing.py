"""Which edits of a signed License are named, and what is no edit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, ids
from replicated_proxy.signatures.comparing import MOST_ADDED, MOST_NAMED, name_edits

SIGNED: Json = {
    "appSlug": "my-app",
    "licenseID": "an-id",
    "licenseSequence": 7,
    "isAirgapSupported": True,
    "isEmbeddedClusterMultinodeEnabled": True,
    "channels": [
        {"channelID": "c1", "isDefault": True, "isSemverRequired": False},
        {"channelID": "c2", "endpoint": "https://updates.acme.com"},
    ],
    "entitlements": {
        "seats": {"title": "Seats", "value": 10, "valueType": "Integer"},
        "plan": {"title": "Plan", "valueType": "Enum"},
    },
}
ENTITLEMENT = "entitlements"


def _set(*path: str | int, to: Any) -> Callable[[Json], None]:
    """Return an edit that sets the value at a path."""

    def edit(spec: Any) -> None:
        for step in path[:-1]:
            spec = spec[step]
        spec[path[-1]] = to

    return edit


def _drop(*path: str | int) -> Callable[[Json], None]:
    """Return an edit that takes away what stands at a path."""

    def edit(spec: Any) -> None:
        for step in path[:-1]:
            spec = spec[step]
        del spec[path[-1]]

    return edit


EDITS: list[tuple[str, Callable[[Json], None], str]] = [
    ("ID", _set("licenseID", to="other"), "spec.licenseID"),
    ("ID dropped", _drop("licenseID"), "spec.licenseID"),
    ("ID in another case", _set("LICENSEID", to="other"), "spec.licenseID"),
    ("domain added", _set("replicatedProxyDomain", to="evil.example.com"), "spec.replicatedProxyDomain"),
    ("number for text", _set("licenseID", to=5), "spec.licenseID"),
    ("deep for text", _set("licenseID", to=[[]]), "spec.licenseID"),
    ("flag", _set("isAirgapSupported", to=False), "spec.isAirgapSupported"),
    ("one for true", _set("isAirgapSupported", to=1), "spec.isAirgapSupported"),
    ("flag added", _set("isEmbeddedClusterRookEnabled", to=True), "spec.isEmbeddedClusterRookEnabled"),
    ("flag of odd case", _set("isEmbeddedClusterMultinodeEnabled", to=False), "spec.isEmbeddedClusterMultiNodeEnabled"),
    ("sequence", _set("licenseSequence", to=8), "spec.licenseSequence"),
    ("channel", _set("channels", 1, "endpoint", to="https://evil.example.com"), "spec.channels[1].endpoint"),
    (
        "channel domain",
        _set("channels", 0, "replicatedProxyDomain", to="a.b"),
        "spec.channels[0].replicatedProxyDomain",
    ),
    ("channel dropped", _drop("channels", 1), "spec.channels"),
    ("channels dropped", _drop("channels"), "spec.channels"),
    ("channel of another type", _set("channels", 0, to="c1"), "spec.channels[0].channelID, spec.channels[0].isDefault"),
    (
        "channels turned around",
        lambda spec: spec["channels"].reverse(),
        ", ".join(
            f"spec.channels[{place}].{name}" for place in (0, 1) for name in ("channelID", "endpoint", "isDefault")
        ),
    ),
    ("value", _set(ENTITLEMENT, "seats", "value", to=99), "spec.entitlements.seats.value"),
    ("value as text", _set(ENTITLEMENT, "seats", "value", to="10"), "spec.entitlements.seats.value"),
    ("value added", _set(ENTITLEMENT, "plan", "value", to="gold"), "spec.entitlements.plan.value"),
    ("title", _set(ENTITLEMENT, "plan", "title", to="Plot"), "spec.entitlements.plan.title"),
    ("hidden", _set(ENTITLEMENT, "plan", "isHidden", to=True), "spec.entitlements.plan.isHidden"),
    ("entitlement added", _set(ENTITLEMENT, "gpu", to={}), "spec.entitlements.gpu"),
    ("entitlement dropped", _drop(ENTITLEMENT, "seats"), "spec.entitlements.seats"),
    ("entitlements dropped", _drop(ENTITLEMENT), "spec.entitlements.plan, spec.entitlements.seats"),
    ("name with a space", _set(ENTITLEMENT, "a b", to={}), "spec.entitlements['a b']"),
    ("name that controls", _set(ENTITLEMENT, "a\n\x1b[1m", to={}), r"spec.entitlements['a\n\x1b[1m']"),
    ("long name", _set(ENTITLEMENT, "a" * 10_000, to={}), f"spec.entitlements['{'a' * 59}…]"),
    ("long escapes", _set(ENTITLEMENT, "\x01" * 60, to={}), "spec.entitlements['" + r"\x01" * 14 + r"\x0…]"),
]

NO_EDITS: list[tuple[str, Callable[[Json], None]]] = [
    ("nothing", lambda _: None),
    ("empty signatures", _set(ENTITLEMENT, "seats", "signature", to={})),
    ("key in another case", lambda spec: spec.update(isEmbeddedClusterMultiNodeEnabled=True)),
    ("empty text added", _set("endpoint", to="")),
    ("false added", _set("isGitOpsSupported", to=False)),
    ("null added", _set("customerName", to=None)),
    ("false dropped", _drop("channels", 0, "isSemverRequired")),
    ("empty value added", _set(ENTITLEMENT, "plan", "value", to="")),
    ("empty description", _set(ENTITLEMENT, "plan", "description", to="")),
    ("number as a float", _set("licenseSequence", to=7.0)),
    ("unknown field", _set("isKotsInstallEnabled", to=True)),
    ("unknown field of a channel", _set("channels", 0, "colour", to="red")),
    ("signature", _set("signature", to="something")),
]


@pytest.mark.parametrize(("edit", "named"), [row[1:] for row in EDITS], ids=ids(EDITS))
def test_edit_is_named(edit: Callable[[Json], None], named: str) -> None:
    """An edited field is named by its path, and not what stands there."""
    outer = copy.deepcopy(SIGNED)
    edit(outer)

    assert name_edits(outer, SIGNED) == named


@pytest.mark.parametrize("edit", [row[1] for row in NO_EDITS], ids=ids(NO_EDITS))
def test_other_spelling_is_no_edit(edit: Callable[[Json], None]) -> None:
    """What Go reads as the same License raises no false alarm, whichever copy says it so."""
    outer = copy.deepcopy(SIGNED)
    edit(outer)

    assert name_edits(outer, SIGNED) == ""
    assert name_edits(SIGNED, outer) == ""


def _add_entitlements(count: int) -> Json:
    """Return the spec with entitlements added to it."""
    return SIGNED | {"entitlements": SIGNED["entitlements"] | {f"e{number}": {} for number in range(count)}}


def test_many_edits_are_counted() -> None:
    """The first of many are named in order, the others are counted."""
    named = name_edits(_add_entitlements(MOST_ADDED), SIGNED)

    assert named.startswith("spec.entitlements.e0, spec.entitlements.e1, spec.entitlements.e10, ")
    assert named.endswith(f" and {MOST_ADDED - MOST_NAMED} more")


def test_very_many_added_entitlements_are_named_as_one() -> None:
    """Beyond the bound nobody compares entitlement by entitlement."""
    assert name_edits(_add_entitlements(MOST_ADDED + 1), SIGNED) == "spec.entitlements"


@given(st.lists(st.text(), min_size=1, max_size=30, unique=True))
def test_names_stay_short(names: list[str]) -> None:
    """Whatever entitlements are called, the sentence fits into a condition and on one line."""
    named = name_edits({"entitlements": {name: {} for name in names}}, {})

    assert 0 < len(named) <= 1000
    assert named.isprintable()
