"""The kubelet's image-pull keyring, modelled: which entries of a docker config it tries for an image, in which order.

Written from the rules of kubernetes `pkg/credentialprovider` (`Add`, `Lookup`, `URLsMatch`) and of the parts of Go's
`net/url` and `path/filepath` that they rest on, so that tests can say what a pull secret gives to whom.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

DOCKER_HUB = "index.docker.io"
_HOST_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]|[^\x00-\x7f])*")
_USER_CHARACTERS = re.compile(r"[A-Za-z0-9._~:!$&'()*+,;=%@-]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IPV6 = re.compile(r"\[[^]]*\]")
_PORT = re.compile(r"(?::[0-9]*)?", re.ASCII)
_PADDED = re.compile(r"(?:[^=]{4})*(?:[^=]{2}==|[^=]{3}=)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ASCII_ESCAPE = re.compile(r"%(?!25)[0-7]")

Entry = TypeVar("Entry")


class InvalidURL(ValueError):
    """Text that Go's `net/url` refuses; the keyring ignores such an entry."""


class InvalidEntry(ValueError):
    """An entry that the kubelet cannot decode: it then pulls nothing at all for the Pod."""


@dataclass(frozen=True, slots=True)
class Location:
    """Host (with its port) and path of an entry or of a repository."""

    host: str
    path: str

    @property
    def key(self) -> str:
        """What the keyring files an entry under: `/v1/` and `/v2/` are no path, nor is a single slash."""
        path = self.path[3:] if self.path.startswith(("/v1/", "/v2/")) else self.path
        return self.host if path == "/" else self.host + path

    @property
    def labels(self) -> list[str]:
        """The parts of the host between dots."""
        return self._split()[0].split(".")

    @property
    def port(self) -> str:
        """The port, or nothing; an explicit 443 is not the same as none."""
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        """Split off the port. An IPv6 host sheds its brackets only then, as Go's `SplitHostPort` has it."""
        host, colon, port = self.host.rpartition(":")
        if not colon or ("]" in self.host and not _IPV6.fullmatch(host)):
            return self.host, ""
        return host.strip("[]"), port


class Keyring(Generic[Entry]):
    """Entries by key, tried from the longest path of a host to the host itself."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._filed: dict[str, list[Entry]] = {}
        for name, entry in entries.items():
            schemed = name if name.startswith(("https://", "http://")) else f"https://{name}"
            try:
                key = locate(_as_bytes(schemed)).key
            except InvalidURL:
                continue
            self._filed.setdefault(key, []).append(entry)

    def lookup(self, repository: str) -> list[Entry]:
        """Return the entries that the kubelet tries for a repository (its normalised name, without tag and digest).

        Entries of one key have no order of their own in the kubelet; here it is that in which they came.
        """
        wanted = _as_bytes(repository)
        found = [
            entry for key in sorted(self._filed, reverse=True) if matches(key, wanted) for entry in self._filed[key]
        ]
        if not found and _is_docker_hub(repository):
            return list(self._filed.get(DOCKER_HUB, ()))
        return found


def matches(key: str, repository: str) -> bool:
    """Tell whether a key is good for a repository: same port, each host label as a glob, the path as a plain prefix."""
    try:
        mine, theirs = locate(f"https://{key}"), locate(f"https://{repository}")
    except InvalidURL:
        return False
    return (
        mine.port == theirs.port
        and len(mine.labels) == len(theirs.labels)
        and theirs.path.startswith(mine.path)
        and all(map(_label_matches, mine.labels, theirs.labels))
    )


def locate(url: str) -> Location:
    """Read host and path of an http or https URL as Go does; fragment, query and user are dropped.

    Raises:
        InvalidURL: Go refuses it.
    """
    rest, _, fragment = url.partition("#")
    if _CONTROL.search(rest):
        raise InvalidURL(url)
    _unescape(fragment)
    authority, slash, path = rest.partition("://")[2].partition("?")[0].partition("/")
    user, _, host = authority.rpartition("@")
    if not _USER_CHARACTERS.fullmatch(user):
        raise InvalidURL(url)
    _unescape(user)
    return Location(_read_host(host), _unescape(slash + path))


def _read_host(text: str) -> str:
    """Check a host with its port. Percent signs stand for bytes beyond ASCII only, brackets for IPv6 only."""
    host, port = text, ""
    if "[" in text:
        host, bracket, port = text.rpartition("]")
        _check_ipv6(host, bracket)
    elif ":" in text:
        host, port = text.split(":", 1)
        port = f":{port}"
    if not _PORT.fullmatch(port) or not _HOST_CHARACTERS.fullmatch(text) or _ASCII_ESCAPE.search(text):
        raise InvalidURL(text)
    return _unescape(text)


def _check_ipv6(host: str, bracket: str) -> None:
    """Refuse brackets around anything but an IPv6 address."""
    if not bracket or host.rfind("[") > 0:
        raise InvalidURL(host)
    try:
        IPv6Address(_unescape(host[1:]))
    except AddressValueError as error:
        raise InvalidURL(host) from error


def _unescape(text: str) -> str:
    """Resolve percent escapes."""
    if _BAD_ESCAPE.search(text):
        raise InvalidURL(text)
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


def _label_matches(glob: str, label: str) -> bool:
    """Compare one label of a host. What is left of IPv6 brackets is a class of characters to Go."""
    if glob.startswith("["):
        return glob.endswith("]") and len(label) == 1 and label in glob[1:-1]
    pattern = "".join("[^/]*" if character == "*" else re.escape(character) for character in glob)
    return re.fullmatch(pattern, label, re.DOTALL) is not None


def _is_docker_hub(repository: str) -> bool:
    """Tell whether a repository is on Docker Hub, by the look of what stands before its first slash."""
    first, slash, _ = repository.partition("/")
    if not first:
        return False
    return not slash or first in {"docker.io", DOCKER_HUB} or not re.search("[.:]", first)


def _as_bytes(text: str) -> str:
    """Return a text with one character for each of its bytes: that is how Go compares and sorts."""
    return text.encode().decode("latin-1")


@dataclass(frozen=True, slots=True)
class Credential:
    """What the kubelet hands to the runtime."""

    user: str
    password: str


def read_docker_config(content: bytes) -> dict[str, Credential]:
    """Read the entries of a `.dockerconfigjson` as the kubelet does.

    Raises:
        InvalidEntry: an `auth` is no base64 of user and password.
    """
    return {name: _read_entry(entry) for name, entry in json.loads(content)["auths"].items()}


def _read_entry(entry: Mapping[str, str]) -> Credential:
    """Read one entry: `auth` beats user and password."""
    auth = entry.get("auth", "")
    if not auth:
        return Credential(entry.get("username", ""), entry.get("password", ""))
    plain = auth.replace("\n", "").replace("\r", "")
    padding = "" if plain.strip().endswith("=") else "=" * (-len(plain) % 4)
    if not _PADDED.fullmatch(plain + padding):
        raise InvalidEntry("auth is no base64")
    try:
        decoded = base64.b64decode(plain + padding, validate=True).decode("utf-8", "replace")
        user, colon, password = decoded.partition(":")
    except ValueError as error:
        raise InvalidEntry("auth is no base64") from error
    if not colon:
        raise InvalidEntry("auth is not user:password")
    return Credential(user, password)
