"""Reading Kubernetes objects that anybody may have written.

Every custom resource is hostile input: a field may have any JSON type. These readers return a value of the type
asked for or its empty form, so that the typed views above them stay free of `isinstance`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

Body = Mapping[str, object]

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](?P<fraction>\d+))?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))",
    re.ASCII,
)
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_LONGEST_SUBDOMAIN: Final = 253
_LONGEST_QUOTE: Final = 80
_OBJECT: Final = (dict, Mapping)  # What JSON is decoded to comes first: an abstract type is far slower to ask.


def quote(value: object) -> str:
    """Show a value of anybody's in a message, cut to what a reader can use; of lists and objects only the type."""
    if isinstance(value, str):
        fits = len(value) <= _LONGEST_QUOTE
        return repr(value) if fits else f"{value[:_LONGEST_QUOTE]!r}…"
    return repr(value) if isinstance(value, int | float | None) else type(value).__name__


def mapping_at(owner: object, *path: str) -> Body:
    """Return the object below `path`, or an empty one where something else stands."""
    for key in path:
        owner = owner.get(key) if isinstance(owner, _OBJECT) else None
    return owner if isinstance(owner, _OBJECT) else {}


def list_at(owner: object, *path: str) -> Sequence[object]:
    """Return the list below `path`, or an empty one."""
    value = mapping_at(owner, *path[:-1]).get(path[-1])
    return value if isinstance(value, list | tuple) else ()


def text_at(owner: object, *path: str) -> str:
    """Return the string below `path`, or the empty string."""
    value = mapping_at(owner, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def texts_at(owner: object, *path: str) -> tuple[str, ...]:
    """Return the strings of the list below `path`, in order, each once; entries of other types are left out."""
    return tuple(dict.fromkeys(item for item in list_at(owner, *path) if isinstance(item, str)))


def parse_timestamp(text: str) -> datetime:
    """Parse RFC 3339 as Go's `time.Parse(time.RFC3339, …)` does: upper-case `T` and `Z`, a zone always.

    Go takes more than the RFC: an hour of one digit, a comma before the fraction, zones up to 24:60.

    Raises:
        ValueError: the text is no such timestamp.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(text)} is not an RFC 3339 timestamp such as 2030-07-27T00:00:00Z")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    microsecond = int(f"{(match['fraction'] or '')[:6]:0<6}")
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, UTC) - _zone_of(match)
    except OverflowError as error:
        raise ValueError(f"{quote(text)} lies outside the years 1 to 9999 in UTC") from error


def _zone_of(match: re.Match[str]) -> timedelta:
    """Return how far a timestamp's zone is ahead of UTC, in the range that Go allows."""
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    if hours > 24 or minutes > 60:
        raise ValueError(f"{quote(match[0])} has a time zone whose offset is out of range")
    ahead = timedelta(hours=hours, minutes=minutes)
    return -ahead if match["sign"] == "-" else ahead


def format_timestamp(moment: datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds, four digits of the year (`strftime` writes fewer)."""
    return f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def is_namespace_name(text: str) -> bool:
    """Tell whether a namespace could have this name (an RFC 1123 label)."""
    return _NAMESPACE.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Tell whether most kinds of objects could have this name (an RFC 1123 subdomain)."""
    return len(text) <= _LONGEST_SUBDOMAIN and _SUBDOMAIN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """Which object this is, and since when.

    Attributes:
        namespace: where it stands; empty for cluster-scoped objects.
        name: its name there.
        uid: told apart from an earlier object of the same name.
        created: creationTimestamp as written; RFC 3339 in UTC sorts as text.
        generation: raised by the API server at each change of the spec.
    """

    namespace: str
    name: str
    uid: str
    created: str
    generation: int

    @property
    def age_key(self) -> tuple[str, str]:
        """Sort key "oldest first"; the UID breaks ties, so that every replica agrees."""
        return (self.created, self.uid)

    @property
    def key(self) -> str:
        """`namespace/name`, for people."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def read_identity(body: Body) -> ObjectIdentity:
    """Read who an object is from its metadata."""
    metadata = mapping_at(body, "metadata")
    generation = metadata.get("generation")
    return ObjectIdentity(
        namespace=text_at(metadata, "namespace"),
        name=text_at(metadata, "name"),
        uid=text_at(metadata, "uid"),
        created=text_at(metadata, "creationTimestamp"),
        generation=generation if isinstance(generation, int) else 0,
    )
