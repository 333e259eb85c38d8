"""A webhook to be mistreated, and the words for doing so."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.server import ReviewServer
from replicated_proxy.webhook.tables import TableHolder
from serving import SERVER_NAME, Known, a_config_map, a_review, a_serving_secret, client_context, to_bytes

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REVIEW: Final = to_bytes(a_review())
HEAD: Final = b"POST /mutate?timeout=5s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
REQUEST: Final = HEAD + b"Content-Length: %d\r\n\r\n" % len(REVIEW) + REVIEW
HANGING_SECONDS: Final = 120


class Target:
    """A webhook to be mistreated."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        authority = make_authority(now, timedelta(days=2))
        material = MaterialHolder(SERVER_NAME, lambda: datetime.now(UTC), Metrics())
        material.update(a_serving_secret(authority, now=now, days=1))
        tables = TableHolder()
        tables.update(a_config_map())
        self.metrics = Metrics()
        handler = ReviewHandler(tables, RewritePolicy(), Known(), self.metrics)
        settings = WebhookSettings(port=0, bind="127.0.0.1", shutdown_seconds=5)
        self.server = ReviewServer(settings, material.context, handler.answer, self.metrics)
        self._trust = client_context(authority)
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, receive_buffer: int | None = None) -> Streams:
        """Open a connection, perhaps one whose end takes in little that nobody reads."""
        connected = socket.socket()
        connected.setblocking(False)  # noqa: FBT003 - its only form.
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", self.server.port))
        streams = await asyncio.open_connection(sock=connected, ssl=self._trust, server_hostname=SERVER_NAME)
        self._writers.append(streams[1])
        return streams

    async def open_plain(self) -> Streams:
        """Open a connection without TLS."""
        streams = await asyncio.open_connection("127.0.0.1", self.server.port)
        self._writers.append(streams[1])
        return streams

    def refused(self, reason: str) -> float:
        """Return how often something was refused for this reason."""
        found = self.metrics.registry.get_sample_value("replicated_proxy_requests_refused_total", {"reason": reason})
        return found or 0.0

    def connections(self) -> float | None:
        """Return how many connections are open."""
        return self.metrics.registry.get_sample_value("replicated_proxy_connections")

    async def close(self) -> None:
        """End both sides."""
        for writer in self._writers:
            writer.close()
        await self.server.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(HANGING_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for is a count, and tells nobody.
            await asyncio.sleep(0.005)


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return status line and headers, and the body."""
    async with asyncio.timeout(HANGING_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        return head, await reader.readexactly(int(length.partition(b":")[2]))


async def read_end(reader: asyncio.StreamReader) -> bytes:
    """Return everything up to the end of the connection, however it ends."""
    received = b""
    try:
        async with asyncio.timeout(HANGING_SECONDS):
            while part := await reader.read(65536):
                received += part
    except (ConnectionError, ssl.SSLError):
        pass
    return received


async def is_served(streams: Streams) -> bool:
    """Tell whether a review is answered on a connection."""
    streams[1].write(REQUEST)
    head, body = await read_answer(streams[0])
    return head.startswith(b"HTTP/1.1 200 OK\r\n") and b'"patch"' in body
