"""What each License's status is made of: its namespaces, summed up, and where another License goes before it.

Namespaces that the same Licenses reach in the same way are looked at once. With 5,000 namespaces under `"*"` that is
a handful of groups, where asking the table for each namespace would cost every turn a good part of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from replicated_proxy.core.routes import Covering, Reach, Route, RoutingTable
from replicated_proxy.core.statuses import SyncResult, SyncState, Tally, merge_tallies, only_failures, tally_results


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where a License is in effect, in numbers.

    Attributes:
        tally: what came of the namespaces that it covers.
        shadows: `namespace/name` of each License of the same application that goes before it, with the number of
            existing namespaces where it does.
    """

    tally: Tally = field(default_factory=Tally)
    shadows: Mapping[str, int] = field(default_factory=dict)


def measure_footprints(table: RoutingTable, results: Mapping[str, SyncResult]) -> dict[str, Footprint]:
    """Sum up each License of a table, by UID.

    Args:
        table: which License covers which namespace.
        results: what came of each namespace by name, covered or not; `PENDING` for those that do not exist.
    """
    tallies: dict[str, list[Tally]] = {route.uid: [] for route in table.routes}
    shadows: dict[str, Counter[str]] = {route.uid: Counter() for route in table.routes}
    rivals = _find_rivals(table.routes)
    for group in _group_alike(table, results):
        name, tally = next(iter(group)), tally_results(group)
        covering = table.covering(name)
        effective = {item.route.app_slug: item.route for item in covering}
        for item in covering:
            tallies[item.route.uid].append(_share(item, tally))
        if existing := len(group) - tally.count(SyncState.PENDING):
            for route in _reaching(rivals, name, table.listed.get(name, ())):
                winner = effective.get(route.app_slug, route)
                if winner.uid != route.uid:
                    shadows[route.uid][winner.license] += existing
    return {uid: Footprint(merge_tallies(items), shadows[uid]) for uid, items in tallies.items()}


def _share(covering: Covering, tally: Tally) -> Tally:
    """Return what of a tally is a License's own matter.

    One that was revoked waits for nothing, and one that reaches by `"*"` lists nothing that could be missing.
    """
    if covering.route.expired:
        return only_failures(tally)
    if covering.reach is Reach.WILDCARD and tally.count(SyncState.PENDING):
        counts: dict[SyncState, int] = dict(tally.counts)
        del counts[SyncState.PENDING]
        return replace(tally, counts=counts)
    return tally


def _group_alike(table: RoutingTable, results: Mapping[str, SyncResult]) -> Iterable[dict[str, SyncResult]]:
    """Put namespaces together that the table must treat alike; excluded ones are left out.

    A namespace is told from the others by the Licenses that list it, and by being some License's own.
    """
    own = {route.namespace for route in table.routes}
    groups: dict[tuple[str, tuple[int, ...]], dict[str, SyncResult]] = {}
    for name, result in results.items():
        if not table.rules.excludes(name):
            groups.setdefault((name if name in own else "", table.listed.get(name, ())), {})[name] = result
    return groups.values()


def _find_rivals(routes: Sequence[Route]) -> list[tuple[int, Route]]:
    """Return the routes, with their positions, whose application has more than one License."""
    number = Counter(route.app_slug for route in routes)
    return [(position, route) for position, route in enumerate(routes) if number[route.app_slug] > 1]


def _reaching(rivals: Iterable[tuple[int, Route]], namespace: str, listed: Sequence[int]) -> Iterable[Route]:
    """Return those that reach a namespace, whoever of them counts there."""
    for position, route in rivals:
        if route.every_namespace or route.namespace == namespace or position in listed:
            yield route
