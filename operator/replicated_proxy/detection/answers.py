"""What registries are asked and what their answers mean (reference/references.md 3.1 to 3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
from yarl import URL

from replicated_proxy.core.challenges import Challenge
from replicated_proxy.core.images import DOCKER_HUB, ImageReference
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult

# All of them: a registry answers 404 for a manifest whose type is not asked for.
_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT: Final = ", ".join(_MANIFESTS)
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REFUSALS: Final = frozenset({401, 403})
NO_HEAD: Final = frozenset({405, 501})
LARGEST_TOKEN_ANSWER: Final = 1 << 20
# Whoever asks to be left alone for longer is asked again all the same.
_LONGEST_RETRY: Final = 21_600.0  # The window of Docker Hub's quota.
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
# Opaque: no JWT is expected. What would end the header it is sent in is none.
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}", re.ASCII)
_LONGEST_HOST: Final = 253


class Unanswered(Exception):
    """Nothing can be learned; `cause` is one word of the list in `core/probes.py`."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class _TokenAnswer(msgspec.Struct):
    """What a token server says; the rest of it is not read."""

    token: str | None = None
    access_token: str | None = None


def manifest_url(reference: ImageReference, port: int) -> URL:
    """Return where an image's manifest is; a digest says more than a tag.

    Raises:
        Unanswered: the reference names no registry that can be asked at the one port that is.
    """
    host = _DOCKER_HUB_API if reference.domain == DOCKER_HUB else reference.domain
    if not host or len(host) > _LONGEST_HOST:
        raise Unanswered("name")
    try:
        base = URL(f"https://{host}")
    except ValueError:
        raise Unanswered("name") from None
    if base.explicit_port not in {None, 443}:
        raise Unanswered("name")
    version = reference.digest or reference.tag or "latest"
    return base.with_port(port).with_path(f"/v2/{reference.path}/manifests/{version}")


def ping_url(url: URL) -> URL:
    """Return where the registry of a manifest says what it wants to see."""
    return url.with_path("/v2/").with_query(None)


def token_url(challenge: Challenge, path: str, port: int) -> URL:
    """Return where to get a token for what the challenge asks.

    Raises:
        Unanswered: the challenge names no place, or none that may be asked.
    """
    realm = checked_url(challenge.parameters.get("realm", ""), port, "answer")
    service = challenge.parameters.get("service", "")
    scopes = challenge.parameters.get("scope", "").split() or [f"repository:{path}:pull"]
    query = [("service", service)] if service else []
    return realm.extend_query([*query, *(("scope", scope) for scope in scopes)])


def checked_url(text: str, port: int, cause: str, *, base: URL | None = None) -> URL:
    """Read a URL that a stranger chose: https, the one port, no password in it.

    Raises:
        Unanswered: it is something else.
    """
    try:
        written = URL(text)
        url = written if base is None else base.join(written)
        # A scheme without a host would be taken for the present one's.
        usable = (
            bool(text)
            and bool(written.host or not written.scheme)
            and url.scheme == "https"
            and bool(url.host)
            and url.user is None
            and url.password is None
            and (url.explicit_port or 443) in {443, port}
        )
    except ValueError:
        raise Unanswered(cause) from None
    if not usable:
        raise Unanswered(cause)
    return url.with_fragment(None).with_port(port)


def read_token(body: bytes) -> str:
    """Return the token that an answer holds.

    Raises:
        Unanswered: it holds none that could be sent.
    """
    try:
        answer = msgspec.json.decode(body, type=_TokenAnswer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Unanswered("answer") from None
    token = answer.token or answer.access_token or ""
    if not _TOKEN.fullmatch(token):
        raise Unanswered("answer")
    return token


def read_manifest_answer(status: int, headers: Mapping[str, str]) -> ProbeResult:
    """Say what a registry's last answer about a manifest means."""
    if status == 200:
        page = headers.get("Content-Type", "").partition(";")[0].strip().lower() in _PAGES
        return failed("answer") if page else ProbeResult(ProbeOutcome.PUBLIC)
    if status == 404:
        return ProbeResult(ProbeOutcome.MISSING)
    return read_refusal(status, headers)


def read_refusal(status: int, headers: Mapping[str, str]) -> ProbeResult:
    """Say what an answer means that is not the one hoped for."""
    if status in REFUSALS:
        return ProbeResult(ProbeOutcome.PRIVATE)
    if status == 429:
        return ProbeResult(ProbeOutcome.LIMITED, retry_after=read_retry_after(headers))
    return failed("answer")


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a registry wants to be left alone; a date counts from the answer's own."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY)
    until, now = _read_date(text), _read_date(headers.get("Date", ""))
    if until is None or now is None:
        return 0.0
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_RETRY)


def failed(cause: str) -> ProbeResult:
    """Return a result that says only why there is none."""
    return ProbeResult(ProbeOutcome.FAILED, cause)


def _read_date(text: str) -> datetime | None:
    """Read a date of HTTP."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
