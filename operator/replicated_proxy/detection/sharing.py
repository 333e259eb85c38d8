"""Replicas hand the controller what registries told them, so that it outlives them and reaches the others.

Both sides derive the same token from the serving key, which nobody else may read: no permission and no Secret beside
those there are. The address is nobody else's business either, so without the token there is nothing here.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from replicated_proxy.core.verdict_documents import encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict

PATH: Final = "/verdicts"
LARGEST_ANSWER: Final = 1_000_000
_LABEL: Final = b"replicated-proxy-operator: collection of verdicts, 1"
_SCHEME: Final = "Bearer "
_SECONDS: Final = 5.0
_KEEPALIVE_SECONDS: Final = 60.0  # Longer than the pause between two collections, so that no handshake is needed.
_OK: Final = 200
_NOT_MODIFIED: Final = 304


def sharing_token(key: bytes) -> str:
    """Derive the token from the serving Secret's private key, as its entry has it; the key does not follow from it."""
    return hmac.new(key, _LABEL, hashlib.sha256).hexdigest()


class Reporter(Protocol):
    """Who knows verdicts.

    Attributes:
        reports: another number whenever `verdicts` may say something else than before.
    """

    reports: int

    def verdicts(self) -> list[RepositoryVerdict]:
        """Return what registries said."""
        ...


class SharedVerdicts:
    """Answers `GET /verdicts`; the text is made when it is other than before, so that asking often costs nothing."""

    def __init__(self, reporter: Reporter, key: Callable[[], bytes | None]) -> None:
        self._reporter = reporter
        self._key = key
        self._made_of = -1
        self._body = b""
        self._tag = ""

    def __call__(self, request: web.BaseRequest) -> web.Response | None:
        """Answer whoever has the token; None for anybody else."""
        if request.method != "GET" or not self._is_permitted(request.headers.get("Authorization", "")):
            return None
        self._make()
        headers = {"ETag": self._tag}
        if request.headers.get("If-None-Match") == self._tag:
            return web.Response(status=_NOT_MODIFIED, headers=headers)
        return web.Response(body=self._body, content_type="application/json", headers=headers)

    def _is_permitted(self, authorization: str) -> bool:
        """Compare the token in constant time."""
        key = self._key()
        if key is None:
            return False
        return hmac.compare_digest(authorization.encode("utf-8", "replace"), f"{_SCHEME}{sharing_token(key)}".encode())

    def _make(self) -> None:
        """Write the text anew where it may have changed."""
        reports = self._reporter.reports
        if reports != self._made_of:
            self._body = encode_verdicts(self._reporter.verdicts(), LARGEST_ANSWER).encode()
            self._tag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
            self._made_of = reports


@dataclass(frozen=True, slots=True)
class Access:
    """How the controller gets in.

    Attributes:
        bundle: PEM of the authorities that replicas' certificates come from.
        server_name: the name in those certificates.
        token: what replicas let in.
        port: theirs.
    """

    bundle: str
    server_name: str
    token: str
    port: int


class Replicas:
    """Asks replicas for their verdicts; each one's text is remembered by its tag, so that it comes once.

    The connections are the controller's own: verified, direct, and followed nowhere else.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._tags: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, address: str) -> str | None:
        """Return what a replica says, or None where that is the same as before.

        Raises:
            OSError: it does not answer as it should; says why.
        """
        try:
            return await self._fetch(address)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise OSError(f"{type(error).__name__}") from error

    def forget(self, addresses: set[str]) -> None:
        """Forget replicas that are not among these any more."""
        self._tags = {address: tag for address, tag in self._tags.items() if address in addresses}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, address: str) -> str | None:
        """Ask, and read no more than a replica may say."""
        host = f"[{address}]" if ":" in address else address
        headers = {"Authorization": f"{_SCHEME}{self._access.token}", "Accept-Encoding": "identity"}
        if tag := self._tags.get(address):
            headers["If-None-Match"] = tag
        async with self._open().get(
            f"https://{host}:{self._access.port}{PATH}",
            headers=headers,
            allow_redirects=False,
            server_hostname=self._access.server_name,
        ) as answer:
            if answer.status == _NOT_MODIFIED and tag:
                return None
            if answer.status != _OK:
                raise OSError(f"status {answer.status}")
            text = await _read(answer)
            self._tags[address] = answer.headers.get("ETag", "")[:80]
            return text

    def _open(self) -> aiohttp.ClientSession:
        """Return the session; it has to be made where a loop runs."""
        if self._session is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(cadata=self._access.bundle)
            connector = aiohttp.TCPConnector(ssl=context, keepalive_timeout=_KEEPALIVE_SECONDS, limit=16)
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session


async def _read(answer: aiohttp.ClientResponse) -> str:
    """Read an answer of bounded size."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise OSError(f"more than {LARGEST_ANSWER} bytes")
    return body.decode()
