"""HTTP answers. Those that are given thousands of times a second are written in one piece, head and body.

aiohttp's own response makes a map of headers and serializes it for each answer, which takes as long as the decision.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from replicated_proxy.webhook.answers import encode_error

JSON: Final = "application/json"
# TLS keeps a buffer as large as the largest answer for as long as a connection lives, and aiohttp keeps the answer
# until the next request: a few dozen connections with one huge answer each would fill all of this process's memory.
_LARGEST_KEPT: Final = 64 * 1024
_OK: Final = "200 OK"
_BUSY: Final = "503 Service Unavailable"
_TOO_MANY: Final = "too many reviews at once"
_BUSY_BODY: Final = encode_error(_TOO_MANY)


def error_response(status: int, message: str, **headers: str) -> web.Response:
    """Make the answer to a request that gets an error."""
    return web.Response(status=status, body=encode_error(message), headers={"Content-Type": JSON, **headers})


class Refused(Exception):
    """A request that gets an error.

    Attributes:
        reason: how it is counted (`Metrics.requests_refused`).
        response: what to answer.
    """

    def __init__(self, reason: str, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.response = error_response(status, message, **headers)


class WrittenResponse(web.StreamResponse):
    """An answer to HTTP/1.1 on a connection that stays open; its bytes are there already."""

    def __init__(self, status: int, written: bytes) -> None:
        super().__init__(status=status)
        self._written = written

    @property
    def keep_alive(self) -> bool:
        """Keep the connection."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Remember whom to answer."""
        self._to = request.writer
        return self._to

    async def write_eof(self, data: bytes = b"") -> None:
        """Write everything; waits while the client reads too slowly."""
        await self._to.write_eof(self._written + data)


class Responses:
    """Makes answers; knows the time of day, once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._heads: dict[str, bytes] = {}

    def answer(self, request: web.BaseRequest, body: bytes, *, closing: bool) -> web.StreamResponse:
        """Answer a review; the connection of a large answer ends with it."""
        if len(body) > _LARGEST_KEPT:
            response = web.Response(body=body, content_type=JSON)
            response.force_close()
            return response
        if closing or not _stays_open(request):
            return web.Response(body=body, content_type=JSON)
        return WrittenResponse(200, b"%b%d\r\n\r\n%b" % (self._head(_OK), len(body), body))

    def busy(self, request: web.BaseRequest, *, closing: bool) -> web.StreamResponse:
        """Ask to come again, without ending the connection: making another one takes longer than a review."""
        if closing or not _stays_open(request):
            return error_response(503, _TOO_MANY, **{"Retry-After": "1"})
        head = self._head(f"{_BUSY}\r\nRetry-After: 1")
        return WrittenResponse(503, b"%b%d\r\n\r\n%b" % (head, len(_BUSY_BODY), _BUSY_BODY))

    def _head(self, status: str) -> bytes:
        """Return everything before the length of the body."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._heads.clear()
        head = self._heads.get(status)
        if head is None:
            date = formatdate(second, usegmt=True)
            text = f"HTTP/1.1 {status}\r\nContent-Type: {JSON}\r\nDate: {date}\r\nContent-Length: "
            head = self._heads[status] = text.encode()
        return head


def _stays_open(request: web.BaseRequest) -> bool:
    """Tell whether nothing is to be said about the connection: HTTP/1.1 keeps it open by itself."""
    return request.keep_alive and request.version == HttpVersion11
