"""Verdicts as text: what a replica answers the controller with, and what stands in the ConfigMap beside the table.

Read as anybody's: a replica speaks with registries, so nothing of what it says is taken for granted. An entry that is
none is left out, and costs nobody the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Final

from replicated_proxy.core.askers import namespace_of
from replicated_proxy.core.images import InvalidImageReference, parse_image
from replicated_proxy.core.objects import format_timestamp, is_namespace_name, mapping_at, parse_timestamp
from replicated_proxy.core.verdicts import RepositoryVerdict, share_out
from replicated_proxy.core.visibility import SAID_BY_REGISTRIES

FORMAT: Final = 1
DATA_KEY: Final = "verdicts.json"
_LONGEST_REPOSITORY: Final = 512  # A host of 253 characters and a path of 255.
_AROUND: Final = len('"":["","2026-01-01T00:00:00Z",""],')
_WORDS: Final = {visibility.value: visibility for visibility in SAID_BY_REGISTRIES}


class InvalidVerdicts(ValueError):
    """The text holds no verdicts of a format known here."""


def encode_verdicts(verdicts: Iterable[RepositoryVerdict], budget: int) -> str:
    """Write verdicts, as many as fit into so many bytes, fairly; empty where not even none would."""
    known = [verdict for verdict in verdicts if is_namespace_name(namespace_of(verdict.namespace))]
    text = _encode(known)
    if len(text) > budget:
        sized = [(verdict, _size(verdict)) for verdict in known]
        text = _encode(share_out(sized, budget - len(_encode(()))))
    return text if len(text) <= budget else ""


def decode_verdicts(text: str) -> tuple[RepositoryVerdict, ...]:
    """Read verdicts; no text holds none.

    Raises:
        InvalidVerdicts: no JSON, or a format that this version does not know.
    """
    if not text:
        return ()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidVerdicts(f"the verdicts are no JSON ({type(error).__name__})") from None
    written = mapping_at(document).get("format")
    if written != FORMAT or isinstance(written, bool):
        raise InvalidVerdicts(f"the verdicts are of another format than {FORMAT}")
    return tuple(_decode(document))


def shrink_verdicts(text: str, budget: int) -> str:
    """Write what a document says within a smaller budget; what cannot be read is given up."""
    if len(text) <= budget:
        return text
    try:
        return encode_verdicts(decode_verdicts(text), budget)
    except InvalidVerdicts:
        return ""


def _encode(verdicts: Iterable[RepositoryVerdict]) -> str:
    """Write all of these."""
    entries = {each.repository: [each.visibility.value, _write_time(each.checked), each.namespace] for each in verdicts}
    return json.dumps({"format": FORMAT, "verdicts": entries}, separators=(",", ":"))


def _size(verdict: RepositoryVerdict) -> int:
    """Return how many bytes one verdict takes; there is nothing to escape in it, and a minute has always as many."""
    return len(verdict.repository) + len(verdict.visibility.value) + len(verdict.namespace) + _AROUND


def _write_time(moment: datetime) -> str:
    """Write a moment to the minute: that is exact enough, and keeps the text the same for longer."""
    return _write_minute(moment.replace(second=0, microsecond=0))


@lru_cache(maxsize=2048)
def _write_minute(minute: datetime) -> str:
    """Write a minute; many verdicts are of the same one."""
    return format_timestamp(minute)


@lru_cache(maxsize=2048)
def _read_time(text: str) -> datetime:
    """Read a moment; likewise."""
    return parse_timestamp(text)


def _decode(document: object) -> Iterator[RepositoryVerdict]:
    """Read each entry that is one."""
    for repository, fields in mapping_at(document, "verdicts").items():
        if not (isinstance(fields, list) and len(fields) == 3 and all(isinstance(field, str) for field in fields)):
            continue
        word, checked, namespace = fields
        if word in _WORDS and is_namespace_name(namespace_of(namespace)) and _is_repository(repository):
            try:
                yield RepositoryVerdict(repository, _WORDS[word], _read_time(checked), namespace)
            except ValueError:
                continue


@lru_cache(maxsize=16_384)
def _is_repository(text: str) -> bool:
    """Tell whether a text is a repository's full name, as `ImageReference.repository` writes it.

    Remembered, because documents come again and again with most of their names the same.
    """
    if len(text) > _LONGEST_REPOSITORY:
        return False
    try:
        reference = parse_image(text)
    except InvalidImageReference:
        return False
    return bool(reference.domain) and not reference.suffix and reference.repository == text
