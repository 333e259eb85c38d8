"""What an administrator says about registries beforehand, so that nobody has to ask them.

A pattern is `host` or `host/path-prefix`, compared label by label and segment by segment; a `*` stands for exactly one
label of the host (`*.dkr.ecr.*.amazonaws.com`). Never a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from replicated_proxy.core.images import ImageReference, InvalidRepositoryPattern, parse_pattern
from replicated_proxy.core.visibility import Visibility

_ANY: Final = "*"
# What stands in for a `*` while the rest of a pattern is checked as that of any other repository pattern.
_LABEL: Final = "any"
_KNOWN: Final = {visibility.value: visibility for visibility in (Visibility.PUBLIC, Visibility.PRIVATE)}


class InvalidAssumption(ValueError):
    """The entry says nothing that could be assumed; names pattern, value and the accepted forms."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One pattern and what holds for its images.

    Attributes:
        labels: of the host, `*` for any one.
        segments: the beginning of the path; empty for all of it.
        visibility: what holds.
    """

    labels: tuple[str, ...]
    segments: tuple[str, ...]
    visibility: Visibility

    @property
    def precedence(self) -> tuple[int, int]:
        """Sort key "the most specific first": a longer path, then fewer `*`."""
        return (-len(self.segments), self.labels.count(_ANY))

    def matches(self, reference: ImageReference) -> bool:
        """Tell whether an image lies under this pattern."""
        labels = reference.domain.split(".")
        return (
            len(labels) == len(self.labels)
            and all(mine in {_ANY, theirs} for mine, theirs in zip(self.labels, labels, strict=True))
            and tuple(reference.path.split("/"))[: len(self.segments)] == self.segments
        )


@dataclass(frozen=True, slots=True)
class Assumptions:
    """All of them; of several that match the most specific one holds."""

    entries: tuple[Assumption, ...] = ()

    def of(self, reference: ImageReference) -> Visibility | None:
        """Return what is assumed of an image, or None where somebody has to be asked."""
        return next((entry.visibility for entry in self.entries if entry.matches(reference)), None)


def parse_assumptions(written: Mapping[str, str]) -> Assumptions:
    """Read the setting.

    Raises:
        InvalidAssumption: the first entry that cannot be read.
    """
    return Assumptions(tuple(_in_order(parse_assumption(pattern, word) for pattern, word in written.items())))


def parse_assumption(pattern: str, word: str) -> Assumption:
    """Read one entry.

    Raises:
        InvalidAssumption: the pattern is none, or the word is neither `Public` nor `Private`.
    """
    if word not in _KNOWN:
        raise InvalidAssumption(f"{pattern}: {word!r} is not one of {', '.join(_KNOWN)}")
    host, slash, path = pattern.partition("/")
    labels = tuple(host.split("."))
    try:
        plain = parse_pattern(".".join(_LABEL if label == _ANY else label for label in labels) + slash + path)
    except InvalidRepositoryPattern:
        plain = None
    if plain is None or _ANY in "".join(label for label in labels if label != _ANY) or re.search(r"[:\[]", host):
        raise InvalidAssumption(
            f"{pattern!r} is no registry: write host or host/path-prefix in lower case, * for one label of the host"
        )
    return Assumption((*plain.host.split("."),) if _ANY not in labels else labels, plain.segments, _KNOWN[word])


def _in_order(entries: Iterable[Assumption]) -> list[Assumption]:
    """Sort as they are looked at."""
    return sorted(entries, key=lambda entry: entry.precedence)
