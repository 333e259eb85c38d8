"""From Licenses and Applications to the routing table.

Coverage is KOTS's `additionalNamespaces`, with what it lacks: several Applications are one union, exclusions, opt-outs,
a License for each application, and a share of the table that none may exceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from replicated_proxy.core.applications import APP_SLUG_LABEL, Application
from replicated_proxy.core.bindings import Bindings, bind_applications
from replicated_proxy.core.hosts import HostOverrides, resolve_hosts
from replicated_proxy.core.licenses import License
from replicated_proxy.core.namespaces import APP_LABEL, DISABLED, REWRITE_LABEL, Namespace
from replicated_proxy.core.routes import Definitions, NamespaceRules, Route, RoutingTable
from replicated_proxy.core.routing_documents import LARGEST_DOCUMENT, route_size
from replicated_proxy.core.signatures import SignaturePolicy
from replicated_proxy.core.validity import ExpiryStanding, Moment, ValidityPolicy, freezes, judge_license

_ROUTE_SHARE: Final = 400_000  # 5,000 listed namespaces with the longest names take 355 kB.
_RULES_SHARE: Final = 200_000  # Kept for what namespaces say about themselves.
_NAME_OVERHEAD: Final = 8  # `"":[0],` around a listed name.


@dataclass(frozen=True, slots=True)
class CoverageSettings:
    """What the administrator decides about coverage.

    Attributes:
        secret_name: the pull secret's name in every namespace.
        excluded: namespace names that no License reaches, the operator's own and the system's among them.
        excluded_globs: patterns of such names.
        hosts: hosts set by application slug.
        validity: when a License is used.
    """

    secret_name: str
    excluded: frozenset[str]
    excluded_globs: tuple[str, ...] = ()
    hosts: HostOverrides = HostOverrides()
    validity: ValidityPolicy = ValidityPolicy()

    @property
    def heed_domains(self) -> bool:
        """Tell whether the custom domains of Applications count: nobody signed them."""
        return self.validity.signature is not SignaturePolicy.ENFORCE


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known of the two kinds that people write.

    Attributes:
        licenses: the usable ones and those to be frozen.
        applications: all of them.
        definitions: under which both were read.
        noted: UIDs of the Licenses that our copies were made from: what is known to have been in effect.
        unknown: UIDs of Licenses that cannot be read now and that nobody revoked.
        moment: when this is looked at; None where time has no part.
    """

    licenses: tuple[License, ...] = ()
    applications: tuple[Application, ...] = ()
    definitions: Definitions = Definitions()
    noted: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    moment: Moment | None = None


class _Row(NamedTuple):
    """A route with the namespaces that are listed for it."""

    route: Route
    listed: frozenset[str]

    @property
    def size(self) -> int:
        """Bytes that it takes in the published table, at most."""
        return route_size(self.route) + sum(len(name) + _NAME_OVERHEAD for name in self.listed)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A routing table with what stands behind it.

    Attributes:
        table: the table to publish, without conflicts.
        bindings: which Application belongs to which License.
        held: UIDs of Licenses whose routes were taken over from the table before: frozen ones and unknown ones.
            Their entries in copies stay as they are; nothing new is written for them. Not those that are revoked.
        oversized: UIDs of Licenses whose routes would take more than their share of the table: what was published
            of them stays, and nothing of a new one is published.
        standings: License UID to how it stands to its end.
        unknown: as in the sources: copies that note one of these are not taken away.
    """

    table: RoutingTable
    bindings: Bindings
    held: frozenset[str]
    oversized: frozenset[str] = frozenset()
    standings: Mapping[str, ExpiryStanding] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


def plan_table(
    sources: Sources, namespaces: Iterable[Namespace], settings: CoverageSettings, previous: RoutingTable
) -> TablePlan:
    """Build the routing table from what is known now; conflicts are added by `with_conflicts`.

    Args:
        sources: Licenses and Applications.
        namespaces: for what they say about themselves.
        settings: the administrator's part.
        previous: the table published last, also by a process before this one.
    """
    bindings = bind_applications(sources.licenses, sources.applications, heed_domains=settings.heed_domains)
    published = _published_rows(previous)
    standings = _judge(sources, settings.validity, published)
    restless = {lic.key: standings[lic.identity.uid] for lic in sources.licenses if not freezes(lic)}
    held = [_restate(row, restless) for row in published.values() if _is_held(row.route, sources)]
    taken = {row.route.license for row in held}
    planned = [
        _restate(_plan_row(lic, bindings.by_license[lic.identity.uid], sources, settings), restless)
        for lic in sources.licenses
        if lic.key not in taken and (not freezes(lic) or lic.identity.uid in sources.noted)
    ]
    rows, oversized = _within_budget(sorted([*held, *planned], key=lambda row: row.route.age_key), published)
    frozen = {lic.identity.uid for lic in sources.licenses if freezes(lic)}
    table = RoutingTable(
        secret_name=settings.secret_name,
        routes=tuple(row.route for row in rows),
        listed=_index_names([row.listed for row in rows]),
        rules=_plan_rules(namespaces, settings),
    )
    revoked = {row.route.uid for row in rows if restless.get(row.route.license) is ExpiryStanding.REVOKED}
    kept = (({row.route.uid for row in held} | oversized | frozen) & {row.route.uid for row in rows}) - revoked
    return TablePlan(table, bindings, frozenset(kept), frozenset(oversized), standings, sources.unknown)


def _judge(sources: Sources, policy: ValidityPolicy, published: Mapping[str, _Row]) -> Mapping[str, ExpiryStanding]:
    """Tell how each License stands to its end, by UID."""
    revoked = {uid for uid, row in published.items() if row.route.expired}
    return {
        lic.identity.uid: judge_license(lic, sources.moment, policy, revoked=lic.identity.uid in revoked)
        for lic in sources.licenses
    }


def _plan_row(lic: License, applications: Sequence[Application], sources: Sources, settings: CoverageSettings) -> _Row:
    """Make a License's row anew.

    Also for a frozen one whose row got lost with the published table, while copies tell that it was in effect.
    """
    listed = frozenset(lic.namespaces).union(*(item.namespaces for item in applications))
    return _Row(_plan_route(lic, applications, settings, sources.definitions), listed)


def _restate(row: _Row, standings: Mapping[str, ExpiryStanding]) -> _Row:
    """Say of a row whether its License has expired; one that is frozen or unknown, and so has no standing, stays."""
    standing = standings.get(row.route.license)
    if standing is None:
        return row
    expired = standing is ExpiryStanding.REVOKED
    return row._replace(route=replace(row.route, expired=expired, retained=standing.passed and not expired))


def _within_budget(rows: Sequence[_Row], published: Mapping[str, _Row]) -> tuple[list[_Row], set[str]]:
    """Keep the table within a ConfigMap, oldest first, without letting one License crowd the others out.

    A row that takes more than its share is not published; what was published of it before stays, but for its end.
    """
    kept, oversized, left = [], set(), LARGEST_DOCUMENT - _RULES_SHARE
    for row in rows:
        fits = row.size <= min(_ROUTE_SHARE, left)
        used = row if fits else _earlier(row.route, published)
        if not fits:
            oversized.add(row.route.uid)
        if used is not None:
            left -= used.size
            kept.append(used)
    return kept, oversized


def _earlier(route: Route, published: Mapping[str, _Row]) -> _Row | None:
    """Return what was published of a License before, with what is known of its end now."""
    row = published.get(route.uid)
    if row is None:
        return None
    return row._replace(route=replace(row.route, expired=route.expired, retained=route.retained))


def _is_held(route: Route, sources: Sources) -> bool:
    """Tell whether a published route stays as it was.

    It does while its License is frozen, or unknown for now; and when the License, or an Application that widened it,
    is absent under another definition than it was read under: nobody revoked it, its kind was deleted and made anew.
    """
    read_under = route.definitions.licenses
    remade = bool(read_under and read_under != sources.definitions.licenses)
    lic = next((item for item in sources.licenses if item.key == route.license), None)
    if lic is None:
        return remade or route.uid in sources.unknown
    same = lic.identity.uid == route.uid
    if freezes(lic) or not (same or remade):
        return same  # Another License of its name: the one that was published was deleted.
    present = {application.identity.key for application in sources.applications}
    missing = any(key not in present for key in route.applications)
    return missing and route.definitions.applications != sources.definitions.applications


def _published_rows(previous: RoutingTable) -> dict[str, _Row]:
    """Take the published table apart, by License UID."""
    listed: list[set[str]] = [set() for _ in previous.routes]
    for name, positions in previous.listed.items():
        for position in positions:
            listed[position].add(name)
    return {route.uid: _Row(route, frozenset(names)) for route, names in zip(previous.routes, listed, strict=True)}


def _index_names(names_by_position: Sequence[frozenset[str]]) -> Mapping[str, tuple[int, ...]]:
    """Turn "names of each License" into "Licenses of each name", so that every name is written once."""
    listed: dict[str, list[int]] = {}
    for position, names in enumerate(names_by_position):
        for name in names:
            listed.setdefault(name, []).append(position)
    return {name: tuple(positions) for name, positions in sorted(listed.items())}


def with_conflicts(table: RoutingTable, namespaces: Iterable[str]) -> RoutingTable:
    """Return the table with the namespaces whose pull secret is not ours."""
    return replace(table, rules=replace(table.rules, conflicts=frozenset(namespaces)))


def _plan_route(
    lic: License, applications: Sequence[Application], settings: CoverageSettings, definitions: Definitions
) -> Route:
    """Merge a License with its Applications: unions for lists, the oldest for hosts.

    What an Application says of images counts as far as it reaches itself. Who may reach is decided at admission; an
    Application beside it that asks for no reach must not speak for other namespaces.
    """
    named = applications if settings.heed_domains else ()
    beyond = [item for item in applications if item.reaches_beyond]
    at_home = [item for item in applications if not item.reaches_beyond]
    return Route(
        license=lic.key,
        uid=lic.identity.uid,
        namespace=lic.identity.namespace,
        app_slug=lic.app_slug,
        hosts=resolve_hosts(lic, named, settings.hosts),
        every_namespace=lic.every_namespace or any(item.every_namespace for item in applications),
        excluded_images=tuple(dict.fromkeys(image for item in beyond for image in item.excluded_images)),
        excluded_at_home=tuple(dict.fromkeys(image for item in at_home for image in item.excluded_images)),
        claimed_images=tuple(dict.fromkeys(image for item in beyond for image in item.additional_images)),
        claimed_upstreams=tuple(dict.fromkeys(one for item in beyond for one in item.upstreams)),
        applications=tuple(item.identity.key for item in applications),
        definitions=replace(definitions, licenses="") if lic.source else definitions,
        created=lic.identity.created,
    )


def _plan_rules(namespaces: Iterable[Namespace], settings: CoverageSettings) -> NamespaceRules:
    """Read what namespaces say about themselves by label."""
    opted_out, unrewritten, claims = set(settings.excluded), set(), {}
    for namespace in namespaces:
        if not namespace.labels:
            continue  # Most say nothing, and there are thousands of them.
        if namespace.opted_out:
            opted_out.add(namespace.name)
        if namespace.labels.get(REWRITE_LABEL) == DISABLED:
            unrewritten.add(namespace.name)
        if claim := namespace.labels.get(APP_LABEL) or namespace.labels.get(APP_SLUG_LABEL):
            claims[namespace.name] = claim
    return NamespaceRules(
        excluded=frozenset(opted_out),
        excluded_globs=settings.excluded_globs,
        unrewritten=frozenset(unrewritten),
        claims=claims,
    )
