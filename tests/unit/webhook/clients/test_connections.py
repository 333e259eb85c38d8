"""Clients that flood, stall or send garbage: bounded, counted, and nobody else's review notices."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import cast

import pytest

from builders import ids
from mistreating import HEAD, REQUEST, REVIEW, Target, is_served, read_answer, read_end, until
from replicated_proxy.webhook import connections
from replicated_proxy.webhook.handler import Undecided


class PoorListener:
    """A listening socket of a process that has a descriptor for one connection in each turn.

    Attributes:
        refusals: how often there was none.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._accepted = False
        self.refusals = 0
        self.fileno = listener.fileno
        self.close = listener.close

    def accept(self) -> tuple[socket.socket, object]:
        """Accept one, and then none."""
        self._accepted = not self._accepted
        if self._accepted:
            return self._listener.accept()
        self.refusals += 1
        raise OSError(errno.EMFILE, "Too many open files")


async def test_reviews_on_one_connection_are_counted_as_one(target: Target) -> None:
    """A connection is kept from review to review, and gone from the metric when it is closed."""
    streams = await target.open()
    for _ in range(3):
        assert await is_served(streams)
    assert target.connections() == 1
    streams[1].close()
    await until(lambda: target.connections() == 0)


async def test_newcomer_takes_the_place_of_the_longest_idle(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all room taken by idle connections, the oldest goes: nobody keeps others out by holding on."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    held = [await target.open() for _ in range(3)]
    for streams in (*held, held[0]):
        assert await is_served(streams)
    newcomer = await target.open()
    assert await is_served(newcomer)
    assert await read_end(held[1][0]) == b""
    assert await is_served(held[0])
    assert (target.connections(), target.refused("connections")) == (3, 1)


async def test_busy_connections_are_not_ended_for_newcomers(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all room taken by reviews in progress, the newcomer is turned away and the reviews are finished."""
    known, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def answer_within(_: float) -> bytes:
        begun.release()
        await known.wait()
        return b"{}"

    monkeypatch.setattr(target.server, "_answer", lambda _: Undecided(answer_within))
    held = [await target.open() for _ in range(2)]
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    for _, writer in held:
        writer.write(REQUEST)
        await begun.acquire()
    with pytest.raises(ConnectionError):
        await target.open()
    known.set()
    for reader, _ in held:
        head, _ = await read_answer(reader)
        assert head.startswith(b"HTTP/1.1 200 ")
    assert target.refused("connections") == 1


async def test_bodies_that_do_not_come_keep_nobody_out(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all room taken by clients whose bodies are on their way, the one that began first goes."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    held = [await target.open() for _ in range(2)]
    for reader, writer in held:
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(REVIEW))
        await reader.readuntil(b"\r\n\r\n")
    newcomer = await target.open()
    assert await is_served(newcomer)
    assert await read_end(held[0][0]) == b""
    held[1][1].write(REVIEW)
    head, _ = await read_answer(held[1][0])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert target.refused("connections") == 1


@pytest.mark.parametrize("waits", [True, False], ids=["after 100 Continue", "at once"])
async def test_client_that_hangs_up_in_its_body_is_counted(target: Target, *, waits: bool) -> None:
    """A body shorter than announced is the client's mistake: it counts, and no failure is logged (`silence`)."""
    reader, writer = await target.open()
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(REVIEW))
    if waits:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REVIEW[:10])
    writer.close()
    await until(lambda: target.refused("malformed-http") == 1)
    assert await is_served(await target.open())


async def test_flood_of_connections_is_bounded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connect, no more than the limit stay, and a review is answered meanwhile."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 10)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    flood = await asyncio.gather(*(target.open() for _ in range(60)), return_exceptions=True)
    assert await is_served(await target.open())
    assert target.connections() == 10
    assert target.refused("connections") == len(flood) + 1 - 10


async def test_who_came_in_before_descriptors_ran_out_is_served(target: Target) -> None:
    """Left waiting, they would keep those descriptors for ever that would let others in."""
    acceptor = target.server._acceptor
    assert acceptor is not None
    poor = PoorListener(acceptor._listener)
    acceptor._listener = cast("socket.socket", poor)
    async with asyncio.timeout(20):
        assert await is_served(await target.open())
        assert await is_served(await target.open())
    assert poor.refusals >= 2


async def test_connections_in_use_are_not_ended_for_newcomers(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all room taken by clients that asked a moment ago, the newcomer is turned away before its handshake."""
    held = [await target.open() for _ in range(2)]
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 3600.0)  # A moment on a busy machine, too.
    for streams in held:
        assert await is_served(streams)
    with pytest.raises(ConnectionError):
        await target.open()
    for streams in held:
        assert await is_served(streams)
    assert target.refused("connections") == 1


async def test_handshakes_wait_for_their_turn_and_not_for_long(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would wait longer for a handshake than its review has time is told at once that there is no room."""
    held = [await target.open() for _ in range(2)]
    monkeypatch.setattr(connections, "handshakes_allowed", lambda _lag: 0)
    monkeypatch.setattr(connections, "_QUEUED_SECONDS", 0.05)
    with pytest.raises(ConnectionError):
        await target.open()
    for streams in held:
        assert await is_served(streams)
    assert target.refused("connections") == 1


async def test_stalled_handshakes_are_bounded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects and says nothing gives way to others."""
    monkeypatch.setattr(connections, "_MOST_HANDSHAKES", 4)
    stalled = [await target.open_plain() for _ in range(12)]
    assert await is_served(await target.open())
    ended = [asyncio.create_task(read_end(reader)) for reader, _ in stalled]
    await until(lambda: sum(task.done() for task in ended) >= 8)
    assert target.refused("connections") >= 8
    for task in ended:
        task.cancel()


async def test_stalled_handshakes_are_bounded_however_many_come_at_once(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is accepted beyond the limit ends another one, also of those accepted in the same turn."""
    limit, flood = 32, 200
    monkeypatch.setattr(connections, "_MOST_HANDSHAKES", limit)
    with contextlib.ExitStack() as stack:
        for _ in range(flood):
            stalled = stack.enter_context(socket.socket())
            stalled.connect(("127.0.0.1", target.server.port))  # The loop stands still, so all of them queue up.
        assert await is_served(await target.open())
        await until(lambda: target.refused("connections") + limit >= flood)
        handshakes = [task for task in asyncio.all_tasks() if "_welcome" in repr(task.get_coro())]
        assert len(handshakes) <= limit


async def test_handshake_that_stalls_is_given_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open connection ends after its time, and counts."""
    monkeypatch.setattr(connections, "_HANDSHAKE_SECONDS", 0.05)
    reader, writer = await target.open_plain()
    writer.write(b"\x16\x03\x01\x02\x00")
    await read_end(reader)
    await until(lambda: target.refused("tls") == 1)


GARBAGE: list[tuple[str, bytes]] = [
    ("HTTP without TLS", REQUEST),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("zeros", bytes(5000)),
    ("a record of another version", b"\x16\x02\x00\x00\x05\x01\x00\x00\x01\x00"),
    ("a record that is too long", b"\x16\x03\x03\xff\xff" + bytes(70000)),
]


@pytest.mark.parametrize("garbage", [row[1] for row in GARBAGE], ids=ids(GARBAGE))
async def test_garbage_in_place_of_tls(target: Target, garbage: bytes) -> None:
    """What is no TLS ends its connection at once, and an open one is served as before."""
    good = await target.open()
    reader, writer = await target.open_plain()
    writer.write(garbage)
    assert b"HTTP" not in await read_end(reader)
    await until(lambda: target.refused("tls") == 1)
    assert await is_served(good)


SLOW: list[tuple[str, bytes, bytes]] = [
    ("nothing", b"", b""),
    ("part of a request line", b"", b"POST /mut"),
    ("part of the headers", b"", HEAD + b"X-A: "),
    ("part of the second request", REQUEST, HEAD),
]


@pytest.mark.parametrize(("whole", "part"), [row[1:] for row in SLOW], ids=ids(SLOW))
async def test_head_that_does_not_come_is_given_up(
    target: Target, whole: bytes, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a connection, or begins a request, has to send its head in time; idle ones are kept."""
    idle = await target.open()
    assert await is_served(idle)
    reader, writer = await target.open()
    if whole:
        writer.write(whole)
        await read_answer(reader)
    writer.write(part)
    await until(lambda: target.connections() == 2)
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.05)
    assert await read_end(reader) == b""
    assert target.refused("slow") == 1
    assert await is_served(idle)


async def test_answers_that_are_not_read_are_given_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and asks and reads nothing is cut off."""
    with monkeypatch.context() as hurry:
        hurry.setattr(connections, "_HEAD_SECONDS", 0.05)
        _, writer = await target.open(receive_buffer=4096)
        cast("asyncio.Transport", writer.transport).pause_reading()
        writer.write(REQUEST * 5000)
        await until(lambda: target.refused("slow") == 1)
    assert await is_served(await target.open())
