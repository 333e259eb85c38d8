"""Image references, parsed once at the door.

The grammar is that of distribution/reference v0.6.0 (`reference.go`, `normalize.go`), which the kubelet and
containerd use; rules for digests are go-digest v1.0.0's. The text as written is kept beside the parsed parts,
because a rewrite changes only what stands in front of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DOCKER_HUB: Final = "docker.io"
_LEGACY_DOCKER_HUB: Final = "index.docker.io"
_LONGEST_PATH: Final = 255  # RepositoryNameTotalLengthMax; since v0.6.0 the host does not count.
# Path, tag and digest have ends of their own; a host has none in the grammar, but no name server has one of 254
# characters. Matching takes up to 160 bytes for each character, and the API server stores images of a megabyte.
_LONGEST_TEXT: Final = 4096

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
_IMAGE_ID = re.compile(r"sha256:[a-f0-9]{64}", re.ASCII)
_ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_LOWER_HEX = re.compile(r"[a-f0-9]+", re.ASCII)
_HEX_DIGITS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}", re.ASCII)
_REGISTRY_HOST = re.compile(_DOMAIN, re.ASCII)


class InvalidImageReference(ValueError):
    """The text is no image reference; `kind` says which rule it breaks, in one word.

    Kinds: `format`, `uppercase`, `identifier`, `too-long`, `digest-length`, `digest-unsupported`,
    `digest-format` (the error values of distribution/reference and go-digest).
    """

    def __init__(self, text: str, kind: str) -> None:
        """Name the text (shortened) and the rule."""
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(f"invalid image reference {shown!r}: {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed image name: where it is pulled from and the text it was written as.

    Attributes:
        text: as written, byte for byte.
        name: as written, without tag and digest.
        domain: registry host with its port, Docker Hub's filled in; empty for the underscore quirk
            (`my_host.example.com/app`), where the grammar finds no host.
        path: repository, `library/` filled in for Docker Hub's official images.
        tag: as written, or None.
        digest: as written (`algorithm:hex`), or None.
    """

    text: str
    name: str
    domain: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def repository(self) -> str:
        """Domain and path: what a registry and the kubelet's credential lookup go by."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def suffix(self) -> str:
        """Tag and digest as written, separators included."""
        return self.text[len(self.name) :]

    @property
    def normalized(self) -> str:
        """Everything spelled out; `:latest` where neither tag nor digest is written."""
        return self.repository + (self.suffix or ":latest")

    @property
    def docker_ref(self) -> str:
        """What containerd pulls (`ParseDockerRef`): a digest makes the tag void."""
        return f"{self.repository}@{self.digest}" if self.digest and self.tag else self.normalized

    @property
    def familiar(self) -> str:
        """The short form that Docker's user interface shows (`familiarizeName`)."""
        if self.domain != DOCKER_HUB:
            return self.repository + self.suffix
        official = self.path.removeprefix("library/")
        return (official if "/" not in official else self.path) + self.suffix


def parse_image(text: str) -> ImageReference:
    """Parse an image as the kubelet does (`ParseNormalizedNamed`).

    Raises:
        InvalidImageReference: the kubelet would refuse it with `InvalidImageName`.
    """
    if len(text) > _LONGEST_TEXT:
        raise InvalidImageReference(text, "too-long")
    if _IDENTIFIER.fullmatch(text):
        raise InvalidImageReference(text, "identifier")
    domain, remainder = _split_domain(text)
    repository = remainder.partition(":")[0]
    if repository.lower() != repository:
        raise InvalidImageReference(text, "uppercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidImageReference(text, _misfit(f"{domain}/{remainder}"))
    if len(match["path"]) > _LONGEST_PATH:
        raise InvalidImageReference(text, "too-long")
    tag, digest = match["tag"], match["digest"]
    if digest:
        _check_digest(text, digest)
    written = len(text) - (len(tag) + 1 if tag else 0) - (len(digest) + 1 if digest else 0)
    return ImageReference(text, text[:written], match["domain"] or "", match["path"], tag, digest)


def _split_domain(text: str) -> tuple[str, str]:
    """Split as `splitDockerDomain` does: only the part before the first slash can be a host."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DOCKER_HUB, f"library/{text}"
    if first == _LEGACY_DOCKER_HUB:
        first = DOCKER_HUB
    elif first != "localhost" and not ("." in first or ":" in first) and first.lower() == first:
        return DOCKER_HUB, text
    return first, f"library/{rest}" if first == DOCKER_HUB and "/" not in rest else rest


def _misfit(reference: str) -> str:
    """Say what keeps a text out of the grammar: capitals, where it would fit without them, else its form.

    Go lowers rune by rune; Python makes two characters of one, the dotted capital I.
    """
    lowered = reference.replace("\u0130", "i").lower()
    return "uppercase" if _REFERENCE.fullmatch(lowered) else "format"


def _check_digest(text: str, digest: str) -> None:
    """Check algorithm, length and alphabet in go-digest's order (`Digest.Validate`)."""
    algorithm, _, encoded = digest.partition(":")
    digits = _HEX_DIGITS.get(algorithm)
    if digits is None:
        known_shape = _ANY_DIGEST.fullmatch(digest)
        raise InvalidImageReference(text, "digest-unsupported" if known_shape else "digest-format")
    if len(encoded) != digits:
        raise InvalidImageReference(text, "digest-length")
    if not _LOWER_HEX.fullmatch(encoded):
        raise InvalidImageReference(text, "digest-format")


def is_image_id(text: str) -> bool:
    """Tell whether the text is a local image ID, which containerd looks up before any registry."""
    return _IMAGE_ID.fullmatch(text) is not None


def is_local_host(domain: str) -> bool:
    """Tell whether the host is the node itself: `localhost` or 127.0.0.0/8."""
    return domain == "localhost" or _LOOPBACK.fullmatch(domain) is not None


def is_registry_host(text: str) -> bool:
    """Tell whether the text is a host with an optional port: no scheme, no path, lower case.

    A bare word is none: where Docker reads `proxy/app`, it finds an organisation of Docker Hub.
    """
    told = "." in text or ":" in text or text == "localhost"
    return told and text == text.lower() and _REGISTRY_HOST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RepositoryPattern:
    """`host`, `host/path-prefix` or `*.host`; `core.selections` says which images lie under it."""

    text: str
    host: str
    any_subdomain: bool
    segments: tuple[str, ...]


class InvalidRepositoryPattern(ValueError):
    """The text is no `host`, `host/path-prefix` or `*.host`."""


def parse_pattern(text: str) -> RepositoryPattern:
    """Parse one entry of `rewrite.include`, `rewrite.exclude` or `proxy.kots.io/upstreams`.

    Raises:
        InvalidRepositoryPattern: names the entry and the three accepted forms.
    """
    host, _, path = text.strip().rstrip("/").partition("/")
    any_subdomain = host.startswith("*.")
    bare = host.removeprefix("*.")
    segments = tuple(path.split("/")) if path else ()
    known_host = is_registry_host(f"x.{bare}" if any_subdomain else bare)
    if not known_host or not all(re.fullmatch(_COMPONENT, part, re.ASCII) for part in segments):
        raise InvalidRepositoryPattern(
            f"{text!r} is not a repository pattern: write host, host/path-prefix or *.host, in lower case"
        )
    known = DOCKER_HUB if bare == _LEGACY_DOCKER_HUB else bare
    return RepositoryPattern(text.strip(), known, any_subdomain, segments)


@dataclass(frozen=True, slots=True)
class ImageSelector:
    """An entry of `Application.spec.excludedImages` or `additionalImages`; `core.selections` says what it selects."""

    text: str
    reference: ImageReference | None


def parse_selector(text: str) -> ImageSelector:
    """Parse an image entry; one that is no reference (`auto`) still selects its very text."""
    try:
        return ImageSelector(text, parse_image(text))
    except InvalidImageReference:
        return ImageSelector(text, None)
