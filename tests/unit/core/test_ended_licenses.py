"""What becomes of routes and pull secrets when Licenses end, are renewed, or cannot be read for a while."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders import a_license, an_application, ids
from replicated_proxy.core.coverage import CoverageSettings, Sources, TablePlan, plan_table
from replicated_proxy.core.licenses import Expiry, ExpiryPolicy, License
from replicated_proxy.core.pull_secrets import (
    Action,
    DesiredSecret,
    ObservedSecret,
    Ownership,
    Removal,
    read_secret,
    render_secret,
)
from replicated_proxy.core.routes import Definitions, RoutingTable
from replicated_proxy.core.secret_contents import SecretContents
from replicated_proxy.core.signatures import SignaturePolicy
from replicated_proxy.core.validity import ExpiryStanding, Moment, ValidityPolicy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGREED, UNKNOWN_CLOCK = Moment(NOW, NOW), Moment(NOW)
PAST, LATER = Expiry(NOW - timedelta(days=1)), Expiry(NOW + timedelta(days=100))
OWNERSHIP = Ownership("operators/release", "pull")
NOTHING_YET = RoutingTable("pull")
RETAIN = CoverageSettings("pull", frozenset({"kube-system"}))
REVOKE = replace(RETAIN, validity=ValidityPolicy(on_expiry=ExpiryPolicy.REVOKE))
ENFORCE = replace(RETAIN, validity=ValidityPolicy(signature=SignaturePolicy.ENFORCE))


def vendor(slug: str, expiry: Expiry = LATER, **metadata: Any) -> License:
    """Return a License in a namespace named for its application."""
    return replace(a_license(slug, metadata={"namespace": slug, **metadata}), expiry=expiry)


def plan(
    licenses: Iterable[License],
    settings: CoverageSettings = REVOKE,
    previous: RoutingTable = NOTHING_YET,
    moment: Moment = AGREED,
    **known: Any,
) -> TablePlan:
    """Plan a table for Licenses that cover every namespace."""
    licenses = tuple(licenses)
    everywhere = tuple(an_application("*", metadata={"namespace": lic.identity.namespace}) for lic in licenses)
    return plan_table(Sources(licenses, everywhere, moment=moment, **known), (), settings, previous)


def flags(planned: TablePlan) -> dict[str, tuple[bool, bool]]:
    """Return `(expired, retained)` of each route, by application."""
    return {route.app_slug: (route.expired, route.retained) for route in planned.table.routes}


def contents(planned: TablePlan, *licenses: License) -> SecretContents:
    """Put the credentials beside the table."""
    return SecretContents(planned, {lic.identity.uid: lic for lic in licenses})


def keys(desired: DesiredSecret | None) -> list[str]:
    """Return the keys of a pull secret."""
    return list(json.loads(desired.content)["auths"]) if desired else []


def a_copy(desired: DesiredSecret | None) -> ObservedSecret:
    """Return the copy that stands in a namespace after this was written there."""
    assert desired is not None
    return read_secret(render_secret("ns", desired, OWNERSHIP), OWNERSHIP)


def fate(before: TablePlan, after: TablePlan, lic: License, later: License) -> Action | None:
    """Tell what a plan does to the copy in a License's own namespace that an earlier plan made; None: it stays."""
    home = lic.identity.namespace
    found = contents(after, later).plan_copy(home, a_copy(contents(before, lic).desired(home, None)))
    return found.action if found else None


ENDS: list[tuple[str, Expiry, CoverageSettings, Moment, tuple[bool, bool]]] = [
    ("not yet", LATER, REVOKE, AGREED, (False, False)),
    ("retained", PAST, RETAIN, AGREED, (False, True)),
    ("revoked", PAST, REVOKE, AGREED, (True, False)),
    ("clocks disagree", PAST, REVOKE, UNKNOWN_CLOCK, (False, True)),
]


@pytest.mark.parametrize(("expiry", "settings", "moment", "expected"), [row[1:] for row in ENDS], ids=ids(ENDS))
def test_route_says_what_follows_from_the_end(
    expiry: Expiry, settings: CoverageSettings, moment: Moment, expected: tuple[bool, bool]
) -> None:
    """A route is revoked by policy and clock, else retained with a warning."""
    assert {"a": expected} == flags(plan([vendor("a", expiry)], settings, moment=moment))


def test_revoked_license_gives_no_credentials_and_comes_back_when_renewed() -> None:
    """Its copies go, its neighbours' stay; a renewed License restores everything."""
    ended, other = vendor("a", PAST), vendor("b")
    both = contents(plan([ended, other]), ended, other)
    alone = contents(plan([ended]), ended)
    renewed = vendor("a", LATER)
    restored = contents(plan([renewed], previous=alone.plan.table), renewed)

    assert keys(both.desired("ns", None)) == ["proxy.replicated.com", "registry.replicated.com"]
    assert both.desired("ns", None) == contents(plan([other]), other).desired("ns", None)
    assert alone.desired("ns", None) is None
    assert restored.desired("ns", None) is not None


def test_revoked_stays_revoked_while_clocks_disagree() -> None:
    """A clock of ours that is set back, or a server that cannot be asked, gives nothing back."""
    ended = vendor("a", PAST)
    revoked = plan([ended])
    unsure = plan([vendor("a", LATER)], previous=revoked.table, moment=UNKNOWN_CLOCK)

    assert flags(unsure) == {"a": (True, False)}
    assert ExpiryStanding.REVOKED is unsure.standings[ended.identity.uid]


def test_paused_license_that_ends_keeps_everything() -> None:
    """Frozen beats expired: nothing is deleted for a paused License."""
    before = plan([vendor("a")])
    paused = replace(vendor("a", PAST), paused=True)
    after = plan([paused], previous=before.table)
    copy = a_copy(contents(before, vendor("a")).desired("ns", None))

    assert flags(after) == {"a": (False, False)}
    decided = contents(after, paused).plan_copy("ns", copy)
    assert decided is not None
    assert decided.action is Action.NOTHING


def test_oversized_license_that_ends_is_revoked_all_the_same() -> None:
    """What was published of a License that takes too much stays, but not beyond its end."""
    small, large = an_application("x"), an_application(*(f"{number:063}" for number in range(9_000)))
    home = replace(a_license("a"), expiry=LATER)
    before = plan_table(Sources((home,), (small,), moment=AGREED), (), REVOKE, NOTHING_YET)
    ended = replace(home, expiry=PAST)
    after = plan_table(Sources((ended,), (large,), moment=AGREED), (), REVOKE, before.table)

    assert flags(after) == {"a": (True, False)}
    assert after.oversized == {home.identity.uid}
    assert fate(before, after, home, ended) is Action.DELETE


def test_license_held_for_a_lost_application_is_revoked_at_its_end() -> None:
    """The Application is unknown; that the License has ended is not."""
    home, old, new = replace(a_license("a"), expiry=LATER), Definitions("l", "old"), Definitions("l", "new")
    before = plan_table(Sources((home,), (an_application("x"),), old, moment=AGREED), (), REVOKE, NOTHING_YET)
    after = plan_table(Sources((replace(home, expiry=PAST),), (), new, moment=AGREED), (), REVOKE, before.table)

    assert flags(after) == {"a": (True, False)}
    assert after.table.listed == {"x": (0,)}
    assert fate(before, after, home, replace(home, expiry=PAST)) is Action.DELETE


def test_ended_license_without_a_place_in_the_table_is_revoked() -> None:
    """One that takes too much of the table, and whose row got lost with it: its copies stay until its end."""
    home = replace(a_license("a"), expiry=LATER)
    before = plan_table(Sources((home,), (), moment=AGREED), (), REVOKE, NOTHING_YET)
    large = an_application(*(f"{number:063}" for number in range(9_000)))
    lost, ended = (
        plan_table(Sources((lic,), (large,), moment=AGREED), (), REVOKE, NOTHING_YET)
        for lic in (home, replace(home, expiry=PAST))
    )

    assert fate(before, lost, home, home) is None
    assert fate(before, ended, home, home) is Action.DELETE
    assert not contents(lost, home).decides_like(contents(ended, home))


def test_revoked_license_takes_nothing_from_another_of_its_application_while_clocks_disagree() -> None:
    """The older one was revoked; that the younger one has ended is not sure yet, so its credentials stay."""
    old = replace(a_license("a", metadata={"name": "old"}), expiry=PAST)
    new = replace(a_license("a", metadata={"name": "new", "creationTimestamp": "2026-01-02T00:00:00Z"}), expiry=LATER)
    before = plan_table(Sources((old, new), (), moment=AGREED), (), REVOKE, NOTHING_YET)
    copy = a_copy(contents(before, old, new).desired("app", None))
    ended = replace(new, expiry=PAST)
    after = plan_table(Sources((old, ended), (), moment=UNKNOWN_CLOCK), (), REVOKE, before.table)
    found = contents(after, old, ended).plan_copy("app", copy)

    assert [(route.expired, route.retained) for route in after.table.routes] == [(True, False), (False, True)]
    assert found is not None
    assert found.action is Action.NOTHING


def test_frozen_license_does_not_take_over_from_one_that_is_retained() -> None:
    """It has not ended, and has no entry either: what the one that ended has stays."""
    old = replace(a_license("a", metadata={"name": "old"}), expiry=LATER)
    new = a_license("a", metadata={"name": "new", "creationTimestamp": "2026-01-02T00:00:00Z"})
    before = plan_table(Sources((old, new), (), moment=AGREED), (), RETAIN, NOTHING_YET)
    copy = a_copy(contents(before, old, new).desired("app", None))
    ended, frozen = replace(old, expiry=PAST), replace(new, expiry=Expiry(problem="no date"))
    after = plan_table(Sources((ended, frozen), (), moment=AGREED), (), RETAIN, before.table)
    found = contents(after, ended, frozen).plan_copy("app", copy)

    assert found is not None
    assert found.action is Action.NOTHING


def test_license_that_still_pulls_goes_before_one_that_has_ended() -> None:
    """A renewed license that is applied as a second object takes over, although it is the younger one."""
    old = replace(a_license("a", metadata={"name": "old"}), expiry=PAST)
    new = replace(a_license("a", metadata={"name": "new", "creationTimestamp": "2026-01-02T00:00:00Z"}), expiry=LATER)
    planned = plan_table(Sources((old, new), (), moment=AGREED), (), RETAIN, NOTHING_YET)

    assert [item.route.license for item in planned.table.covering("app")] == ["app/new"]


def test_whole_hosts_belong_to_a_license_that_still_pulls() -> None:
    """Of several the oldest gives the host keys, but not after its end."""
    old, new = vendor("a", PAST), vendor("b", creationTimestamp="2026-01-02T00:00:00Z")
    desired = contents(plan([old, new], RETAIN), old, new).desired("ns", None)
    assert desired is not None
    auths = json.loads(desired.content)["auths"]

    assert auths["proxy.replicated.com"] == auths["proxy.replicated.com/proxy/b/"]
    assert auths["proxy.replicated.com"] != auths["proxy.replicated.com/proxy/a/"]


def test_deletion_says_why() -> None:
    """Whoever finds a copy gone finds the reason in the log."""
    home, ended = vendor("a"), vendor("a", PAST)
    copy = a_copy(contents(plan([home]), home).desired("ns", None))
    narrowed = plan_table(Sources((home,), (), moment=AGREED), (), REVOKE, NOTHING_YET)
    cases = {
        Removal.LICENSE_DELETED: contents(plan([])).plan_copy("ns", copy),
        Removal.EXPIRED: contents(plan([ended]), ended).plan_copy("ns", copy),
        Removal.NOT_COVERED: contents(narrowed, home).plan_copy("ns", copy),
        Removal.EXCLUDED: contents(plan([home]), home).plan_copy("ns", copy, opted_out=True),
    }

    told = {reason: (found.action, found.reason) for reason, found in cases.items() if found}

    assert told == {reason: (Action.DELETE, reason.value) for reason in cases}


def test_license_of_a_secret_that_cannot_be_read_now_is_held() -> None:
    """Unknown revokes nothing: its route stays and its entries in copies; known to be gone, both go."""
    key = "a/secrets/license/key"
    source = replace(vendor("a", uid=key), source=key, every_namespace=True, namespaces=("x",))
    before = plan_table(Sources((source,), (), Definitions("l", "a")), (), REVOKE, NOTHING_YET)
    copy = a_copy(contents(before, source).desired("ns", None))
    unknown = plan_table(Sources((), (), Definitions("l", "a"), unknown=frozenset({key})), (), REVOKE, before.table)
    gone = plan_table(Sources((), (), Definitions("l", "a")), (), REVOKE, before.table)
    kept, revoked = (contents(planned).plan_copy("ns", copy) for planned in (unknown, gone))
    assert kept is not None
    assert revoked is not None

    assert unknown.table == before.table
    assert [kept.action, revoked.action] == [Action.NOTHING, Action.DELETE]
    assert before.table.listed == {"x": (0,)}


def test_hosts_of_applications_count_for_nothing_when_signatures_are_enforced() -> None:
    """Nobody signed them; the Application says so in its status."""
    named = an_application(proxyRegistryDomain="proxy.acme.com", replicatedRegistryDomain="reg.acme.com")
    lic = a_license("a", replicatedProxyDomain="signed.acme.com")
    enforced, warned = (
        plan_table(Sources((lic,), (named,)), (), settings, NOTHING_YET) for settings in (ENFORCE, RETAIN)
    )

    assert [planned.table.routes[0].hosts.proxy for planned in (enforced, warned)] == [
        "signed.acme.com",
        "proxy.acme.com",
    ]
    assert "no effect" in enforced.bindings.notes[named.identity.uid]
    assert not warned.bindings.notes


def test_planning_with_nothing_but_time_changes_only_the_flags() -> None:
    """Between two turns over the same objects, only an end that passed makes a difference."""
    lic = vendor("a", Expiry(NOW))
    before = plan([lic])
    after = plan([lic], previous=before.table, moment=Moment(NOW + timedelta(seconds=1), NOW))
    restored: Mapping[str, Any] = {"routes": tuple(replace(route, expired=False) for route in after.table.routes)}

    assert flags(after) == {"a": (True, False)}
    assert replace(after.table, **restored) == before.table
