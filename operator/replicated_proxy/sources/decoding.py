"""YAML and JSON that anybody may have put into a Secret, as JSON values.

A license is signed over its values, so they have to arrive as `kubectl apply` would send them: dates stay text, and a
number without a fraction is a whole one, however it is written. Aliases, tags and repeated keys are refused: no tool
that writes licenses makes any, and readers disagree on what they mean. No error quotes what was read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

LONGEST_TEXT: Final = 256 * 1024
"""A license takes some 10 KB, the SDK's configuration with one some more; reading this much takes a tenth second."""
_DEEPEST: Final = 32
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<inexact>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)", re.ASCII)
_LONGEST_NUMBER: Final = 64
_WHOLE_BELOW: Final = 1e21  # From here on Go's encoder writes an exponent, and the number stays inexact.
_WORDS: Final[dict[str, object]] = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.title(), word.upper())
}
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, as the wheels have it: 20 times as fast.


class InvalidDocument(ValueError):
    """Text that is no document to read; the message says what and where, and quotes nothing of it."""


def decode_document(raw: bytes) -> object:
    """Read YAML, or JSON where the text begins as an object does, into JSON values.

    Raises:
        InvalidDocument: it is neither, or larger, deeper or more clever than a license is.
    """
    if len(raw) > LONGEST_TEXT:
        raise InvalidDocument(f"is larger than {LONGEST_TEXT} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidDocument("is no UTF-8 text") from None
    value = _decode_json(text) if text.lstrip().startswith("{") else _decode_yaml(text)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # Half a surrogate pair, which only an escape can write; nobody could send it on.
        raise InvalidDocument("has an escaped character that is none") from None
    return value


def _decode_json(text: str) -> object:
    """Read JSON."""
    try:
        value: object = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=read_number, parse_int=read_number
        )
    except json.JSONDecodeError as error:
        raise InvalidDocument(f"is no JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its keys and values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidDocument("has a key twice in one mapping")
    return found


def _no_constant(_: str) -> object:
    """Refuse NaN and Infinity, which only Python takes for JSON."""
    raise InvalidDocument("has a number that is none (NaN or Infinity)")


def _check_depth(value: object) -> None:
    """Refuse what later readers, which descend by calling themselves, could not compare."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    raise _too_deep()


def _children(value: object) -> Iterator[object]:
    """Return what a list or an object holds."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _too_deep() -> InvalidDocument:
    """Say that it is nested too deep."""
    return InvalidDocument(f"is nested deeper than {_DEEPEST} levels")


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read; in a mapping, with the key whose value comes next."""

    value: list[object] | dict[str, object]
    key: str | None = None

    @property
    def awaits_key(self) -> bool:
        """Tell whether the next thing is a key."""
        return isinstance(self.value, dict) and self.key is None

    def add(self, item: object) -> None:
        """Take in a value."""
        if isinstance(self.value, list):
            self.value.append(item)
        elif self.key is not None:
            self.value[self.key] = item
            self.key = None

    def name(self, key: str) -> None:
        """Take in a key."""
        if key in self.value:
            raise InvalidDocument("has a key twice in one mapping")
        self.key = key


def _decode_yaml(text: str) -> object:
    """Read one YAML document, from the parser's events: whatever hands out objects would follow aliases first."""
    documents: list[object] = []
    nodes = [_Open(documents)]
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            _take(nodes, event)
            if len(nodes) > _DEEPEST + 1:
                raise _too_deep()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidDocument(f"is no YAML{place}") from None
    except yaml.YAMLError:
        raise InvalidDocument("is no YAML: it has characters that YAML does not allow") from None
    if not documents:
        raise InvalidDocument("is empty")
    if len(documents) > 1:
        raise InvalidDocument(f"holds {len(documents)} YAML documents instead of one")
    return documents[0]


def _take(nodes: list[_Open], event: yaml.Event) -> None:
    """Take in an event: a scalar, or the beginning or end of what holds others."""
    if isinstance(event, yaml.NodeEvent):
        _check_node(nodes[-1], event)
    if isinstance(event, yaml.ScalarEvent):
        if nodes[-1].awaits_key:
            nodes[-1].name(event.value)
        else:
            nodes[-1].add(_read_plain(event.value) if event.implicit[0] else event.value)
    elif isinstance(event, yaml.CollectionStartEvent):
        nodes.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
    elif isinstance(event, yaml.CollectionEndEvent):
        done = nodes.pop()
        nodes[-1].add(done.value)


def _check_node(parent: _Open, event: yaml.NodeEvent) -> None:
    """Refuse what JSON does not have."""
    if isinstance(event, yaml.AliasEvent):
        raise InvalidDocument("uses a YAML alias (*name); write the value out")
    if getattr(event, "tag", None) is not None:
        raise InvalidDocument("uses a YAML tag (!name); write plain values")
    if parent.awaits_key and not isinstance(event, yaml.ScalarEvent):
        raise InvalidDocument("has a list or mapping for a key")


def _read_plain(text: str) -> object:
    """Read a scalar without quotes: JSON's words, in YAML's spellings, and numbers; anything else (dates) is text."""
    if text in _WORDS:
        return _WORDS[text]
    return read_number(text)


def read_number(text: str) -> int | float | str:
    """Read a JSON number; what is none, or too large for one, stays text."""
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        return text
    if not match["inexact"]:
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < _WHOLE_BELOW else number
