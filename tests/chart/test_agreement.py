"""The chart refuses whatever the program would refuse at its start, while there are replicas that go on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bad_settings import SOURCE, WRONG, WRONG_DOCUMENTS, written_at
from replicated_proxy.settings import InvalidSettings, parse_settings
from rig.manifests import read_manifests

if TYPE_CHECKING:
    from chart.helm_chart import Chart

_ROWS: Final[list[tuple[str, Any]]] = [
    *((key, written_at(key, value)) for key, value, _ in WRONG if not isinstance(value, float) or math.isfinite(value)),
    *((key.partition("[")[0], document) for document, key, _ in WRONG_DOCUMENTS),
]
# With a null helm takes a value away, which leaves the program's default; an empty installation becomes the release.
_NEVER_GIVEN: Final[list[Any]] = [
    {"rewrite": None},
    {"installation": ""},
    *({"certificates": {key: None}} for key in ("caLifetime", "leafLifetime")),
]
# What a line of helm's output is about: a path where the schema complains, with the keys that should be there or should
# not; a key where we do.
_SUBJECT: Final = re.compile(
    r" *- (?:at '/settings/?([^']*)': (?:(?:additional|missing) propert\w+ (.*))?"
    r"|(?:a key of )?settings[.](\S+) (?:is|has) )",
    re.ASCII,
)


def refuses(document: object) -> bool:
    """Tell whether the program refuses settings."""
    try:
        parse_settings(document, {})
    except InvalidSettings:
        return True
    return False


def render(chart: Chart, document: object) -> tuple[str, set[str]]:
    """Return the manifests that helm makes of settings, or nothing, and the keys that it complains about."""
    written = yaml.safe_dump({"settings": document}, allow_unicode=True)
    done = chart.run("template", "proxy", str(chart.folder), "--namespace", "home", values=written)
    return done.stdout, {subject for line in done.stderr.splitlines() for subject in subjects_of(line)}


def subjects_of(line: str) -> Iterator[str]:
    """Yield the keys that a line complains about, with dots, places in lists included."""
    if found := _SUBJECT.match(line):
        path, named, key = found.groups()
        for name in re.findall(r"'(\w+)'", named or "") or [""]:
            yield re.sub(r"[/\[]", ".", f"{path}/{name}".strip("/") if key is None else key).replace("]", "")


def overlap(one: str, other: str) -> bool:
    """Tell whether one key is the other one, or lies below it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def value_at(key: str, document: Any) -> Any:
    """Return the value at a key of a document that says nothing else, or nothing."""
    value = document
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if written_at(key, value) == document else None


def put_together(rows: Mapping[int, tuple[str, Any]]) -> tuple[dict[int, str], dict[str, Any]]:
    """Choose rows whose keys have nothing to do with each other, and return their keys and one document of them all."""
    chosen: dict[int, str] = {}
    together: dict[str, Any] = {}
    for number, (key, value) in rows.items():
        if not any(overlap(key, other) for other in chosen.values()):
            chosen[number] = key
            *parts, last = key.split(".")
            reduce(lambda place, part: place.setdefault(part, {}), parts, together)[last] = value
    return chosen, together


@pytest.fixture(scope="module")
def told_together(chart: Chart) -> set[int]:
    """Return the rows that are refused by their key among others: one rendering for many of them."""
    rows = {number: (key, value_at(key, document)) for number, (key, document) in enumerate(_ROWS)}
    waiting = {number: row for number, row in rows.items() if row[1] is not None}
    found: set[int] = set()
    while waiting:
        chosen, together = put_together(waiting)
        _, complaints = render(chart, together)
        named = {
            number for number, key in chosen.items() if any(f"{each}.".startswith(f"{key}.") for each in complaints)
        }
        found |= named
        for number in named or chosen:  # The schema comes first, and what it lets pass is not told yet then.
            del waiting[number]
    return found


@pytest.mark.parametrize("number", range(len(_ROWS)), ids=[f"{document!r:.60}" for _, document in _ROWS])
def test_what_the_program_refuses_is_refused_by_the_chart(chart: Chart, told_together: set[int], number: int) -> None:
    """No replica is ever started with a setting that would end it."""
    _, document = _ROWS[number]
    assert refuses(document)
    if number in told_together:
        return
    manifests, _ = render(chart, document)
    if document in _NEVER_GIVEN:
        assert not refuses(given_to_the_program(manifests))
    else:
        assert not manifests


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_refused(chart: Chart, number: float) -> None:
    """YAML has words for it, which compare with nothing; helm takes none of them, wherever they stand."""
    document = {"controller": {"deletionsPerSecond": number}}
    assert not render(chart, document)[0]


def given_to_the_program(manifests: str) -> Any:
    """Return the settings as the program reads them."""
    texts = [
        each["data"]["settings.yaml"] for each in read_manifests(manifests) if "settings.yaml" in each.get("data", {})
    ]
    return yaml.safe_load(texts[0])


def test_registry_that_is_taken_away_is_not_given(chart: Chart) -> None:
    """A null means that nothing is assumed, also of a registry that the chart never named."""
    taken = {"detection": {"assume": {"quay.example.com": None, "mcr.microsoft.com": None}}}
    given = given_to_the_program(chart.template({"settings": taken}))
    assert {"public.ecr.aws", "registry.k8s.io"} < set(given["detection"]["assume"])
    assert not {"quay.example.com", "mcr.microsoft.com"} & set(given["detection"]["assume"])
    assert not refuses(given)


# Where texts of one form stand in lists, and in the entries of a list.
_LISTS: Final = (
    *("rewrite.include", "rewrite.excludedLabels", "sources.namespaces", "secret.excludedNamespaces"),
    *("certificates.extraNames", "detection.allowedNetworks"),
)
_FIELDS: Final = ("namespace", "name", "key", "appSlug", "proxyHost")
# Short, or the schema would complain of the length and keep helm from looking at the rest.
_TEXTS: Final = st.text("aA0129.-_:/*?[]=% é\n", max_size=9) | st.sampled_from(["::", "*.a", "a.b/c", "10.0.0.0/8"])
_NETWORKS: Final = st.builds(
    lambda address, length: f"{address}/{length}",
    st.ip_addresses() | st.sampled_from(["10.0.0.0", "128.0.0.0", "fe80::", "::", "1::8000:0:0", "::ffff:1.2.0.0"]),
    st.integers(0, 130),
)
# Each of many texts: what was refused by one side alone is told, and to shrink the others would only take time.
_FEW: Final = settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])


def everywhere(texts: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write texts into settings at every place that takes any, and return the settings with one of them by its key."""
    whole: dict[str, Any] = {"proxy": {"hosts": {f"app-{number}": text for number, text in enumerate(texts)}}}
    single = {
        f"proxy.hosts.{slug}": written_at("proxy.hosts", {slug: text}) for slug, text in whole["proxy"]["hosts"].items()
    }
    for key in _LISTS:
        section, name = key.split(".")
        whole.setdefault(section, {})[name] = texts
        single |= {f"{key}.{number}": written_at(key, [text]) for number, text in enumerate(texts)}
    whole["sources"]["secrets"] = [{**SOURCE, field: text} for field in _FIELDS for text in texts]
    for number, source in enumerate(whole["sources"]["secrets"]):
        single[f"sources.secrets.{number}.{_FIELDS[number // len(texts)]}"] = {"sources": {"secrets": [source]}}
    return whole, single


@_FEW
@given(st.lists(_TEXTS, min_size=40, max_size=40, unique=True))
def test_text_that_the_program_refuses_is_refused_by_the_chart(chart: Chart, texts: list[str]) -> None:
    """Forms of texts are at least as narrow in the chart, at every place."""
    whole, single = everywhere(texts)
    _, complaints = render(chart, whole)
    assert {key: each for key, each in single.items() if refuses(each) and key not in complaints} == {}


@_FEW
@given(st.lists(_NETWORKS, min_size=100, max_size=100))
def test_networks_are_read_alike(chart: Chart, networks: list[str]) -> None:
    """Helm has no words for addresses, so the chart counts bits itself; it lets pass what is right."""
    _, complaints = render(chart, {"detection": {"internalNetworks": networks}})
    numbered = enumerate(written_at("detection.internalNetworks", [network]) for network in networks)
    assert {f"detection.internalNetworks.{number}" for number, each in numbered if refuses(each)} == complaints


@_FEW
@given(st.lists(st.text("a1.*-/A:", min_size=1, max_size=6), min_size=60, max_size=60, unique=True))
def test_registries_are_read_alike(chart: Chart, patterns: list[str]) -> None:
    """What may be assumed has keys of its own form, which are told with their text."""
    stderr = chart.run(
        "template",
        "proxy",
        str(chart.folder),
        values={"settings": {"detection": {"assume": dict.fromkeys(patterns, "Public")}}},
    ).stderr
    refused = [each for each in patterns if refuses({"detection": {"assume": {each: "Public"}}})]
    assert [each for each in refused if f'settings.detection.assume is "{each}"' not in stderr] == []
