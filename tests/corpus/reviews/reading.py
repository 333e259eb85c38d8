"""The corpus, read: one `Case` for each entry of `index.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from corpus.reviews import making

_INDEX: Final = Path(__file__).parent / "index.toml"


@dataclass(frozen=True, slots=True)
class Case:
    """A body with what becomes of it.

    Attributes:
        name: of the case.
        outcome: the word that it is counted under, or `too-large`.
        images: how many images come to which outcome and reason, where the case says so.
        fields: the entry as written.
    """

    name: str
    outcome: str
    images: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def body(self) -> bytes:
        """Return the bytes; made anew each time, since some take megabytes."""
        if (function := self.fields.get("make")) is not None:
            made: bytes = getattr(making, function)(**self.fields.get("with", {}))
            return made
        text = self.fields.get("text")
        if text is None:
            text = making.splice(*((old, new) for old, new in self.fields["splices"]))
        written: bytes = text.encode(self.fields.get("encoding", "utf-8"))
        return written


def read_cases() -> tuple[Case, ...]:
    """Read the index."""
    entries = tomllib.loads(_INDEX.read_text(encoding="utf-8"))["case"]
    return tuple(Case(entry["name"], entry["outcome"], entry.get("images", {}), entry) for entry in entries)
