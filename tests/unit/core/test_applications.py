"""Reading Applications: what makes sense is used, the rest is reported and skipped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import an_application, an_application_body, ids
from replicated_proxy.core.applications import parse_application

# replicated.md 2.3: entries, names, every namespace, number of problems.
NAMESPACES: list[tuple[str, Any, tuple[str, ...], bool, int]] = [
    ("absent", None, (), False, 0),
    ("empty", [], (), False, 0),
    ("one", ["a"], ("a",), False, 0),
    ("wildcard", ["*"], (), True, 0),
    ("wildcard and one", ["*", "c"], ("c",), True, 0),
    ("pattern", ["a*"], (), False, 1),
    ("team pattern beside a name", ["team-*", "a"], ("a",), False, 1),
    ("twice", ["a", "a"], ("a",), False, 0),
    ("wildcard twice", ["*", "*"], (), True, 0),
    ("template text", ['repl{{ ConfigOption "x" }}'], (), False, 1),
    ("upper case", ["Team"], (), False, 1),
    ("underscore", ["my_team"], (), False, 1),
    ("dot", ["my.team"], (), False, 1),
    ("dash in front", ["-team"], (), False, 1),
    ("line break", ["team\n"], (), False, 1),
    ("longest name", ["a" * 63], ("a" * 63,), False, 0),
    ("too long a name", ["a" * 64], (), False, 1),
    ("empty name", [""], (), False, 1),
    ("digits", ["123"], ("123",), False, 0),
    ("number", [5], (), False, 1),
    ("null", [None], (), False, 1),
    ("object", [{"name": "a"}], (), False, 1),
    ("list", [["a"]], (), False, 1),
    ("text instead of a list", "a", (), False, 0),
    ("order is kept", ["b", "a"], ("b", "a"), False, 0),
]


@pytest.mark.parametrize(
    ("entries", "names", "everywhere", "problems"), [row[1:] for row in NAMESPACES], ids=ids(NAMESPACES)
)
def test_additional_namespaces(entries: Any, names: tuple[str, ...], everywhere: bool, problems: int) -> None:
    """Legal names count once, `"*"` is the only wildcard, and everything else is one problem each."""
    application = an_application(additionalNamespaces=entries)

    assert (names, everywhere, problems) == (
        application.namespaces,
        application.every_namespace,
        len(application.problems),
    )


def test_problem_names_the_entry_and_the_remedy() -> None:
    """Whoever wrote a pattern learns which one was skipped and what to write instead."""
    (problem,) = an_application("team-*").problems

    assert "'team-*'" in problem
    assert 'list names, or "*"' in problem


REACHES: list[tuple[str, tuple[str, ...], bool]] = [
    ("nothing", (), False),
    ("another namespace", ("a",), True),
    ("every namespace", ("*",), True),
    ("only its own", ("app",), False),
    ("its own and another", ("app", "a"), True),
    ("only nonsense", ("team-*",), False),
]


@pytest.mark.parametrize(("names", "expected"), [row[1:] for row in REACHES], ids=ids(REACHES))
def test_reaching_beyond_the_own_namespace(names: tuple[str, ...], expected: bool) -> None:
    """An Application reaches beyond its namespace when it names another one or all of them."""
    assert expected == an_application(*names).reaches_beyond


def test_fields_that_widen_or_narrow_are_read() -> None:
    """Label, images, upstreams and domains are what the operator goes by."""
    application = an_application(
        metadata={
            "labels": {"kots.io/app-slug": "my-app"},
            "annotations": {"proxy.kots.io/upstreams": "quay.io/acme, *.example.com,,ghcr.io"},
        },
        excludedImages=["auto", "nginx"],
        additionalImages=["quay.io/acme/api:1"],
        proxyRegistryDomain="proxy.acme.com",
        replicatedRegistryDomain="reg.acme.com",
    )
    expected = (
        "my-app",
        ["auto", "nginx"],
        ["quay.io/acme/api:1"],
        ["quay.io/acme", "*.example.com", "ghcr.io"],
        "proxy.acme.com",
        "reg.acme.com",
        (),
    )

    assert expected == (
        application.app_slug,
        [image.text for image in application.excluded_images],
        [image.text for image in application.additional_images],
        [pattern.text for pattern in application.upstreams],
        application.proxy_domain,
        application.registry_domain,
        application.problems,
    )


@pytest.mark.parametrize("field", ["proxyRegistryDomain", "replicatedRegistryDomain"])
def test_domain_that_is_no_host_is_skipped_and_told(field: str) -> None:
    """A URL where a host belongs is reported by field and value."""
    spec: dict[str, Any] = {field: "https://proxy.acme.com/"}
    application = an_application(**spec)
    expected = ("", "")

    assert expected == (application.proxy_domain, application.registry_domain)
    assert [field in text and "'https://proxy.acme.com/'" in text for text in application.problems] == [True]


def test_upstream_that_is_no_pattern_is_skipped_and_told() -> None:
    """One bad entry of the annotation does not spoil the others."""
    application = an_application(metadata={"annotations": {"proxy.kots.io/upstreams": "quay.io/*, ghcr.io"}})
    expected = ["ghcr.io"]

    assert expected == [pattern.text for pattern in application.upstreams]
    assert ["'quay.io/*'" in text for text in application.problems] == [True]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
FIELDS = (
    "additionalNamespaces", "excludedImages", "additionalImages", "proxyRegistryDomain", "replicatedRegistryDomain"
)  # fmt: skip


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, json_values | st.lists(json_values, max_size=3))),
    json_values | st.fixed_dictionaries({"annotations": st.fixed_dictionaries({"proxy.kots.io/upstreams": st.text()})}),
)
def test_hostile_application_is_read(spec: dict[str, Any], metadata: object) -> None:
    """A field may have any JSON type: an Application is always read, whatever it says."""
    application = parse_application(an_application_body() | {"spec": spec, "metadata": metadata})

    assert all(application.problems)
