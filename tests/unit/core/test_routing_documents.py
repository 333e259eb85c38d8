"""The routing table as text: it comes back as it was, is the same bytes each time, and ends below 1 MiB."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CUSTOM_HOSTS, a_license, a_route, a_table, an_application, ids, patterns, selectors
from replicated_proxy.core.coverage import CoverageSettings, Sources, plan_table
from replicated_proxy.core.routes import Definitions, RoutingTable
from replicated_proxy.core.routing_documents import (
    LARGEST_DOCUMENT,
    InvalidRoutingTable,
    NewerRoutingTable,
    RoutingTableTooLarge,
    decode_table,
    encode_table,
)

FULL_ROUTE = a_route(
    hosts=replace(CUSTOM_HOSTS, default_proxy="proxy.staging.replicated.com"),
    every_namespace=True,
    expired=True,
    excluded_images=selectors("auto", "nginx:1", "Not An Image"),
    excluded_at_home=selectors("redis"),
    claimed_images=selectors("quay.io/acme/api"),
    claimed_upstreams=patterns("quay.io/acme", "*.example.com", " index.docker.io/x "),
    applications=("app/one", "app/two"),
    definitions=Definitions("crd-1", "crd-2"),
    created="2026-01-01T00:00:00Z",
)
FULL = a_table(
    FULL_ROUTE,
    a_route("other", "b"),
    listed={"a": (0, 1), "b": (1,)},
    excluded=frozenset({"kube-system", "x"}),
    excluded_globs=("team-*", "a?"),
    unrewritten=frozenset({"y"}),
    conflicts=frozenset({"z"}),
    claims={"c": "my-app"},
)
TABLES: list[tuple[str, RoutingTable]] = [
    ("nothing", RoutingTable("secret")),
    ("one", a_table()),
    ("everything", FULL),
    ("no exclusions", a_table(excluded=frozenset())),
]


@pytest.mark.parametrize("table", [row[1] for row in TABLES], ids=ids(TABLES))
def test_table_comes_back_as_it_was(table: RoutingTable) -> None:
    """Nothing is lost between the controller and the webhook."""
    assert table == decode_table(encode_table(table))


slugs = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)


@given(
    st.lists(st.tuples(slugs, slugs, st.booleans(), st.lists(st.text(max_size=9), max_size=2)), max_size=3),
    st.dictionaries(slugs, st.sets(st.integers(0, 2), min_size=1).map(sorted).map(tuple), max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "excluded": st.frozensets(slugs, max_size=3),
            "conflicts": st.frozensets(slugs, max_size=3),
            "claims": st.dictionaries(slugs, st.text(max_size=5), max_size=3),
        },
    ),
)
def test_any_table_comes_back_as_it_was(
    rows: list[tuple[str, str, bool, list[str]]], listed: dict[str, tuple[int, ...]], rules: dict[str, Any]
) -> None:
    """The same holds for tables that nobody thought of."""
    routes = [
        a_route(slug, namespace, every_namespace=everywhere, excluded_images=selectors(*dict.fromkeys(images)))
        for slug, namespace, everywhere, images in rows
    ]
    known = {name: places for name, places in listed.items() if max(places) < len(routes)}
    table = a_table(*routes, listed=known, **rules) if routes else RoutingTable("secret")

    assert table == decode_table(encode_table(table))


def test_newer_format_is_told_from_damage() -> None:
    """A controller overwrites a damaged table and must leave one of a later version alone."""
    with pytest.raises(NewerRoutingTable):
        decode_table(a_document(format=2))
    with pytest.raises(InvalidRoutingTable) as damaged:
        decode_table("{}")

    assert not isinstance(damaged.value, NewerRoutingTable)


def test_position_that_names_no_license_is_left_out() -> None:
    """A listed name of a damaged table lists nobody rather than breaking the reader."""
    text = encode_table(a_table()).replace('"listed":{}', '"listed":{"a":[0,7,-1]}')

    assert decode_table(text).listed == {"a": (0,)}


def test_same_table_is_the_same_bytes() -> None:
    """The order in which sets and maps were filled does not show, so nothing is written when nothing changed."""
    names = [f"ns-{number}" for number in range(50)]
    forth = a_table(listed=dict.fromkeys(names, (0,)), conflicts=frozenset(names), claims=dict.fromkeys(names, "x"))
    back = a_table(
        listed=dict.fromkeys(names[::-1], (0,)),
        conflicts=frozenset(names[::-1]),
        claims=dict.fromkeys(names[::-1], "x"),
    )

    assert encode_table(forth) == encode_table(back)


def test_nothing_secret_is_in_the_text() -> None:
    """A table planned from Licenses holds neither their IDs nor what the pull secret is made of."""
    lic = a_license(licenseID="s3cr3t-license", customerName="Jane", customerEmail="jane@example.com")
    settings = CoverageSettings("secret", frozenset())
    planned = plan_table(Sources((lic,), (an_application("*"),)), [], settings, RoutingTable("secret"))
    text = encode_table(planned.table)
    expected: list[str] = []

    assert expected == [word for word in ("s3cr3t", "Jane", "jane@", "LICENSE_ID", "auth") if word in text]


def test_five_thousand_listed_namespaces_fit() -> None:
    """Even with names of the greatest length and several Licenses that list them all."""
    names = [f"{number:05}-{'n' * 57}" for number in range(5_000)]
    routes = [a_route(f"app-{number}", f"vendor-{number}") for number in range(5)]
    text = encode_table(a_table(*routes, listed=dict.fromkeys(names, (0, 1, 2, 3, 4))))

    assert len(text.encode()) < LARGEST_DOCUMENT / 2


def test_table_that_does_not_fit_is_refused_with_a_remedy() -> None:
    """The error says how large it is and what makes it smaller."""
    names = [f"{number:05}-{'n' * 57}" for number in range(20_000)]

    with pytest.raises(RoutingTableTooLarge, match=r"bytes.*list fewer namespaces.*\(20000 are listed\)"):
        encode_table(a_table(listed=dict.fromkeys(names, (0,))))


def a_document(**differs: Any) -> str:
    """Return the text of a table with other fields."""
    return json.dumps(json.loads(encode_table(a_table())) | differs)


def a_route_document(**differs: Any) -> str:
    """Return the text of a table whose one route has other fields; None takes a field out."""
    (fields,) = json.loads(encode_table(a_table()))["routes"]
    return a_document(routes=[{key: value for key, value in (fields | differs).items() if value is not None}])


UNREADABLE = [
    ("empty", "", "no JSON"),
    ("cut off", encode_table(FULL)[:-10], "no JSON"),
    ("too deep", "[" * 100_000, "no JSON"),
    ("a list", "[]", "format None is not 1"),
    ("null", "null", "format None is not 1"),
    ("no format", "{}", "format None is not 1"),
    ("newer format", a_document(format=2), "format 2 is newer than 1"),
    ("format as text", a_document(format="1"), "format '1' is not 1"),
    ("bad upstream", a_route_document(claimedUpstreams=["quay.io/*"]), "damaged"),
    # Images would become `/proxy/my-app/…`, which no node can pull, and Pods would get a nameless secret.
    ("no proxy host", a_route_document(proxyHost=None), "damaged"),
    ("proxy host of another type", a_route_document(proxyHost=5), "damaged"),
    ("no registry host", a_route_document(registryHost=None), "damaged"),
    ("no slug", a_route_document(appSlug=None), "damaged"),
    ("no License", a_route_document(license=None), "damaged"),
    ("no secret name", a_document(secretName=""), "damaged"),
]


@pytest.mark.parametrize(("text", "words"), [row[1:] for row in UNREADABLE], ids=ids(UNREADABLE))
def test_table_that_cannot_be_trusted_is_refused(text: str, words: str) -> None:
    """A webhook keeps its last good table rather than half of one, or one of a newer format."""
    with pytest.raises(InvalidRoutingTable, match=words):
        decode_table(text)


def test_unknown_fields_are_passed_over() -> None:
    """A field that only a newer controller of the same format writes does no harm."""
    text = a_route_document(newField={"x": 1})

    assert a_table() == decode_table(json.dumps(json.loads(text) | {"other": []}))
