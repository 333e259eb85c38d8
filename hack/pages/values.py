"""The table of values in the chart's README: comments and defaults of values.yaml, types of values.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rig.cache import REPOSITORY

CHART = REPOSITORY / "charts" / "replicated-proxy-operator"
PAGE = CHART / "README.md"
_BEGIN = "<!-- Written by `make docs` from values.yaml and values.schema.json. -->"
_END = "<!-- End of what `make docs` writes. -->"
_LONGEST_DEFAULT = 40
_WORDS = {"object": "map", "array": "list", "string": "text"}

Schema = dict[str, Any]


class Undocumented(ValueError):
    """A value without a comment above it, or one that the schema does not know."""


@dataclass(frozen=True, slots=True)
class Value:
    """One row of the table.

    Attributes:
        key: path of the value, with dots.
        kind: what it may be, in words.
        default: as YAML would be written in one line.
        meaning: the comment above it.
    """

    key: str
    kind: str
    default: str
    meaning: str


def render_readme(folder: Path = CHART) -> str:
    """Return the chart's README with the table of today between its marks."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = [f"| `{each.key}` | {each.kind} | {each.default} | {each.meaning} |" for each in list_values(folder)]
    table = "\n".join(["| value | type | default | meaning |", "|---|---|---|---|", *rows])
    return f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}"


def list_values(folder: Path = CHART) -> list[Value]:
    """Read every value of a chart, in the order of its file.

    Raises:
        Undocumented: one that a reader of the table would look for in vain.
    """
    text = (folder / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads((folder / "values.schema.json").read_text(encoding="utf-8"))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        raise Undocumented(f"{folder / 'values.yaml'} is empty")
    return list(_Reader(text.splitlines(), schema).values(root, "", schema))


class _Reader:
    """Walks the values with their comments and their schema side by side."""

    def __init__(self, lines: list[str], schema: Schema) -> None:
        self._lines = lines
        self._definitions = schema.get("definitions", {})

    def values(self, section: yaml.Node, above: str, schema: Schema) -> Iterator[Value]:
        """Yield the values of a section and below it; what has no comments inside is a value as a whole."""
        assert isinstance(section, yaml.MappingNode)  # noqa: S101 - for the type checker; helm takes nothing else.
        for name, node in section.value:
            key = f"{above}{name.value}"
            known = self._schema_of(schema, name.value, key)
            if self._is_section(node):
                yield from self.values(node, f"{key}.", known)
                continue
            meaning = self._comment(name)
            if not meaning:
                raise Undocumented(f"{key} has no comment above it in values.yaml: say what it is for")
            yield Value(key, self._kind(known), _show(node), meaning.replace("|", "\\|"))

    def _is_section(self, node: yaml.Node) -> bool:
        """Tell whether a map's own values are explained one by one."""
        return isinstance(node, yaml.MappingNode) and any(
            self._comment(name) or self._is_section(value) for name, value in node.value
        )

    def _comment(self, name: yaml.Node) -> str:
        """Return the comment lines that stand directly above a key."""
        found: list[str] = []
        number = name.start_mark.line - 1
        while number >= 0 and self._lines[number].strip().startswith("#"):
            found.insert(0, self._lines[number].strip().removeprefix("#").strip())
            number -= 1
        return " ".join(found)

    def _schema_of(self, schema: Schema, name: str, key: str) -> Schema:
        """Return what the schema says of a value."""
        known = schema.get("properties", {}).get(name)
        if known is None:
            raise Undocumented(f"{key} is no property in values.schema.json: add it with its type")
        return self._resolved(known)

    def _resolved(self, schema: Schema) -> Schema:
        """Follow a reference."""
        if "$ref" in schema:
            found: Schema = self._definitions[schema["$ref"].rpartition("/")[2]]
            return found
        return schema

    def _kind(self, schema: Schema) -> str:
        """Say in words what a value may be."""
        if "enum" in schema:
            # An unquoted `off` is `false` in YAML; both mean the word.
            return ", ".join(f"`{each}`" for each in schema["enum"] if each is not False)
        kinds = [_WORDS.get(each, each) for each in _types(schema)]
        if "list" in kinds and "items" in schema:
            inner = " or ".join(_WORDS.get(each, each) for each in _types(self._resolved(schema["items"])))
            kinds[kinds.index("list")] = f"list of {inner}s" if " or " not in inner else f"list ({inner})"
        return " or ".join(kinds) + _range(schema)


def _types(schema: Schema) -> list[str]:
    """Return the types of a schema, without the null by which helm takes a value away."""
    types = schema.get("type", "any")
    return [each for each in ([types] if isinstance(types, str) else types) if each != "null"]


def _range(schema: Schema) -> str:
    """Say between which numbers a value has to be."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}" + (f", at most {most}" if most is not None else "")
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", at least {least}" if least is not None else ""


def _show(node: yaml.Node) -> str:
    """Write a default, or say where to look for a long one."""
    value = yaml.SafeLoader("").construct_object(node, deep=True)
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see `values.yaml`"
