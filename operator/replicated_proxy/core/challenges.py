"""`WWW-Authenticate`: how a registry says what it wants to see before it answers (RFC 9110, 11.3 and 11.6.1).

Real registries send one Bearer or one Basic challenge in one line. A gateway in front of them may add its own, in a
line of its own or in the same one, so the whole grammar is read: several challenges, empty list elements, white space
around `=`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# Far above what registries send. The text comes from a stranger, and reading it takes time in proportion to its length.
LONGEST: Final = 16_384

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Everything above ASCII is `obs-text`; what is no character of a header at all never arrives here.
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\t \x21-\x7e\x80-\U0010ffff])*+"'
_SEPARATORS: Final = re.compile(r"[ \t,]*")
_PARAMETER: Final = re.compile(rf"(?P<name>{_WORD})[ \t]*=[ \t]*(?:(?P<token>{_WORD})|(?P<quoted>{_QUOTED}))")
_SCHEME: Final = re.compile(rf"(?P<scheme>{_WORD})(?P<space>[ \t]*)")
_CREDENTIALS: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|\Z))")
_END: Final = re.compile(r"[ \t]*(?:,|\Z)")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


# A scheme and its parameters; None where the grammar lets none follow: after credentials, or without a space.
_Found = tuple[str, dict[str, str] | None]


class MalformedChallenge(ValueError):
    """The header breaks the grammar. Its text is not repeated: a realm may hold a secret."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in.

    Attributes:
        scheme: in lower case, `bearer` or `basic` for registries.
        parameters: by name in lower case; without quotes and escapes.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """Read every `WWW-Authenticate` line of an answer; none at all is no challenge.

    Raises:
        MalformedChallenge: the grammar is broken, a parameter comes twice, or the text is absurdly long.
    """
    text = ", ".join(lines)
    if len(text) > LONGEST:
        raise MalformedChallenge(f"WWW-Authenticate has {len(text)} characters; at most {LONGEST} are read")
    found: list[_Found] = []
    position = _skip(text, 0)
    while position < len(text):
        position = _skip(text, _read_element(text, position, found))
    return tuple(Challenge(scheme, parameters or {}) for scheme, parameters in found)


def bearer_of(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the first challenge that a token answers; a realm alone makes none (ECR sends Basic with one)."""
    return next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)


def _skip(text: str, position: int) -> int:
    """Return where the next list element begins; empty ones are none."""
    found = _SEPARATORS.match(text, position)
    return found.end() if found else position


def _read_element(text: str, position: int, found: list[_Found]) -> int:
    """Read one list element, a parameter of the challenge before it or a new challenge, and return where it ends."""
    parameter = _PARAMETER.match(text, position)
    if parameter is not None and _ends(text, parameter.end()):
        return _add(parameter, found)
    scheme = _SCHEME.match(text, position)
    if scheme is None:
        raise MalformedChallenge(f"WWW-Authenticate has no scheme and no parameter at character {position}")
    found.append((scheme["scheme"].lower(), {} if scheme["space"] else None))
    after = scheme.end()
    if _ends(text, after):
        return after
    if scheme["space"]:
        first = _PARAMETER.match(text, after)
        if first is not None and _ends(text, first.end()):
            return _add(first, found)
        credentials = _CREDENTIALS.match(text, after)
        if credentials is not None:
            found[-1] = (found[-1][0], None)
            return credentials.end()
    raise MalformedChallenge(f"WWW-Authenticate breaks the grammar at character {after}")


def _ends(text: str, position: int) -> bool:
    """Tell whether a list element ends there."""
    return _END.match(text, position) is not None


def _add(parameter: re.Match[str], found: list[_Found]) -> int:
    """Add a parameter to the last challenge and return where it ends."""
    parameters = found[-1][1] if found else None
    if parameters is None:
        raise MalformedChallenge("WWW-Authenticate has a parameter that belongs to no challenge")
    name, quoted = parameter["name"].lower(), parameter["quoted"]
    if name in parameters:
        raise MalformedChallenge(f"WWW-Authenticate has the parameter {name!r} twice in one challenge")
    parameters[name] = parameter["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted[1:-1])
    return parameter.end()
