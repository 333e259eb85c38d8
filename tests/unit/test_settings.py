"""Settings: defaults, what may be written, and every mistake told at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bad_settings import NAMES, PAUSES, PORTS, WRONG, WRONG_DOCUMENTS, written_at
from builders import ids, patterns
from replicated_proxy.core.coverage import CoverageSettings
from replicated_proxy.core.hosts import HostOverrides
from replicated_proxy.core.rewriting import Mode, WildcardScope
from replicated_proxy.core.routes import SYSTEM_NAMESPACES
from replicated_proxy.settings import InvalidSettings, Settings, camel_case, load_settings, parse_settings


def problems_of(document: object) -> list[str]:
    """Return the lines of the error, without its heading."""
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(document, {})
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


def test_nothing_written_means_the_defaults() -> None:
    """Every setting has a default."""
    assert Settings() == parse_settings({}, {})


def test_names_are_those_of_the_specification() -> None:
    """The fixed names hold unless somebody changes them."""
    settings = Settings()
    expected = ("replicated-proxy-registry", "replicated-proxy-routes", Mode.PRIVATE, WildcardScope.CLAIMED)

    assert expected == (
        settings.secret.name,
        settings.routes_config_map,
        settings.rewrite.mode,
        settings.rewrite.wildcard_scope,
    )


def test_every_type_can_be_written() -> None:
    """Words, text, numbers, flags, lists and mappings are read; keys are written in camelCase."""
    settings = parse_settings(
        {
            "secret": {"name": "pull", "excludedNamespaces": ["one", "two-*"], "createNamespaces": True},
            "proxy": {"hosts": {"my-app": "proxy.acme.com"}, "registryHosts": {"my-app": "reg.acme.com:5000"}},
            "rewrite": {"mode": "listed", "include": ["quay.io/acme"], "wildcardScope": "All", "canonicalNames": True},
            "controller": {"concurrency": 4, "sweepSeconds": 5},
            "sources": {"namespaces": ["vendor"]},
            "routesConfigMap": "routes",
        },
        {},
    )
    expected = ("pull", ("one", "two-*"), True, 4, 5, ("vendor",), "routes", Mode.LISTED, WildcardScope.ALL, True)

    assert expected == (
        settings.secret.name,
        settings.secret.excluded_namespaces,
        settings.secret.create_namespaces,
        settings.controller.concurrency,
        settings.controller.sweep_seconds,
        settings.sources.namespaces,
        settings.routes_config_map,
        settings.rewrite.mode,
        settings.rewrite.wildcard_scope,
        settings.rewrite.canonical_names,
    )


def test_environment_beats_the_document() -> None:
    """What only the container knows comes from there; an empty variable counts as unset."""
    document = {"namespace": "written", "logLevel": "DEBUG"}
    settings = parse_settings(document, {"POD_NAMESPACE": "real", "LOG_LEVEL": "", "OTHER": "x"})
    expected = ("real", "DEBUG")

    assert expected == (settings.namespace, settings.log_level)


def test_coverage_excludes_system_and_own_namespace() -> None:
    """Names and globs are told apart, and the operator's own namespace is always excluded."""
    document = {
        "secret": {"excludedNamespaces": ["one", "two-*", "thre?"]},
        "proxy": {"hosts": {"my-app": "proxy.acme.com"}},
    }
    expected = CoverageSettings(
        secret_name="replicated-proxy-registry",
        excluded=SYSTEM_NAMESPACES | {"one", "own"},
        excluded_globs=("two-*", "thre?"),
        hosts=HostOverrides({"my-app": "proxy.acme.com"}, {}),
    )

    assert expected == parse_settings(document, {"POD_NAMESPACE": "own"}).coverage()


def test_policy_holds_parsed_patterns() -> None:
    """What the webhook decides by is parsed once."""
    document = {"rewrite": {"mode": "off", "include": ["quay.io/acme"], "exclude": ["*.example.com"]}}
    policy = parse_settings(document, {}).policy()

    assert (Mode.OFF, patterns("quay.io/acme"), patterns("*.example.com")) == (
        policy.mode,
        policy.include,
        policy.exclude,
    )


def test_shipped_owners_are_excluded() -> None:
    """Controllers known to compare images are in the list unless it is changed."""
    shipped = Settings().policy()

    assert {"Cluster.postgresql.cnpg.io", "CatalogSource.operators.coreos.com"} <= shipped.excluded_owners
    assert shipped.excluded_labels == (("aerospike.com/cr", ""), ("application", "spilo"))


def innermost(value: object) -> object:
    """Return the one wrong value in what is written."""
    if isinstance(value, dict) and value:
        return next(iter(value.values()))
    return value


@pytest.mark.parametrize(("key", "value", "remedy"), WRONG, ids=[f"{key}={value!r:.40}" for key, value, _ in WRONG])
def test_wrong_value_is_told_by_key_value_and_remedy(key: str, value: Any, remedy: str) -> None:
    """One problem, which says where, what is written there and what may be."""
    (problem,) = problems_of(written_at(key, value))
    wrong = innermost(value)
    written = repr(
        wrong[0]
        if isinstance(wrong, list) and key.endswith(("clude", "spaces", "Names", "Labels", "Networks"))
        else wrong
    )
    expected = (True, True, True)

    assert expected == (problem.startswith(key), written in problem, remedy in problem)


@pytest.mark.parametrize(
    ("document", "key", "words"), WRONG_DOCUMENTS, ids=[f"{key}: {words}" for _, key, words in WRONG_DOCUMENTS]
)
def test_what_does_not_go_together_is_told_by_key_and_remedy(document: Any, key: str, words: str) -> None:
    """One problem, under the key that has to change."""
    (problem,) = problems_of(document)

    assert (problem.startswith(key), words in problem) == (True, True)


def test_value_that_may_hold_a_password_is_not_repeated() -> None:
    """The address of a proxy is the one setting that people write credentials into."""
    (problem,) = problems_of({"detection": {"httpProxy": "http://user:secret@proxy.example.com:3128"}})

    assert "secret" not in problem


RIGHT: list[tuple[str, Any]] = [
    *((key, port) for key in PORTS for port in (1, 65_535)),
    *((key, seconds) for key in ("controller.sweepSeconds", "controller.retryLongestSeconds") for seconds in (1, 3e7)),
    ("controller.retryFirstSeconds", 0.001),
    *(("detection.questionsPerSecond", number) for number in (0.01, 10, 1000)),
    ("webhook.clientCaFile", "/etc/ca.crt"),
    *((key, seconds) for key in PAUSES for seconds in (0, 0.0, 3600)),
    ("controller.leaseSeconds", 3600),
    *((key, name) for key in NAMES for name in ("a", "0.a-b.c", "a" * 253)),
    ("webhook.serviceName", "a" * 63),
    ("secret.excludedNamespaces", ["*", "?", "team-*", "*-team", "a" * 63, "te?m"]),
    ("sources.namespaces", ["a", "a" * 63]),
    ("certificates.extraNames", ["hook.example.com", "hook", "10.0.0.1", "::1"]),
]


@pytest.mark.parametrize(("key", "value"), RIGHT, ids=[f"{key}={value!r:.40}" for key, value in RIGHT])
def test_every_value_in_range_is_taken(key: str, value: Any) -> None:
    """The ends of each range, and every legal name, are accepted."""
    settings: Any = parse_settings(written_at(key, value), {})
    for part in re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key).split("."):
        settings = getattr(settings, part)

    assert (tuple(value) if isinstance(value, list) else value) == settings


def test_wrong_entry_of_a_list_is_told_by_its_place() -> None:
    """The position in the list is part of the key."""
    expected = ["secret.excludedNamespaces[1]: 5 is not text"]

    assert expected == problems_of({"secret": {"excludedNamespaces": ["one", 5]}})
    assert "sources.namespaces[1]: 'Two'" in problems_of({"sources": {"namespaces": ["one", "Two"]}})[0]


def test_wrong_value_from_the_environment_is_told() -> None:
    """The operator's own namespace has to be one, wherever it was said."""
    with pytest.raises(InvalidSettings, match="namespace: 'Not A Name' is no namespace name"):
        parse_settings({}, {"POD_NAMESPACE": "Not A Name"})


UNKNOWN: list[tuple[str, dict[Any, Any], str, str]] = [
    ("top level", {"rewirte": "whatever"}, "rewirte", "rewrite"),
    ("nested", {"secret": {"nmae": "whatever"}}, "secret.nmae", "name"),
    ("snake case", {"rewrite": {"wildcard_scope": "whatever"}}, "rewrite.wildcard_scope", "wildcardScope"),
    ("no text", {5: "whatever"}, "5", "rewrite"),
]


@pytest.mark.parametrize(("document", "key", "known"), [row[1:] for row in UNKNOWN], ids=ids(UNKNOWN))
def test_unknown_key_is_told_with_its_value_and_those_that_are_known(
    document: dict[Any, Any], key: str, known: str
) -> None:
    """A mistyped key is an error that names key and value, and the keys that may stand there."""
    (problem,) = problems_of(document)
    expected = (True, True, True)

    assert expected == (problem.startswith(f"{key}:"), known in problem, "'whatever'" in problem)


def test_all_problems_are_told_at_once() -> None:
    """Unknown keys, wrong types and values that make no sense stand in one message."""
    keys = [
        problem.partition(":")[0]
        for problem in problems_of(
            {
                "rewirte": {},
                "secret": {"name": 5, "excludedNamespaces": ["A-*", "B"]},
                "controller": {"concurrency": 0, "sweepSeconds": 0, "healthPort": 0},
                "rewrite": {"mode": "some", "include": ["quay.io/*"], "exclude": ["*"]},
                "proxy": {"hosts": {"my-app": "https://x"}},
            }
        )
    ]

    assert sorted([
        "rewirte",
        "secret.name",
        "secret.excludedNamespaces[0]",
        "secret.excludedNamespaces[1]",
        "controller.concurrency",
        "controller.sweepSeconds",
        "controller.healthPort",
        "rewrite.mode",
        "rewrite.include",
        "rewrite.exclude",
        "proxy.hosts.my-app",
    ]) == sorted(keys)  # fmt: skip


@pytest.mark.parametrize("document", [5, "text", [], ["secret"], True], ids=repr)
def test_document_that_is_no_mapping_is_refused(document: object) -> None:
    """Settings are keys and values."""
    assert [f"settings: {document!r} is not a mapping of keys to values"] == problems_of(document)


FILES: list[tuple[str, bytes, Settings]] = [
    ("empty", b"", Settings()),
    ("comment", b"# nothing\n", Settings()),
    ("one key", b"logLevel: DEBUG\n", Settings(log_level="DEBUG")),
]


@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in FILES], ids=ids(FILES))
def test_file_is_read(content: bytes, expected: Settings, tmp_path: Path) -> None:
    """A file that holds nothing means the defaults."""
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)

    assert expected == load_settings(path, {})


def test_no_file_means_the_defaults() -> None:
    """For development no file is needed."""
    assert Settings(namespace="real") == load_settings(None, {"POD_NAMESPACE": "real"})


BAD_FILES: list[tuple[str, bytes]] = [
    ("no YAML", b"a: [b"),
    ("no UTF-8", b"logLevel: \xff\xfe\n"),
    ("code", b"!!python/object/apply:os.getcwd []"),
]


@pytest.mark.parametrize("content", [row[1] for row in BAD_FILES], ids=ids(BAD_FILES))
def test_file_that_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    """A broken file is one clear error with its path, whatever is wrong with it."""
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)

    with pytest.raises(InvalidSettings, match=r"settings\.yaml cannot be read"):
        load_settings(path, {})


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is the same kind of error."""
    with pytest.raises(InvalidSettings, match=r"settings\.yaml cannot be read"):
        load_settings(tmp_path / "settings.yaml", {})


def test_keys_are_written_in_camel_case() -> None:
    """Fields and keys differ only in their spelling."""
    expected = "retryFirstSeconds"

    assert expected == camel_case("retry_first_seconds")
