"""Which Licenses cover a namespace."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_route, a_table, ids
from replicated_proxy.core.routes import NamespaceRules, Reach, Route, RoutingTable

Found = list[tuple[str, Reach]]


def covering(table: RoutingTable, namespace: str) -> Found:
    """Return the Licenses that cover a namespace, by namespace/name, and how."""
    return [(item.route.license, item.reach) for item in table.covering(namespace)]


EVERYWHERE = a_table(a_route(every_namespace=True))
LISTED = a_table(a_route(), listed={"a": (0,), "kube-system": (0,)})
COVERAGE: list[tuple[str, RoutingTable, str, Found]] = [
    ("own", a_table(), "app", [("app/my-app", Reach.OWN)]),
    ("not own", a_table(), "a", []),
    ("listed", LISTED, "a", [("app/my-app", Reach.EXPLICIT)]),
    ("not listed", LISTED, "b", []),
    ("own while others are listed", LISTED, "app", [("app/my-app", Reach.OWN)]),
    ("wildcard", EVERYWHERE, "made-tomorrow", [("app/my-app", Reach.WILDCARD)]),
    ("own beats wildcard", EVERYWHERE, "app", [("app/my-app", Reach.OWN)]),
    (
        "listed beats wildcard",
        a_table(a_route(every_namespace=True), listed={"a": (0,)}),
        "a",
        [("app/my-app", Reach.EXPLICIT)],
    ),
    ("system namespace under the wildcard", EVERYWHERE, "kube-system", []),
    ("system namespace that is listed", LISTED, "kube-system", []),
    ("no License at all", RoutingTable("secret"), "app", []),
]


@pytest.mark.parametrize(("table", "namespace", "expected"), [row[1:] for row in COVERAGE], ids=ids(COVERAGE))
def test_license_covers_own_listed_and_wildcard_namespaces(
    table: RoutingTable, namespace: str, expected: Found
) -> None:
    """The strongest reach counts; system namespaces are never covered."""
    assert expected == covering(table, namespace)


SHADOWS: list[tuple[str, RoutingTable, Found]] = [
    (
        "own shadows older",
        a_table(a_route(namespace="old", every_namespace=True), a_route(namespace="ns")),
        [("ns/my-app", Reach.OWN)],
    ),
    (
        "listed shadows older wildcard",
        a_table(a_route(namespace="old", every_namespace=True), a_route(namespace="new"), listed={"ns": (1,)}),
        [("new/my-app", Reach.EXPLICIT)],
    ),
    (
        "oldest of two wildcards",
        a_table(a_route(namespace="old", every_namespace=True), a_route(namespace="new", every_namespace=True)),
        [("old/my-app", Reach.WILDCARD)],
    ),
    (
        "oldest of two listed",
        a_table(a_route(namespace="old"), a_route(namespace="new"), listed={"ns": (0, 1)}),
        [("old/my-app", Reach.EXPLICIT)],
    ),
    (
        "other slug is not shadowed",
        a_table(a_route("one", "old", every_namespace=True), a_route("two", "ns")),
        [("old/one", Reach.WILDCARD), ("ns/two", Reach.OWN)],
    ),
    (
        "oldest first after shadowing",
        a_table(
            a_route("one", "old", every_namespace=True),
            a_route("two", "middle", every_namespace=True),
            a_route("one", "ns"),
        ),
        [("middle/two", Reach.WILDCARD), ("ns/one", Reach.OWN)],
    ),
]


@pytest.mark.parametrize(("table", "expected"), [row[1:] for row in SHADOWS], ids=ids(SHADOWS))
def test_one_license_of_each_slug_covers_a_namespace(table: RoutingTable, expected: Found) -> None:
    """Of two Licenses of one application the nearer one stays, else the older one; the result is oldest first."""
    assert expected == covering(table, "ns")


def gone(namespace: str, **differs: Any) -> Route:
    """Return the route of an expired License under `Revoke`."""
    return a_route(namespace=namespace, expired=True, **differs)


EXPIRED: list[tuple[str, RoutingTable, Found]] = [
    (
        "two own, the older expired",
        a_table(gone("ns", license="ns/old"), a_route(namespace="ns", license="ns/renewed")),
        [("ns/renewed", Reach.OWN)],
    ),
    (
        "two own, the younger expired",
        a_table(a_route(namespace="ns", license="ns/old"), gone("ns", license="ns/trial")),
        [("ns/old", Reach.OWN)],
    ),
    (
        "own expired, another listed",
        a_table(gone("ns"), a_route(), listed={"ns": (1,)}),
        [("app/my-app", Reach.EXPLICIT)],
    ),
    (
        "own expired, older wildcard",
        a_table(a_route(every_namespace=True), gone("ns")),
        [("app/my-app", Reach.WILDCARD)],
    ),
    ("own expired, another elsewhere", a_table(gone("ns"), a_route()), [("ns/my-app", Reach.OWN)]),
    (
        "own retained, another listed",
        a_table(a_route(namespace="ns", retained=True), a_route(), listed={"ns": (1,)}),
        [("app/my-app", Reach.EXPLICIT)],
    ),
    ("both expired", a_table(gone("old", every_namespace=True), gone("ns")), [("ns/my-app", Reach.OWN)]),
]


@pytest.mark.parametrize(("table", "expected"), [row[1:] for row in EXPIRED], ids=ids(EXPIRED))
def test_usable_license_shadows_an_expired_one_of_its_slug(table: RoutingTable, expected: Found) -> None:
    """A renewed License takes over however it covers the namespace; among expired ones the usual order holds."""
    assert expected == covering(table, "ns")


EXCLUSIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("exact", {"excluded": frozenset({"ns"})}, True),
    ("other name", {"excluded": frozenset({"ns2"})}, False),
    ("star", {"excluded_globs": ("n*",)}, True),
    ("question mark", {"excluded_globs": ("?s",)}, True),
    ("other glob", {"excluded_globs": ("ns-*",)}, False),
    ("case", {"excluded_globs": ("N*",)}, False),
    ("second glob", {"excluded_globs": ("x*", "*s")}, True),
]


@pytest.mark.parametrize(("rules", "expected"), [row[1:] for row in EXCLUSIONS], ids=ids(EXCLUSIONS))
def test_excluded_namespace_is_covered_by_nobody(rules: dict[str, Any], expected: bool) -> None:
    """Names and globs beat a License's own namespace."""
    table = a_table(a_route(namespace="ns"), **rules)

    assert (expected, expected) == (NamespaceRules(**rules).excludes("ns"), table.covering("ns") == ())
