"""Reading objects whose fields may have any JSON type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from builders import ids
from replicated_proxy.core.objects import (
    ObjectIdentity,
    format_timestamp,
    is_object_name,
    list_at,
    mapping_at,
    parse_timestamp,
    quote,
    read_identity,
    text_at,
    texts_at,
)

BODY: dict[str, Any] = {
    "a": {"map": {"x": 1}, "list": ["x", 1, "x", None, "y"], "text": "word", "number": 5, "null": None}
}
OTHER_TYPES = ["number", "null", "absent"]


def test_value_of_the_type_asked_for_is_returned() -> None:
    """Each reader returns what stands at its path."""
    actual = (mapping_at(BODY, "a", "map"), list_at(BODY, "a", "list"), text_at(BODY, "a", "text"))
    expected = ({"x": 1}, ["x", 1, "x", None, "y"], "word")

    assert expected == actual


@pytest.mark.parametrize("key", OTHER_TYPES)
def test_value_of_another_type_is_empty(key: str) -> None:
    """Where something else stands, or nothing, the empty form is returned."""
    actual = (mapping_at(BODY, "a", key), list(list_at(BODY, "a", key)), text_at(BODY, "a", key))
    expected: tuple[dict[str, Any], list[Any], str] = ({}, [], "")

    assert expected == actual


@pytest.mark.parametrize("owner", [None, 5, "text", [], {"a": []}, {"a": "text"}], ids=repr)
def test_path_through_another_type_ends_empty(owner: object) -> None:
    """A path that meets no object on its way finds nothing and raises nothing."""
    actual = (mapping_at(owner, "a", "map"), list(list_at(owner, "a", "list")), text_at(owner, "a", "text"))
    expected: tuple[dict[str, Any], list[Any], str] = ({}, [], "")

    assert expected == actual


def test_texts_are_the_strings_of_a_list_once_each() -> None:
    """Entries of other types are left out and the order is kept."""
    expected = ("x", "y")

    assert expected == texts_at(BODY, "a", "list")


MOMENTS = [
    ("2030-07-27T00:00:00Z", datetime(2030, 7, 27, tzinfo=UTC)),
    ("2030-07-27T02:00:00+02:00", datetime(2030, 7, 27, tzinfo=UTC)),
    ("2030-07-26T19:00:00-05:00", datetime(2030, 7, 27, tzinfo=UTC)),
    ("2030-07-27T00:00:00.5Z", datetime(2030, 7, 27, 0, 0, 0, 500_000, tzinfo=UTC)),
    ("2030-07-27T00:00:00.123456789Z", datetime(2030, 7, 27, 0, 0, 0, 123_456, tzinfo=UTC)),
    # Beyond the RFC, as Go has it.
    ("2030-07-27T00:00:00,5Z", datetime(2030, 7, 27, 0, 0, 0, 500_000, tzinfo=UTC)),
    ("2030-07-27T1:00:00Z", datetime(2030, 7, 27, 1, tzinfo=UTC)),
    ("2030-07-27T00:00:00+24:00", datetime(2030, 7, 26, tzinfo=UTC)),
    ("2030-07-27T00:00:00-24:60", datetime(2030, 7, 28, 1, tzinfo=UTC)),
    ("2028-02-29T00:00:00-00:00", datetime(2028, 2, 29, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "expected"), MOMENTS, ids=ids(MOMENTS))
def test_timestamp_is_parsed_as_go_does(text: str, expected: datetime) -> None:
    """RFC 3339 with a zone, and with fractions of any length."""
    assert expected == parse_timestamp(text)


NO_MOMENTS = [
    "",
    "2030-07-27",
    "2030-07-27T00:00:00",
    "2030-07-27 00:00:00Z",
    "2030-07-27t00:00:00z",
    "2030-07-27T00:00:00.Z",
    "2030-02-30T00:00:00Z",
    "2030-07-27T24:00:00Z",
    "2030-07-27T00:00:60Z",
    "2030-07-27T0:0:00Z",
    "2030-07-27T00:00:00+25:00",
    "2030-07-27T00:00:00+00:61",
    "2030-07-27T00:00:00+0200",
    "2030-07-27T00:00:00,Z",
    " 2030-07-27T00:00:00Z",
    "2030-07-27T00:00:00Z\n",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
]


@pytest.mark.parametrize("text", NO_MOMENTS, ids=ids(NO_MOMENTS))
def test_anything_else_is_no_timestamp(text: str) -> None:
    """Whatever cannot be represented as a moment is a ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"timestamp|month|day|hour|second|offset|year|range"):
        parse_timestamp(text)


WRITTEN = [
    ("2030-07-27T02:00:00.9+02:00", "2030-07-27T00:00:00Z"),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ("0999-12-31T23:59:59Z", "0999-12-31T23:59:59Z"),
    ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN, ids=ids(WRITTEN))
def test_timestamp_is_written_as_kubernetes_does(text: str, expected: str) -> None:
    """UTC, whole seconds and four digits of the year, or the API server takes it for no date."""
    assert expected == format_timestamp(parse_timestamp(text))


QUOTES: list[tuple[str, object, str]] = [
    ("text", "a'b\n", '"a\'b\\n"'),
    ("longest text", "x" * 80, f"'{'x' * 80}'"),
    ("longer text", "x" * 40_000, f"'{'x' * 80}'…"),
    ("number", 5, "5"),
    ("null", None, "None"),
    ("false", False, "False"),
    ("list", ["x" * 40_000], "list"),
    ("object", {"a": 1}, "dict"),
]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in QUOTES], ids=ids(QUOTES))
def test_values_of_anybody_are_quoted_in_brief(value: object, expected: str) -> None:
    """A message shows what stands there, cut to 80 characters, and of lists and objects the type."""
    assert expected == quote(value)


def test_error_about_a_long_timestamp_is_short() -> None:
    """40,000 characters that are no timestamp do not come back in the error."""
    for text in ("x" * 40_000, f"9999-12-31T23:59:59.{'1' * 40_000}-01:00"):
        with pytest.raises(ValueError, match=r"timestamp|years") as caught:
            parse_timestamp(text)
        assert len(str(caught.value)) < 200


def test_identity_is_read_from_metadata() -> None:
    """Namespace, name, UID, age and generation tell which object this is."""
    metadata = {
        "namespace": "app",
        "name": "x",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 3,
    }
    identity = read_identity({"metadata": metadata})

    assert ObjectIdentity("app", "x", "u", "2026-01-01T00:00:00Z", 3) == identity
    assert (identity.key, identity.age_key) == ("app/x", ("2026-01-01T00:00:00Z", "u"))


def test_identity_of_a_cluster_scoped_object_is_its_name() -> None:
    """Without a namespace the key is the name alone, and what is missing is empty."""
    identity = read_identity({"metadata": {"name": "x", "generation": "3"}})

    assert (ObjectIdentity("", "x", "", "", 0), "x") == (identity, identity.key)


NAMES: list[tuple[str, bool]] = [
    ("a", True),
    ("0", True),
    ("a.b-c.d", True),
    ("a" * 253, True),
    ("", False),
    ("a" * 254, False),
    ("A", False),
    ("a_b", False),
    ("a.", False),
    (".a", False),
    ("a..b", False),
    ("a.-b", False),
    ("a-.b", False),
    ("a\n", False),
    ("é", False),
]


@pytest.mark.parametrize(("text", "expected"), NAMES, ids=ids(NAMES))
def test_object_names_are_dns_subdomains(text: str, expected: bool) -> None:
    """Parts of lower-case letters, digits and inner dashes, separated by dots, 253 characters in all."""
    assert expected == is_object_name(text)
