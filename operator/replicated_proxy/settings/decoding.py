"""From decoded YAML to annotated dataclasses, with every mistake noted under its key."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from replicated_proxy.settings.durations import parse_duration

_WORDS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def decode(kind: Any, value: object, key: str, problems: list[str]) -> Any:
    """Read a value of an annotated type, noting every problem under its key."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _read_section(kind, value, key, problems)
    if origin is tuple:
        return _read_list(typing.get_args(kind)[0], value, key, problems)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(value, key, problems)
    if isinstance(kind, type) and issubclass(kind, Enum | timedelta):
        read: Callable[..., Any] = _read_word if issubclass(kind, Enum) else _read_duration
        return read(kind, value, key, problems)
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        problems.append(f"{key}: {value!r} is not {_WORDS[kind]}")
        return None
    return value


def _read_section(kind: Any, value: object, key: str, problems: list[str]) -> Any:
    """Read a mapping into a dataclass; keys are written in camelCase."""
    if not isinstance(value, Mapping):
        problems.append(f"{key or 'settings'}: {value!r} is not a mapping of keys to values")
        return None
    hints = typing.get_type_hints(kind)
    known = {camel_case(item.name): item.name for item in dataclasses.fields(kind)}
    problems += [
        f"{_below(key, name)}: unknown key (value {written!r}); known here: {', '.join(known)}"
        for name, written in value.items()
        if name not in known
    ]
    read = {}
    for written, name in known.items():
        before = len(problems)
        item = decode(hints[name], value[written], _below(key, written), problems) if written in value else None
        if written in value and (len(problems) == before or dataclasses.is_dataclass(item)):
            read[name] = item  # What could not be read keeps its default, so that the rest is checked too.
    return kind(**read)


def _read_list(kind: Any, value: object, key: str, problems: list[str]) -> tuple[Any, ...]:
    """Read a list of one type."""
    if not isinstance(value, list):
        problems.append(f"{key}: {value!r} is not a list")
        return ()
    return tuple(decode(kind, item, f"{key}[{index}]", problems) for index, item in enumerate(value))


def _read_mapping(value: object, key: str, problems: list[str]) -> Mapping[str, str]:
    """Read a mapping of text to text."""
    if not isinstance(value, Mapping):
        problems.append(f"{key}: {value!r} is not a mapping")
        return {}
    return types.MappingProxyType(
        {str(name): decode(str, text, f"{key}.{name}", problems) for name, text in value.items()}
    )


def _read_word(kind: type[Enum], value: object, key: str, problems: list[str]) -> Enum | None:
    """Read one of a few words."""
    words = [member.value for member in kind]
    if value not in words:
        problems.append(f"{key}: {value!r} is not one of {', '.join(words)}")
        return None
    return kind(value)


def _read_duration(_: type[timedelta], value: object, key: str, problems: list[str]) -> timedelta | None:
    """Read a duration; a bare number could be anything."""
    try:
        return parse_duration(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        problems.append(f"{key}: {error}")
        return None


def _below(key: str, name: object) -> str:
    """Write the key of something inside."""
    return f"{key}.{name}" if key else str(name)


def camel_case(name: str) -> str:
    """Write a field's name as the settings file does."""
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)
