"""Finds a credential in text, in whatever form it got there: as it is, or in base64 at any place of the input."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

_ROUNDS: Final = 2  # A pull secret's data is base64 of a document that holds base64.
_LEAST: Final = 16  # Characters of base64 that prove something; shorter ones occur by chance.


def forms_of(credential: str) -> frozenset[str]:
    """Return the texts of which at least one stands wherever the credential does, written in one of its usual ways."""
    forms = {credential, quote(credential, safe=""), json.dumps(credential)[1:-1], credential.encode().hex()}
    level = {credential.encode()}
    for _ in range(_ROUNDS):
        level = {core for text in level for core in _cores(text)}
        forms |= {core.decode() for core in level}
        forms |= {core.decode().translate(str.maketrans("+/", "-_")) for core in level}
    return frozenset(form for form in forms if len(form) >= min(_LEAST, len(credential)))


def _cores(text: bytes) -> Iterator[bytes]:
    """Yield what base64 makes of a text whatever stands around it, for each of the three places it may begin at."""
    for before in range(3):
        written = base64.b64encode(bytes(before) + text)
        first = -(-before * 8 // 6)
        last = (before + len(text)) * 8 // 6
        yield written[first:last]


def leaks(places: Mapping[str, str], credentials: Iterable[str]) -> list[str]:
    """Return where a credential stands: the places' names, without what stands there."""
    forms = frozenset[str]().union(*map(forms_of, credentials))
    return sorted(name for name, text in places.items() if any(form in text for form in forms))
