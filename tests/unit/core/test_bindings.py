"""Which Application belongs to which License."""

from __future__ import annotations

import pytest

from builders import a_license, an_application, ids
from replicated_proxy.core.applications import Application
from replicated_proxy.core.bindings import bind_applications
from replicated_proxy.core.licenses import License

LABELLED = {"labels": {"kots.io/app-slug": "my-app"}}
BINDINGS: list[tuple[str, Application, list[License], list[str], str]] = [
    ("the only one", an_application("a"), [a_license()], ["my-app"], ""),
    ("by label", an_application("a", metadata=LABELLED), [a_license(), a_license("other")], ["my-app"], ""),
    ("guessing with reach", an_application("a"), [a_license(), a_license("other")], [], "several Licenses"),
    ("guessing with wildcard", an_application("*"), [a_license(), a_license("other")], [], "several Licenses"),
    ("guessing without reach", an_application(), [a_license(), a_license("other")], ["my-app", "other"], ""),
    ("label of nobody", an_application(metadata=LABELLED), [a_license("other")], [], "no License of application"),
    # A second License of the slug (say, the renewed one under another name) is shadowed; it is no ambiguity.
    (
        "label with two of the slug",
        an_application("a", metadata=LABELLED),
        [a_license(), a_license(metadata={"name": "renewed"})],
        ["my-app", "my-app"],
        "",
    ),
]


@pytest.mark.parametrize(
    ("application", "licenses", "slugs", "problem"), [row[1:] for row in BINDINGS], ids=ids(BINDINGS)
)
def test_application_binds_by_label_or_to_the_only_license(
    application: Application, licenses: list[License], slugs: list[str], problem: str
) -> None:
    """Nobody's credential is spread by a guess: reaching beyond the namespace takes a label or a single License."""
    bindings = bind_applications(licenses, [application])
    bound = [lic.app_slug for lic in licenses if bindings.by_license[lic.identity.uid]]

    assert slugs == bound
    assert bool(problem) == bool(bindings.problems)
    assert all(problem in text for text in bindings.problems.values())


PROXY, REGISTRY = "proxyRegistryDomain", "replicatedRegistryDomain"
ONE, TWO = {PROXY: "one.acme.com"}, {PROXY: "two.acme.com"}
# What Applications say, the oldest first, and for each that has a note the words that must be in it.
DISAGREEMENTS: list[tuple[str, list[dict[str, str]], dict[int, list[str]]]] = [
    ("nobody says anything", [{}, {}], {}),
    ("only the younger", [{}, ONE], {}),
    ("they agree", [ONE, {}, ONE], {}),
    ("the younger loses", [ONE, TWO], {1: [PROXY, "'two.acme.com'", "'a0'", "'one.acme.com'"]}),
    ("two lose", [ONE, TWO, TWO], {1: ["'a0'"], 2: ["'a0'"]}),
    ("the first that says anything wins", [{}, ONE, TWO], {2: ["'a1'"]}),
    ("registry host", [{REGISTRY: "a.acme.com"}, {REGISTRY: "b.acme.com"}], {1: [REGISTRY, "'b.acme.com'"]}),
    (
        "each host by itself",
        [ONE, TWO | {REGISTRY: "b.acme.com"}, {REGISTRY: "c.acme.com"}],
        {1: [PROXY], 2: [REGISTRY, "'a1'"]},
    ),
    (
        "both hosts",
        [ONE | {REGISTRY: "a.acme.com"}, TWO | {REGISTRY: "b.acme.com"}],
        {1: [PROXY, REGISTRY]},
    ),
]


@pytest.mark.parametrize(("specs", "expected"), [row[1:] for row in DISAGREEMENTS], ids=ids(DISAGREEMENTS))
def test_application_whose_host_loses_says_so(specs: list[dict[str, str]], expected: dict[int, list[str]]) -> None:
    """Of several Applications the oldest that names a host wins; each other one that differs is told by whom."""
    applications = [
        an_application(metadata={"name": f"a{age}", "creationTimestamp": f"2026-01-0{age + 1}T00:00:00Z"}, **spec)
        for age, spec in enumerate(specs)
    ]
    bindings = bind_applications([a_license(), a_license("other")], applications[::-1])
    uids = [item.identity.uid for item in applications]

    assert {uids[age] for age in expected} == set(bindings.notes)
    assert all(word in bindings.notes[uids[age]] for age, words in expected.items() for word in words)
    assert all(
        text.count("has no effect") == len({PROXY, REGISTRY} & set(text.split())) for text in bindings.notes.values()
    )
    assert not bindings.problems


def test_applications_of_different_licenses_do_not_disagree() -> None:
    """Each application has its own hosts; a License elsewhere or of another slug is none of its business."""
    applications = [
        an_application(metadata={"name": slug, "labels": {"kots.io/app-slug": slug}}, **spec)
        for slug, spec in (("one", ONE), ("two", TWO))
    ]
    bindings = bind_applications([a_license("one"), a_license("two")], applications)
    expected: dict[str, str] = {}

    assert expected == bindings.notes
