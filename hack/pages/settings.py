"""`docs/settings.md`: every setting with its default and meaning, read from the dataclasses themselves."""

import ast
import dataclasses
import inspect
import itertools
import json
import textwrap
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

from replicated_proxy.settings import Settings
from replicated_proxy.settings.decoding import camel_case
from replicated_proxy.settings.durations import show_duration
from rig.cache import REPOSITORY

PAGE = REPOSITORY / "docs" / "settings.md"
_HEAD = """# Settings

Written by `make docs` from `operator/replicated_proxy/settings/model.py`; the chart's values stand under `settings.`
with the same keys. Unknown keys and wrong values are errors, all told at once. From the environment: `POD_NAMESPACE`,
`LOG_LEVEL`.

| setting | default | meaning |
|---|---|---|
"""


def render_settings() -> str:
    """Return the whole page."""
    rows = (f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in _rows(Settings, ""))
    return _HEAD + "\n".join(rows) + "\n"


def _rows(section: type[Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, default and meaning of each setting in a section and below it."""
    hints, meanings, defaults = typing.get_type_hints(section), _meanings(section), section()
    for field in dataclasses.fields(section):
        key = prefix + camel_case(field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _rows(hints[field.name], f"{key}.")
        else:
            yield key, _show(getattr(defaults, field.name)), meanings[field.name].replace("|", "\\|")


def _show(value: object) -> str:
    """Write a default as YAML would."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, timedelta):
        return show_duration(value)
    if isinstance(value, tuple | Mapping):
        return json.dumps(list(value) if isinstance(value, tuple) else dict(value))
    return json.dumps(value)


def _meanings(section: type[Any]) -> dict[str, str]:
    """Read the text below each field, which Python itself does not keep."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for pair in itertools.pairwise(statements):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found
