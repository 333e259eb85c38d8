"""What each License's status is made of, compared with asking the table for each namespace."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from builders import a_route, a_table
from replicated_proxy.core.footprints import Footprint, measure_footprints
from replicated_proxy.core.routes import Reach, Route, RoutingTable
from replicated_proxy.core.statuses import SyncResult, SyncState, tally_results

SYNCED, PENDING = SyncResult(SyncState.SYNCED), SyncResult(SyncState.PENDING)
FAILED = SyncResult(SyncState.FAILED, "Forbidden", "quota exceeded")


def test_license_counts_the_namespaces_that_it_covers() -> None:
    """Its own, listed and wildcard namespaces count, excluded ones and those of others do not."""
    mine, other = a_route(every_namespace=True), a_route("other", "else")
    table = a_table(mine, other, listed={"later": (0, 1)}, excluded=frozenset({"kube-system"}))
    found = measure_footprints(
        table, {"app": SYNCED, "else": FAILED, "later": PENDING, "kube-system": SYNCED, "any": SYNCED}
    )
    expected = {
        mine.uid: Footprint(tally_results({"app": SYNCED, "else": FAILED, "later": PENDING, "any": SYNCED})),
        other.uid: Footprint(tally_results({"else": FAILED, "later": PENDING})),
    }

    assert expected == found


def test_shadowed_license_learns_where_and_by_whom() -> None:
    """The second License of an application counts where it is nearer, and is shadowed elsewhere."""
    old = a_route(namespace="old", every_namespace=True)
    new = a_route(namespace="new", every_namespace=True)
    found = measure_footprints(a_table(old, new, listed={"later": (1,)}), {"old": SYNCED, "new": SYNCED, "any": SYNCED})
    expected = [{"new/my-app": 1}, {"old/my-app": 2}]

    assert expected == [found[route.uid].shadows for route in (old, new)]


def test_missing_namespace_is_pending_for_those_who_list_it() -> None:
    """A License that reaches by the wildcard lists nothing that could be missing."""
    everywhere, listing = a_route(every_namespace=True), a_route("other", "else")
    found = measure_footprints(a_table(everywhere, listing, listed={"later": (1,)}), {"later": PENDING})

    assert [found[route.uid].tally.count(SyncState.PENDING) for route in (everywhere, listing)] == [0, 1]


def test_revoked_license_counts_failures_only() -> None:
    """Its namespaces wait for nothing any more; a deletion that fails is its business."""
    revoked = a_route(every_namespace=True, expired=True)
    found = measure_footprints(a_table(revoked), {"app": SYNCED, "any": FAILED})

    assert dict(found[revoked.uid].tally.counts) == {SyncState.FAILED: 1}


def test_namespace_that_does_not_exist_shadows_nobody() -> None:
    """Nothing is said of a License's shadow in a namespace that may never come."""
    old, new = a_route(namespace="old"), a_route(namespace="new")
    found = measure_footprints(a_table(old, new, listed={"later": (0, 1)}), {"later": PENDING})

    assert [found[route.uid].shadows for route in (old, new)] == [{}, {}]


NAMES = ("a", "b", "c", "d", "e")


@st.composite
def tables(draw: st.DrawFn) -> RoutingTable:
    """Make a table of a few Licenses that get in each other's way."""
    routes = tuple(
        a_route(
            draw(st.sampled_from(["one", "two"])),
            draw(st.sampled_from(NAMES)),
            uid=f"uid-{number}",
            license=f"ns/license-{number}",
            every_namespace=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 4)))
    )
    positions = st.sets(st.integers(0, len(routes) - 1)).map(sorted).map(tuple)
    listed = draw(st.dictionaries(st.sampled_from(NAMES), positions))
    excluded = draw(st.frozensets(st.sampled_from(NAMES), max_size=2))
    return a_table(*routes, listed=listed, excluded=excluded, excluded_globs=draw(st.sampled_from([(), ("d*",)])))


def ask_for_each(table: RoutingTable, results: dict[str, SyncResult], route: Route, position: int) -> Footprint:
    """Ask the table for each namespace, one License at a time."""
    covered, shadows = {}, Counter[str]()
    for name, result in results.items():
        reach = {item.route.uid: item.reach for item in table.covering(name)}
        covering = {item.route.app_slug: item.route for item in table.covering(name)}
        reaches = route.every_namespace or route.namespace == name or position in table.listed.get(name, ())
        if route.uid in reach:
            if result is not PENDING or reach[route.uid] is not Reach.WILDCARD:
                covered[name] = result
        elif reaches and covering and result is not PENDING:
            shadows[covering[route.app_slug].license] += 1
    return Footprint(tally_results(covered), shadows)


@given(tables(), st.dictionaries(st.sampled_from(NAMES), st.sampled_from([SYNCED, PENDING, FAILED])))
def test_groups_say_what_single_namespaces_do(table: RoutingTable, results: dict[str, SyncResult]) -> None:
    """Looking at like namespaces once gives the same numbers as asking for each of them."""
    expected = {route.uid: ask_for_each(table, results, route, position) for position, route in enumerate(table.routes)}

    assert expected == measure_footprints(table, results)
