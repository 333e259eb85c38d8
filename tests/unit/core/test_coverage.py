"""From Licenses and Applications to the routing table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from builders import a_license, an_application, ids
from replicated_proxy.core.applications import Application
from replicated_proxy.core.coverage import (
    CoverageSettings,
    Sources,
    TablePlan,
    plan_table,
    with_conflicts,
)
from replicated_proxy.core.hosts import HostOverrides
from replicated_proxy.core.licenses import License
from replicated_proxy.core.namespaces import Namespace
from replicated_proxy.core.routes import SYSTEM_NAMESPACES, Definitions, RoutingTable

SETTINGS = CoverageSettings("replicated-proxy-registry", SYSTEM_NAMESPACES | {"operator-namespace"})
NOTHING_YET = RoutingTable("replicated-proxy-registry")
LABELLED = {"labels": {"kots.io/app-slug": "my-app"}}


def plan(
    licenses: Iterable[License],
    applications: Iterable[Application] = (),
    namespaces: Iterable[Namespace] = (),
    previous: RoutingTable = NOTHING_YET,
    settings: CoverageSettings = SETTINGS,
) -> TablePlan:
    """Plan a table."""
    return plan_table(Sources(tuple(licenses), tuple(applications)), namespaces, settings, previous)


def served(table: RoutingTable, names: Iterable[str]) -> set[str]:
    """Return those of the names that some License covers."""
    return {name for name in names if table.covering(name)}


# replicated.md 2.3: entries, namespaces that exist, where a secret belongs ("b" appears later, "c" is pending).
NAMES = ("app", "a", "a1", "b", "c", "kube-system", "operator-namespace")
ADDITIONAL: list[tuple[str, tuple[str, ...], set[str]]] = [
    ("none", (), {"app"}),
    ("one", ("a",), {"app", "a"}),
    ("wildcard", ("*",), {"app", "a", "a1", "b", "c"}),
    ("wildcard and pending", ("*", "c"), {"app", "a", "a1", "b", "c"}),
    ("pattern", ("a*",), {"app"}),
    ("twice", ("a", "a"), {"app", "a"}),
    ("template text", ('repl{{ ConfigOption "x" }}',), {"app"}),
    ("system namespace", ("kube-system",), {"app"}),
    ("operator's own", ("operator-namespace",), {"app"}),
]


@pytest.mark.parametrize(("entries", "expected"), [row[1:] for row in ADDITIONAL], ids=ids(ADDITIONAL))
def test_additional_namespaces_are_covered(entries: tuple[str, ...], expected: set[str]) -> None:
    """A License covers its own namespace and what its Application names, whether or not it exists."""
    table = plan([a_license()], [an_application(*entries)]).table

    assert expected == served(table, NAMES)


def test_several_applications_are_one_union() -> None:
    """What one Application lists another one does not take away."""
    applications = [an_application("a", metadata={"name": "one"}), an_application("b", metadata={"name": "two"})]
    table = plan([a_license()], applications).table

    assert {"app", "a", "b"} == served(table, NAMES)


def test_application_elsewhere_reaches_nothing() -> None:
    """An Application binds only to Licenses of its own namespace, and says so."""
    application = an_application("a", metadata={"namespace": "elsewhere"})
    planned = plan([a_license()], [application])

    assert {"app"} == served(planned.table, (*NAMES, "elsewhere"))
    assert {application.identity.uid: "no License in this namespace"} == planned.bindings.problems


def test_routes_and_applications_are_oldest_first() -> None:
    """Age decides, and the UID where two are equally old, so that every replica agrees."""
    ages = [("c", "2026-01-02T00:00:00Z"), ("b", "2026-01-01T00:00:00Z"), ("a", "2026-01-01T00:00:00Z")]
    licenses = [a_license(name, metadata={"creationTimestamp": created}) for name, created in ages]
    applications = [
        an_application(metadata={"name": name, "creationTimestamp": created}, proxyRegistryDomain=f"{name}.acme.com")
        for name, created in ages
    ]
    table = plan(licenses, applications).table
    expected = ["a", "b", "c"]

    assert expected == [route.app_slug for route in table.routes]
    assert {"a.acme.com"} == {route.hosts.proxy for route in table.routes}


def test_route_merges_what_its_applications_say() -> None:
    """Excluded, additional and upstream images of Applications that reach are unions, each entry once."""
    applications = [
        an_application(
            "*",
            metadata={"name": name, "annotations": {"proxy.kots.io/upstreams": f"quay.io/{name},ghcr.io"}},
            excludedImages=["auto", name],
            additionalImages=[name],
        )
        for name in ("one", "two")
    ]
    (route,) = plan([a_license()], applications).table.routes
    expected = (["auto", "one", "two"], ["one", "two"], ["quay.io/one", "ghcr.io", "quay.io/two"])

    assert expected == (
        [image.text for image in route.excluded_images],
        [image.text for image in route.claimed_images],
        [pattern.text for pattern in route.claimed_upstreams],
    )


def test_application_that_reaches_nowhere_speaks_for_its_own_namespace_only() -> None:
    """Beside an Application that reaches it claims nothing and excludes nothing where only the other one reaches."""
    reaching = an_application("*", metadata={"name": "reaching"})
    beside = an_application(
        metadata={"name": "beside", "annotations": {"proxy.kots.io/upstreams": "docker.io"}},
        excludedImages=["auto"],
        additionalImages=["ghcr.io/anybody/anything"],
    )
    (route,) = plan([a_license()], [reaching, beside]).table.routes

    assert (route.excluded_images, route.claimed_images, route.claimed_upstreams) == ((), (), ())
    assert [image.text for image in route.excluded_at_home] == ["auto"]


def test_settings_reach_the_table() -> None:
    """Hosts, globs and the secret's name come from the administrator."""
    settings = replace(SETTINGS, excluded_globs=("a?",), hosts=HostOverrides({"my-app": "set.acme.com"}, {}))
    table = plan([a_license()], [an_application("a", "a1")], settings=settings).table

    assert ("replicated-proxy-registry", "set.acme.com", {"app", "a"}) == (
        table.secret_name,
        table.routes[0].hosts.proxy,
        served(table, NAMES),
    )


LABELS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("no sync", {"proxy.kots.io/sync": "disabled"}, {"excluded": SETTINGS.excluded | {"a"}}),
    ("no rewriting", {"proxy.kots.io/rewrite": "disabled"}, {"unrewritten": {"a"}}),
    ("claim", {"proxy.kots.io/app": "my-app"}, {"claims": {"a": "my-app"}}),
    ("claim by app-slug", {"kots.io/app-slug": "my-app"}, {"claims": {"a": "my-app"}}),
    ("both claims", {"kots.io/app-slug": "other", "proxy.kots.io/app": "my-app"}, {"claims": {"a": "my-app"}}),
    ("other values", {"proxy.kots.io/sync": "enabled", "proxy.kots.io/rewrite": ""}, {}),
]


@pytest.mark.parametrize(("labels", "differs"), [row[1:] for row in LABELS], ids=ids(LABELS))
def test_namespace_speaks_by_labels(labels: dict[str, str], differs: dict[str, Any]) -> None:
    """A namespace opts out of everything, opts out of rewriting, or names its application."""
    rules = plan([a_license()], namespaces=[Namespace("a", labels=labels), Namespace("b")]).table.rules
    expected = {"excluded": SETTINGS.excluded, "unrewritten": set(), "claims": {}} | differs

    assert expected == {"excluded": rules.excluded, "unrewritten": rules.unrewritten, "claims": rules.claims}


def test_opted_out_namespace_is_covered_by_nobody() -> None:
    """The label beats explicit listing and the License's own namespace."""
    labels = {"proxy.kots.io/sync": "disabled"}
    namespaces = [Namespace("app", labels=labels), Namespace("a", labels=labels)]
    table = plan([a_license()], [an_application("a", "b")], namespaces).table

    assert {"b"} == served(table, NAMES)


def test_conflicts_are_added_to_a_table() -> None:
    """Namespaces whose Secret is not ours are marked, and nothing else changes."""
    table = plan([a_license()]).table
    marked = with_conflicts(table, ["a"])

    assert (frozenset({"a"}), table) == (marked.rules.conflicts, with_conflicts(marked, []))


FROZEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("paused", {"annotations": {"proxy.kots.io/paused": "true"}}, {}),
    ("unreadable expiry", {}, {"entitlements": {"expires_at": {"value": "soon", "valueType": "String"}}}),
]


@pytest.mark.parametrize(("metadata", "spec"), [row[1:] for row in FROZEN], ids=ids(FROZEN))
def test_frozen_license_keeps_its_published_routes(metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    """While frozen, neither its edits nor those of its Applications change what was published."""
    published = plan([a_license()], [an_application("a")]).table
    frozen = a_license(metadata=metadata, replicatedProxyDomain="edited.acme.com", **spec)
    planned = plan([frozen], [an_application("b")], previous=published)

    assert (published, frozenset({frozen.identity.uid})) == (planned.table, planned.held)


@pytest.mark.parametrize(("metadata", "spec"), [row[1:] for row in FROZEN], ids=ids(FROZEN))
def test_frozen_license_that_was_never_published_gets_no_route(metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    """A License that was frozen from the start, or is another object of the name, has no last good state."""
    published = plan([a_license(metadata={"uid": "of-an-earlier-object"})]).table
    frozen = a_license(metadata=metadata, **spec)
    expected = ((), ())

    assert expected == (plan([frozen]).table.routes, plan([frozen], previous=published).table.routes)


@pytest.mark.parametrize(("metadata", "spec"), [row[1:] for row in FROZEN], ids=ids(FROZEN))
def test_frozen_license_survives_a_lost_table(metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    """Where the published table is lost and copies note the License, it is in effect and held all the same."""
    frozen = a_license(metadata=metadata, **spec)
    sources = Sources((frozen,), (an_application("a"),), noted=frozenset({frozen.identity.uid}))
    planned = plan_table(sources, [], SETTINGS, NOTHING_YET)

    assert {"app", "a"} == served(planned.table, NAMES)
    assert planned.held == {frozen.identity.uid}


def test_license_that_takes_too_much_keeps_nobody_out() -> None:
    """A License whose Applications list more than its share is left out, and the others are published."""
    many = [f"{number:05}-{'n' * 57}" for number in range(9_000)]
    greedy = a_license("greedy", metadata={"namespace": "greedy", "creationTimestamp": "2025-01-01T00:00:00Z"})
    wide = an_application(*many, metadata={"namespace": "greedy"})
    planned = plan([greedy, a_license()], [wide, an_application("a")])

    assert [route.app_slug for route in planned.table.routes] == ["my-app"]
    assert {greedy.identity.uid} == planned.oversized


def test_license_that_grows_too_large_keeps_what_was_published() -> None:
    """What was published of such a License stays, and its copies with it."""
    published = plan([a_license()], [an_application("a")]).table
    wide = an_application(*(f"{number:05}-{'n' * 57}" for number in range(9_000)))
    planned = plan([a_license()], [wide], previous=published)

    assert (published, frozenset({a_license().identity.uid})) == (planned.table, planned.held)
    assert planned.held == planned.oversized


def test_license_that_is_gone_loses_its_route() -> None:
    """Deleted while its kind is served, a License is revoked, whatever was published."""
    published = plan([a_license(), a_license("other")], [an_application(metadata=LABELLED)]).table
    planned = plan([a_license("other")], previous=published)

    assert (["other"], frozenset()) == ([route.app_slug for route in planned.table.routes], planned.held)


OLD, NEW = Definitions("crd-1", "crd-2"), Definitions("crd-3", "crd-2")


def test_license_that_vanished_with_its_kind_keeps_its_route() -> None:
    """A definition that was deleted and made anew revokes nobody: what was read under the old one stays."""
    first = plan_table(Sources((a_license(),), (an_application("a"),), OLD), [], SETTINGS, NOTHING_YET)
    second = plan_table(Sources((), (), NEW), [], SETTINGS, first.table)

    assert (first.table, frozenset({a_license().identity.uid})) == (second.table, second.held)


def test_license_that_came_back_with_its_kind_is_read_anew() -> None:
    """Applied again under the new definition, a License takes the place of its old route."""
    first = plan_table(Sources((a_license(),), (an_application("a"),), OLD), [], SETTINGS, NOTHING_YET)
    again = a_license(metadata={"uid": "new-uid"})
    second = plan_table(Sources((again,), (an_application("b"),), NEW), [], SETTINGS, first.table)

    assert (["new-uid"], {"app", "b"}, frozenset()) == (
        [route.uid for route in second.table.routes],
        served(second.table, NAMES),
        second.held,
    )


REMADE = Definitions("crd-1", "crd-9")
APPLICATION_CHANGES: list[tuple[str, tuple[Application, ...], Definitions, set[str], bool]] = [
    ("gone with its definition", (), REMADE, {"app", "a"}, True),
    ("deleted while its definition stands", (), OLD, {"app"}, False),
    ("back under a new definition", (an_application("b"),), REMADE, {"app", "b"}, False),
    ("edited under the old definition", (an_application("b"),), OLD, {"app", "b"}, False),
]


@pytest.mark.parametrize(
    ("applications", "definitions", "covered", "is_held"),
    [row[1:] for row in APPLICATION_CHANGES],
    ids=ids(APPLICATION_CHANGES),
)
def test_application_that_vanished_with_its_kind_takes_nothing_away(
    applications: tuple[Application, ...], definitions: Definitions, covered: set[str], is_held: bool
) -> None:
    """What an Application widened stays while nobody deleted it; deleted or edited, it counts at once."""
    lic = a_license()
    first = plan_table(Sources((lic,), (an_application("a"),), OLD), [], SETTINGS, NOTHING_YET)
    second = plan_table(Sources((lic,), applications, definitions), [], SETTINGS, first.table)

    assert (covered, is_held) == (served(second.table, NAMES), bool(second.held))


NAMESAKES: list[tuple[str, Definitions, str, set[str]]] = [
    ("made anew by somebody", REMADE, "new-uid", {"app"}),
    ("made anew with its kind", Definitions("crd-8", "crd-9"), "uid-of-app-my-app", {"app", "a"}),
]


@pytest.mark.parametrize(("definitions", "uid", "covered"), [row[1:] for row in NAMESAKES], ids=ids(NAMESAKES))
def test_license_that_was_deleted_is_not_kept_for_a_lost_application(
    definitions: Definitions, uid: str, covered: set[str]
) -> None:
    """Another License of its name does not keep it in effect, unless its kind was made anew and nobody deleted it."""
    first = plan_table(Sources((a_license(),), (an_application("a"),), OLD), [], SETTINGS, NOTHING_YET)
    again = a_license(metadata={"uid": "new-uid"})
    second = plan_table(Sources((again,), (), definitions), [], SETTINGS, first.table)

    assert ([uid], covered) == ([route.uid for route in second.table.routes], served(second.table, NAMES))


def test_planning_twice_gives_the_same_table() -> None:
    """The plan converges in one step, in whatever order things are listed."""
    licenses = [a_license(), a_license("other")]
    applications = [an_application("a", metadata={"name": "x", **LABELLED}), an_application(metadata={"name": "y"})]
    first = plan(licenses, applications).table

    assert first == plan(licenses[::-1], applications[::-1], previous=first).table
