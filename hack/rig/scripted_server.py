"""A server that says whatever a script tells it, grammar or none: what a hostile registry may send."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rig.authority import KeyPair


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as it arrived; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


Behaviour = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class ScriptedServer:
    """Listens with or without TLS and answers each request by its behaviour; an async context manager.

    Attributes:
        behave: writes the answer to one request.
        greeting: what is said to whoever connects, before anything was asked.
        heard: every request, in order.
        connections: how many were accepted, whether something was asked on them or not.
    """

    address: str
    port: int
    pair: KeyPair | None
    behave: Behaviour
    greeting: bytes = b""
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        """Listen."""
        context = None
        if self.pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.pair.certificate, self.pair.key)
        self._server = await asyncio.start_server(self._serve, self.address, self.port, ssl=context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and drop whoever is connected."""
        if self._server is not None:
            self._server.close()
            for task, writer in self._tasks.items():
                writer.transport.abort()
                task.cancel()
            await asyncio.gather(*self._tasks)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side ends it."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in one.
        self._tasks[task] = writer
        try:
            # Cancelled when the server stops: an end like any other.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                writer.write(self.greeting)
                while not writer.is_closing():
                    heard = _read_head((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
                    self.heard.append(heard)
                    await self.behave(heard, writer)
        finally:
            del self._tasks[task]
            writer.transport.abort()


def say(text: str | bytes) -> Behaviour:
    """Answer every request with these bytes."""
    payload = text.encode("latin-1") if isinstance(text, str) else text

    async def behave(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(payload)
        await writer.drain()

    return behave


def answer(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer every request with this status, these header lines and this body, and keep the connection open."""
    head = "\r\n".join([f"HTTP/1.1 {status} Scripted", *headers, f"Content-Length: {len(body)}"])
    whole, bare = f"{head}\r\n\r\n".encode("latin-1") + body, f"{head}\r\n\r\n".encode("latin-1")

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(bare if heard.method == "HEAD" else whole)
        await writer.drain()

    return behave


def by_path(behaviours: Mapping[str, Behaviour], otherwise: Behaviour | None = None) -> Behaviour:
    """Answer by the beginning of the path; the longest that fits, else the other way, else with 404."""
    rest = otherwise or answer(404)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        fitting = [prefix for prefix in behaviours if heard.path.startswith(prefix)]
        chosen = behaviours[max(fitting, key=len)] if fitting else rest
        await chosen(heard, writer)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer the first request by the first behaviour, and so on; the last one stays."""
    turns = iter(behaviours[:-1])

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await next(turns, behaviours[-1])(heard, writer)

    return behave


def endlessly(begin: str, more: bytes) -> Behaviour:
    """Begin an answer and go on with it until the other side has had enough."""

    async def behave(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(begin.encode("latin-1"))
        while not writer.is_closing():
            writer.write(more)
            await writer.drain()
            # What was written at once did not wait for anything, and the other side may live in this event loop.
            await asyncio.sleep(0)

    return behave


async def hang(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side leaves."""
    with suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def hang_up(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    """End the connection instead of answering."""
    writer.transport.abort()


def _read_head(text: str) -> Heard:
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Heard(method, target, {name.strip().lower(): value.strip() for name, _, value in pairs})
