"""One request and its answer, under the rules for hosts: no secret goes out, and no more comes in than is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from replicated_proxy.core.addresses import AddressRules, InvalidHost, is_internal_name, read_address
from replicated_proxy.detection.answers import Unanswered
from replicated_proxy.detection.dialing import ForbiddenHost, Lookups, open_session
from replicated_proxy.detection.trust import Trust
from replicated_proxy.settings.detecting import DetectionSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    url: URL
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Line:
    """One request and its answer, under the rules for hosts."""

    def __init__(self, settings: DetectionSettings, lookups: Lookups, trust: Trust) -> None:
        self._rules = AddressRules.parse(settings.allowed_networks, settings.internal_networks)
        self._proxy = settings.http_proxy or None
        self._lookups = lookups
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, url: URL, headers: dict[str, str], most: int = 0) -> Answer:
        """Ask, and once more where the connection was dropped before an answer came: aiohttp does that by itself.

        Args:
            method: HEAD or GET.
            url: already known to be one that may be asked, as far as that can be seen.
            headers: of the request.
            most: bytes of the answer to read; the rest never leaves the socket.

        Raises:
            ForbiddenHost: the host is on somebody's own network; nothing was sent.
            Unanswered: nothing came that means anything.
        """
        self._check(url)
        if self._session is None:
            self._session = open_session(self._lookups, self._rules, behind_proxy=self._proxy is not None)
        try:
            response = await self._session.request(
                method, url, headers=headers, allow_redirects=False, proxy=self._proxy, ssl=self._trust.context()
            )
            try:
                body = await _read(response, most) if most and response.status == 200 else b""
            finally:
                # A connection with an unread body is closed by this; one without goes back for the next request.
                response.release()
        except (aiohttp.ClientError, ValueError) as error:
            raise _explain(error) from None
        return Answer(url, response.status, response.headers, body)

    async def close(self) -> None:
        """Close the session, and let the look-ups end."""
        self._lookups.close()
        if self._session is not None:
            await self._session.close()

    def _check(self, url: URL) -> None:
        """Judge a host that nobody would look up, or that the egress proxy would."""
        host = url.raw_host or ""
        try:
            address = read_address(host)
        except InvalidHost:
            raise Unanswered("name") from None
        if address is not None and not self._rules.permit(address):
            raise ForbiddenHost(f"{host[:80]!r} is a private, local or internal address")
        if address is None and self._proxy and is_internal_name(host):
            raise ForbiddenHost(f"{host[:253]!r} is a name of a cluster or a local network")


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read a body that is no longer than it may be.

    Raises:
        Unanswered: it is longer.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise Unanswered("answer")
    return bytes(body)


def _explain(error: Exception) -> OSError | Unanswered:
    """Say in one word what went wrong, or that the host is forbidden."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        inner = error.os_error
        return inner if isinstance(inner, ForbiddenHost) else Unanswered("name")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unanswered("certificate")
    if isinstance(error, TimeoutError):  # aiohttp's own.
        return Unanswered("timeout")
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientHttpProxyError):
        return Unanswered("connection")
    return Unanswered("answer")
