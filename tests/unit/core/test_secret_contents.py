"""What becomes of pull secrets while a License is held: frozen, or unknown because its kind is gone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_license, an_application, ids
from replicated_proxy.core.coverage import CoverageSettings, Sources, plan_table
from replicated_proxy.core.licenses import License
from replicated_proxy.core.pull_secrets import (
    Action,
    DesiredSecret,
    ObservedSecret,
    Ownership,
    plan_secret,
    read_secret,
    render_secret,
)
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.secret_contents import SecretContents

OWNERSHIP = Ownership("operators/release", "pull")
SETTINGS = CoverageSettings("pull", frozenset({"kube-system"}))
NOTHING_YET = RoutingTable("pull")
PAUSED = {"annotations": {"proxy.kots.io/paused": "true"}}


def a_vendor(
    slug: str, license_id: str = "", *, paused: bool = False, created: str = "2026-01-01T00:00:00Z", domain: str = ""
) -> License:
    """Return a License of an application in the namespace `home`."""
    metadata = {"namespace": "home", "creationTimestamp": created, **(PAUSED if paused else {})}
    return a_license(slug, metadata=metadata, licenseID=license_id or f"{slug}-id", replicatedProxyDomain=domain)


def contents(licenses: Iterable[License], previous: SecretContents | None = None) -> SecretContents:
    """Plan contents for Licenses that cover every namespace, after what was published before."""
    licenses = tuple(licenses)
    labels = {lic.app_slug: {"kots.io/app-slug": lic.app_slug} for lic in licenses}
    applications = tuple(
        an_application("*", metadata={"namespace": "home", "name": slug, "labels": label})
        for slug, label in labels.items()
    )
    published = previous.plan.table if previous else NOTHING_YET
    planned = plan_table(Sources(licenses, applications), (), SETTINGS, published)
    return SecretContents(planned, {lic.identity.uid: lic for lic in licenses})


def stored(desired: DesiredSecret | None) -> ObservedSecret | None:
    """Return the copy that stands in a namespace after this was written there."""
    return read_secret(render_secret("ns", desired, OWNERSHIP), OWNERSHIP) if desired else None


def auths(desired: DesiredSecret | None) -> dict[str, str]:
    """Return the entries, text by key."""
    entries = json.loads(desired.content)["auths"] if desired else {}
    return {key: entry["auth"] for key, entry in entries.items()}


def of(slug: str, entries: dict[str, str]) -> dict[str, str]:
    """Return the entries of one application's paths."""
    return {key: auth for key, auth in entries.items() if key.endswith(f"/{slug}/")}


HELD, LIVE = a_vendor("held"), a_vendor("live", created="2026-02-01T00:00:00Z")
FROZEN = a_vendor("held", "edited-id", paused=True, domain="edited.acme.com")


def test_copy_of_a_held_license_alone_is_kept() -> None:
    """Nothing is written for it, whatever was edited on the License meanwhile."""
    before = contents([HELD])
    copy = stored(before.desired("ns", None))
    desired = contents([FROZEN], before).desired("ns", copy)

    assert before.desired("ns", None) == desired
    assert plan_secret("ns", desired, copy).action is Action.NOTHING


def test_live_license_rotates_beside_a_held_one() -> None:
    """The new ID of the one is written, and the entries of the other keep every byte."""
    before = contents([HELD, LIVE])
    copy = stored(before.desired("ns", None))
    desired = contents([FROZEN, replace(LIVE, license_id=a_vendor("x", "rotated").license_id)], before).desired(
        "ns", copy
    )
    was, now = auths(before.desired("ns", None)), auths(desired)

    assert plan_secret("ns", desired, copy).action is Action.UPDATE
    assert (of("held", was), True) == (of("held", now), of("live", was) != of("live", now))
    assert was["proxy.replicated.com"] == now["proxy.replicated.com"]


def test_deleted_license_goes_beside_a_held_one() -> None:
    """A pause holds up no revocation: what is left is the copy of the held License alone."""
    before = contents([HELD, LIVE])
    copy = stored(before.desired("ns", None))
    desired = contents([FROZEN], before).desired("ns", copy)

    assert contents([HELD]).desired("ns", None) == desired
    assert plan_secret("ns", desired, copy).action is Action.UPDATE


def test_older_license_is_revoked_from_the_hosts_of_a_held_one() -> None:
    """The held License inherits the whole hosts from the older one that is gone."""
    older = a_vendor("older", created="2025-01-01T00:00:00Z")
    before = contents([older, HELD])
    desired = contents([FROZEN], before).desired("ns", stored(before.desired("ns", None)))

    assert contents([HELD]).desired("ns", None) == desired


def test_new_namespace_gets_only_what_is_live() -> None:
    """Nothing new is written for a held License, also where it reaches everything."""
    found = contents([FROZEN, LIVE], contents([HELD, LIVE]))

    assert contents([LIVE]).desired("made-tomorrow", None) == found.desired("made-tomorrow", None)


def test_new_namespace_under_a_held_license_alone_gets_nothing() -> None:
    """There is no copy to read its entries from."""
    found = contents([FROZEN], contents([HELD]))
    expected = (None, True)

    assert expected == (found.desired("ns", None), found.is_held("ns"))


STAGING = replace(a_vendor("held", domain="proxy.acme.com"), endpoint="staging.replicated.app")
MOVES: list[tuple[str, License, License]] = [
    ("a new domain: found by the default host", HELD, a_vendor("held", domain="proxy.acme.com")),
    ("a new endpoint: found by the domain", STAGING, replace(STAGING, endpoint="replicated.app")),
]


@pytest.mark.parametrize(("old", "new"), [row[1:] for row in MOVES], ids=ids(MOVES))
def test_held_license_survives_hosts_that_never_reached_the_copy(old: License, new: License) -> None:
    """Published with new hosts and paused before this copy was written, its entries are not lost."""
    first = contents([old, LIVE])
    moved = contents([new, LIVE], first)
    desired = contents([FROZEN, LIVE], moved).desired("ns", stored(first.desired("ns", None)))

    assert moved.desired("ns", None) == desired


UNREADABLE: list[tuple[str, bytes | None]] = [
    ("none", None),
    ("no JSON", b"{"),
    ("no UTF-8", b"\xff"),
    ("no object", b"[]"),
    ("no entries", b'{"auths":{}}'),
    ("not ours", b'{"auths":{"proxy.replicated.com":{"auth":"dXNlcjpwYXNzd29yZA=="}}}'),
]


@pytest.mark.parametrize("content", [row[1] for row in UNREADABLE], ids=ids(UNREADABLE))
def test_unreadable_copy_of_a_held_license_alone_is_left_as_it_is(content: bytes | None) -> None:
    """With nothing to keep and nothing else to write, "held" tells this from "not wanted"."""
    before = contents([HELD])
    copy = stored(before.desired("ns", None))
    assert copy is not None
    found, damaged = contents([FROZEN], before), replace(copy, content=content)
    expected = (None, True)

    assert expected == (found.desired("ns", damaged), found.is_held("ns", damaged))


def test_unreadable_copy_does_not_hold_up_a_live_license() -> None:
    """What is live is written; the lost entries come back when the License is no longer held."""
    before = contents([HELD, LIVE])
    copy = stored(before.desired("ns", None))
    assert copy is not None

    assert contents([LIVE]).desired("ns", None) == contents([FROZEN, LIVE], before).desired(
        "ns", replace(copy, content=b"{")
    )


def test_copy_that_notes_only_a_deleted_license_is_not_held() -> None:
    """Made while the held License was held already, it has none of its entries: revocation is not held up."""
    copy = stored(contents([LIVE]).desired("ns", None))
    found = contents([FROZEN], contents([HELD]))
    expected = (None, False, True)

    assert expected == (found.desired("ns", copy), found.is_held("ns", copy), found.is_held("ns"))
    assert plan_secret("ns", found.desired("ns", copy), copy).action is Action.DELETE


def test_excluded_and_uncovered_namespaces_are_not_held() -> None:
    """A held License holds only what it covers."""
    found = contents([FROZEN], contents([HELD]))
    expected = (True, False)

    assert expected == (found.is_held("home"), found.is_held("kube-system"))


@dataclass(frozen=True)
class Turn:
    """What the Licenses are at one time."""

    licenses: tuple[License, ...]
    namespaces: frozenset[str]


vendors = st.builds(
    a_vendor,
    st.sampled_from(["one", "one2", "two"]),
    st.sampled_from(["a", "b", "ключ:1"]),
    paused=st.booleans(),
    created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
    domain=st.sampled_from(["", "proxy.acme.com"]),
)
turns = st.builds(
    Turn,
    st.lists(vendors, max_size=3, unique_by=lambda lic: lic.app_slug).map(tuple),
    st.frozensets(st.sampled_from(["ns", "later"])),
)


@given(st.lists(turns, min_size=1, max_size=6))
def test_held_and_live_licenses_converge_in_one_step(history: list[Turn]) -> None:
    """Whatever was paused, rotated, added and deleted before: plan, apply, and a second plan does nothing."""
    found: SecretContents | None = None
    copies: dict[str, ObservedSecret | None] = {"ns": None, "later": None}
    for turn in history:
        found = contents(turn.licenses, found)
        for namespace in turn.namespaces:
            desired = found.desired(namespace, copies[namespace])
            if desired is None and found.is_held(namespace, copies[namespace]):
                continue
            copies[namespace] = stored(desired)
            again = found.desired(namespace, copies[namespace])
            step = plan_secret(namespace, again, copies[namespace])

            assert (desired, Action.NOTHING) == (again, step.action)


@given(st.lists(turns, min_size=1, max_size=6))
def test_only_known_licenses_have_entries(history: list[Turn]) -> None:
    """A copy that was brought in line names no License that is gone, held ones beside it or not."""
    found: SecretContents | None = None
    copy: ObservedSecret | None = None
    for turn in history:
        found = contents(turn.licenses, found)
        desired = found.desired("ns", copy)
        if desired is not None or not found.is_held("ns", copy):
            copy = stored(desired)
        noted = set(copy.licenses) if copy else set()

        assert noted <= {lic.identity.uid for lic in turn.licenses}


def test_copy_of_an_oversized_license_survives_a_lost_table() -> None:
    """A License that takes too much of the table loses its place there with the table, and never its copies."""
    copy = stored(contents([HELD]).desired("ns", None))
    planned = replace(contents([]).plan, oversized=frozenset({HELD.identity.uid}))
    lost = SecretContents(planned, {HELD.identity.uid: HELD})
    beside = SecretContents(
        replace(contents([LIVE]).plan, oversized=planned.oversized), {lic.identity.uid: lic for lic in (HELD, LIVE)}
    )

    assert lost.plan_copy("ns", copy) is None
    assert beside.plan_copy("ns", copy) is None


def test_oversized_license_that_is_deleted_is_revoked() -> None:
    """What was kept for its sake goes with the License itself."""
    copy = stored(contents([HELD]).desired("ns", None))
    planned = replace(contents([]).plan, oversized=frozenset({HELD.identity.uid}))
    plan = SecretContents(planned, {}).plan_copy("ns", copy)

    assert plan is not None
    assert plan.action is Action.DELETE


def test_frozen_license_does_not_keep_another_of_its_application_out() -> None:
    """Where it has no entries, as in a new namespace or one that it would take over, the next one gives them."""
    second = replace(LIVE, app_slug=HELD.app_slug)
    before = contents([second])
    both = contents([HELD, second], before)
    copy = stored(before.desired("ns", None))
    frozen = contents([FROZEN, second], both)

    assert frozen.desired("later", None) == frozen.desired("ns", copy) == before.desired("ns", None)
    assert frozen.desired("ns", stored(both.desired("ns", None))) == both.desired("ns", None)


def test_rebuilt_row_of_a_frozen_license_takes_nothing_away() -> None:
    """A namespace that was unlisted during the pause keeps its copy, even if the table was lost meanwhile."""
    copy = stored(contents([HELD]).desired("ns", None))
    sources = Sources((FROZEN,), (), noted=frozenset({FROZEN.identity.uid}))
    rebuilt = SecretContents(plan_table(sources, (), SETTINGS, NOTHING_YET), {FROZEN.identity.uid: FROZEN})

    assert rebuilt.desired("ns", copy) is None
    assert rebuilt.plan_copy("ns", copy) is None


def test_rebuilt_row_of_a_frozen_license_leaves_its_entries_beside_a_live_one() -> None:
    """The live one is written as usual; the frozen one keeps what it has, although its new row reaches less."""
    before = contents([HELD, LIVE])
    copy = stored(before.desired("ns", None))
    everywhere = an_application("*", metadata={"namespace": "home", "labels": {"kots.io/app-slug": "live"}})
    rotated = replace(LIVE, license_id=a_vendor("x", "rotated").license_id)
    paused = replace(HELD, paused=True)
    licenses = {lic.identity.uid: lic for lic in (paused, rotated)}
    sources = Sources((paused, rotated), (everywhere,), noted=frozenset(licenses))
    rebuilt = SecretContents(plan_table(sources, (), SETTINGS, NOTHING_YET), licenses)
    was, now = auths(before.desired("ns", None)), auths(rebuilt.desired("ns", copy))

    assert (of("held", was), True) == (of("held", now), of("live", was) != of("live", now))


def test_copy_of_a_license_that_cannot_be_read_survives_a_lost_table() -> None:
    """Nothing is known of it but that nobody revoked it; once it is known to be gone its copy goes."""
    copy = stored(contents([HELD]).desired("ns", None))
    unknown, gone = (
        SecretContents(plan_table(Sources(unknown=uids), (), SETTINGS, NOTHING_YET), {})
        for uids in (frozenset({HELD.identity.uid}), frozenset[str]())
    )
    removal = gone.plan_copy("ns", copy)

    assert unknown.plan_copy("ns", copy) is None
    assert removal is not None
    assert removal.action is Action.DELETE
    assert not unknown.decides_like(gone)


@pytest.mark.parametrize(("namespace", "opted_out"), [("kube-system", False), ("ns", True)], ids=["setting", "label"])
def test_exclusion_beats_a_pause(namespace: str, *, opted_out: bool) -> None:
    """Whoever leaves a namespace out gets the credential out of it, whatever is frozen."""
    before = contents([HELD])
    copy = stored(before.desired("ns", None))
    plan = contents([FROZEN], before).plan_copy(namespace, copy, opted_out=opted_out)

    assert plan is not None
    assert plan.action is Action.DELETE


def test_entries_of_a_held_license_survive_a_stripped_note() -> None:
    """Where somebody took the annotation away, the path key still tells whose an entry is."""
    before = contents([HELD, LIVE])
    copy = stored(before.desired("ns", None))
    assert copy is not None
    desired = contents([FROZEN, LIVE], before).desired("ns", replace(copy, licenses=()))

    assert auths(before.desired("ns", None)) == auths(desired)


def test_foreign_secret_under_a_held_license_is_a_conflict() -> None:
    """Somebody else's Secret is reported, frozen or not."""
    foreign = read_secret({"metadata": {"namespace": "ns", "name": "pull"}, "type": "Opaque"}, OWNERSHIP)
    plan = contents([FROZEN], contents([HELD])).plan_copy("ns", foreign)

    assert plan is not None
    assert plan.action is Action.CONFLICT
