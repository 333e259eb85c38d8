"""YAML and JSON out of Secrets: values as `kubectl apply` would send them, and nothing that could do harm."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.sources.decoding import LONGEST_TEXT, InvalidDocument, decode_document

VALUES = [
    ("a: 2030-07-27T00:00:00Z", "2030-07-27T00:00:00Z"),
    ("a: 2030-07-27", "2030-07-27"),
    ("a: 1.232435e+06", 1232435),
    ("a: 10", 10),
    ("a: -7", -7),
    ("a: 1.5", 1.5),
    ("a: 1e21", 1e21),
    ("a: 0123", "0123"),
    ("a: 0x1f", "0x1f"),
    ("a: 1_000", "1_000"),
    ("a: 190:20:30", "190:20:30"),
    ("a: .inf", ".inf"),
    ("a: .nan", ".nan"),
    ("a: 1e999", "1e999"),
    (f"a: {'9' * 65}", "9" * 65),
    ("a: true", True),
    ("a: True", True),
    ("a: FALSE", False),
    ("a: Null", None),
    ("a: tRUE", "tRUE"),
    ("a: yes", "yes"),
    ("a:", None),
    ("a: ~", None),
    ("a: null", None),
    ('a: "10"', "10"),
    ("a: 'true'", "true"),
    ('a: ""', ""),
    ("a: |\n  two\n  lines\n", "two\nlines\n"),
    ("a: >-\n  folded\n  lines\n", "folded lines"),
    ("a: [1, {b: 2}]", [1, {"b": 2}]),
    ("a: &unused text", "text"),
    ("---\na: 1\n...\n", 1),
    ("# a comment\na: 1", 1),
    ("\ufeffa: 1", 1),
    ('{"a": 1}', 1),
    ('\n{\n\t"a": 1.0\n}\n', 1),
    ('{"a": 1e3}', 1000),
    ('{"a": 0.5}', 0.5),
    ('{"a": "\\ud83d\\ude00"}', "\U0001f600"),
]
REFUSED = [
    ("", "is empty"),
    ("# nothing\n", "is empty"),
    ("a: 1\n---\nb: 2", "holds 2 YAML documents instead of one"),
    ("a: &x [1]\nb: *x", "uses a YAML alias"),
    ("a: !!binary eA==", "uses a YAML tag"),
    ("a: !!python/object/apply:os.system [ls]", "uses a YAML tag"),
    ("a: 1\na: 2", "has a key twice"),
    ("? [1]\n: 2", "has a list or mapping for a key"),
    ("? {a: 1}\n: 2", "has a list or mapping for a key"),
    ("a: b: c", "is no YAML (line 1, column"),
    ("a:\n  - [1\nb: 2", "is no YAML (line 3, column"),
    ("a: \x01", "characters that YAML does not allow"),
    ("[" * 100_000, "is nested deeper than 32 levels"),
    ("- " * 100_000, "is nested deeper than 32 levels"),
    ('{"a": ' * 33 + "1" + "}" * 33, "is nested deeper than 32 levels"),
    ('{"a":' * 50_000, "is nested deeper than 32 levels"),
    ('{"a": 1, "a": 2}', "has a key twice"),
    ('{"a": NaN}', "has a number that is none"),
    ('{"a": -Infinity}', "has a number that is none"),
    ('{"a": 1', "is no JSON (line 1, column"),
    ('{"a": "\\ud800"}', "has an escaped character that is none"),
    ('{"\\udfff": 1}', "has an escaped character that is none"),
    ("x" * (LONGEST_TEXT + 1), f"is larger than {LONGEST_TEXT} bytes"),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text[:30] for text, _ in VALUES])
def test_values_are_those_of_json(text: str, value: object) -> None:
    """Dates stay text, a number is what Go's encoder makes of it, and only JSON's words are words."""
    found = decode_document(text.encode())

    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize(("text", "problem"), REFUSED, ids=[problem[:30] for _, problem in REFUSED])
def test_what_no_license_tool_writes_is_refused(text: str, problem: str) -> None:
    """Aliases, tags, repeated keys, depth and size are refused, and the error says what and where."""
    with pytest.raises(InvalidDocument) as caught:
        decode_document(text.encode())

    assert problem in str(caught.value)


def test_thirty_two_levels_are_read() -> None:
    """What is nested as deep as the limit is read in both languages."""
    expected: object = 1
    for _ in range(32):
        expected = {"a": expected}

    assert decode_document(json.dumps(expected).encode()) == expected
    assert decode_document(("a: " + "{a: " * 31 + "1" + "}" * 31).encode()) == expected


def test_text_that_is_not_utf8_is_refused() -> None:
    """Bytes of another encoding are no document."""
    with pytest.raises(InvalidDocument, match="is no UTF-8 text"):
        decode_document(b"a: \xff")


@given(st.binary(max_size=200) | st.text("{}[]:,-?&*!|>'\"% #\n\t ab01\\u", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever stands in a Secret, reading it ends in JSON values or in the one error."""
    try:
        value = decode_document(raw)
    except InvalidDocument:
        return
    json.dumps(value, allow_nan=False).encode()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.-_", max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abc", max_size=3), JSON_VALUES, max_size=4))
def test_what_tools_write_comes_back(document: dict[str, object]) -> None:
    """JSON by any encoder and YAML with plain values in quotes give the same values."""
    as_yaml = yaml.safe_dump({"document": document}, default_style='"') if _is_text(document) else None

    assert decode_document(json.dumps(document).encode()) == document
    assert decode_document(json.dumps(document, indent="\t", ensure_ascii=False).encode()) == document
    if as_yaml is not None:
        assert decode_document(as_yaml.encode()) == {"document": document}


def _is_text(value: object) -> bool:
    """Tell whether there is nothing but text in it, which YAML writes without tags when quoted."""
    if isinstance(value, dict):
        return all(map(_is_text, value.values()))
    if isinstance(value, list):
        return all(map(_is_text, value))
    return isinstance(value, str)
