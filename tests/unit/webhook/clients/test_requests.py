"""Requests of unusual and of forbidden form, and requests that come when there is too much to do."""

from __future__ import annotations

import asyncio

import pytest

from builders import ids
from mistreating import HANGING_SECONDS, HEAD, REQUEST, REVIEW, Target, is_served, read_answer, read_end
from replicated_proxy.webhook import server as server_module
from replicated_proxy.webhook.overload import DelayGate

BAD_HTTP: list[tuple[str, bytes]] = [
    ("a header of 1 MB", HEAD + b"X-A: " + b"a" * 1024 * 1024 + b"\r\n\r\n"),
    ("thousands of headers", HEAD + b"X-A: a\r\n" * 10_000 + b"\r\n"),
    ("a request line of 1 MB", b"POST /" + b"a" * 1024 * 1024 + b" HTTP/1.1\r\n\r\n"),
    ("another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a length that is no number", HEAD + b"Content-Length: ten\r\n\r\n"),
    ("a negative length", HEAD + b"Content-Length: -1\r\n\r\n"),
    ("two lengths", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
    ("length and chunks", HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a header without a name", HEAD + b": a\r\n\r\n"),
    ("control characters", HEAD + b"X-A: a\x00b\r\n\r\n"),
]


@pytest.mark.parametrize("sent", [row[1] for row in BAD_HTTP], ids=ids(BAD_HTTP))
async def test_what_is_no_http_gets_400_and_the_end(target: Target, sent: bytes) -> None:
    """The answer is short JSON that quotes nothing, the connection ends, others go on."""
    good = await target.open()
    reader, writer = await target.open()
    writer.write(sent)
    head, body = await read_answer(reader)
    assert b" 400 " in head.splitlines()[0]
    assert body == b'{"error":"this is not HTTP/1.1"}'
    assert await read_end(reader) == b""
    assert target.refused("malformed-http") == 1
    assert await is_served(good)


REFUSED: list[tuple[str, bytes, int, str]] = [
    ("an absurd length", HEAD + b"Content-Length: 99999999999999999\r\n\r\n", 413, "too-large"),
    ("a bad chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed-http"),
    ("HEAD", b"HEAD /mutate HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"),
    ("GET", b"GET /mutate HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"),
    ("another path", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404, "path"),
    ("a path that only begins alike", b"POST /mutates?timeout=5s HTTP/1.1\r\nHost: a\r\n\r\n", 404, "path"),
    ("no media type", b"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 415, "media-type"),
]


@pytest.mark.parametrize(("sent", "status", "reason"), [row[1:] for row in REFUSED], ids=ids(REFUSED))
async def test_refused_requests_are_counted(target: Target, sent: bytes, status: int, reason: str) -> None:
    """Each has its status and its word in the metric."""
    reader, writer = await target.open()
    writer.write(sent)
    async with asyncio.timeout(HANGING_SECONDS):
        assert (await reader.readline()).split()[1] == b"%d" % status
    assert target.refused(reason) == 1


FORMS: list[tuple[str, bytes, int]] = [
    ("pipelined", REQUEST * 5, 5),
    ("more pipelined than are read at once", REQUEST * 100, 100),
    ("chunked", HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(REVIEW), REVIEW), 1),
    ("path alone", REQUEST.replace(b"?timeout=5s", b""), 1),
    ("an absolute URL", REQUEST.replace(b" /mutate", b" https://a/mutate"), 1),
    ("an escaped path", REQUEST.replace(b" /mutate", b" /%6dutate"), 1),
]


@pytest.mark.parametrize(("sent", "answers"), [row[1:] for row in FORMS], ids=ids(FORMS))
async def test_unusual_forms_are_answered(
    target: Target, sent: bytes, answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What HTTP allows is served, and the connection stays."""
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: False)  # However busy the machine is.
    streams = await target.open()
    streams[1].write(sent)
    for _ in range(answers):
        head, body = await read_answer(streams[0])
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b'"patch"' in body
    assert await is_served(streams)


async def test_http_1_0_is_answered_and_ends(target: Target) -> None:
    """HTTP/1.0 gets its answer and the end of the connection; with keep-alive it is told that it is kept."""
    for word, told in ((b"", b""), (b"Connection: keep-alive\r\n", b"Connection: keep-alive")):
        reader, writer = await target.open()
        writer.write(REQUEST.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n" + word))
        head, body = await read_answer(reader)
        assert (b"200" in head.splitlines()[0], b'"patch"' in body, told in head) == (True, True, True)
        if not word:
            assert await read_end(reader) == b""


async def test_connection_close_is_obeyed(target: Target) -> None:
    """A client that wants the connection closed gets that."""
    reader, writer = await target.open()
    writer.write(REQUEST.replace(b"Host: a", b"Host: a\r\nConnection: close"))
    head, _ = await read_answer(reader)
    assert b"Connection: close" in head
    assert await read_end(reader) == b""


async def test_expectation_is_met(target: Target) -> None:
    """A client that waits for `100 Continue` before it sends the body gets it."""
    reader, writer = await target.open()
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(REVIEW))
    async with asyncio.timeout(HANGING_SECONDS):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(REVIEW)
    head, _ = await read_answer(reader)
    assert head.startswith(b"HTTP/1.1 200 ")


async def test_overload_asks_to_come_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited too long gets 503 with an integer Retry-After, before the body, on a connection that stays."""
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: True)
    streams = await target.open()
    streams[1].write(HEAD + b"Content-Length: %d\r\n\r\n" % len(REVIEW))
    head, body = await read_answer(streams[0])
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in head
    assert body == b'{"error":"too many reviews at once"}'
    assert target.refused("overloaded") == 1
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: False)
    streams[1].write(REVIEW)
    assert await is_served(streams)


async def test_overload_gives_no_method_a_body_that_it_must_not_have(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEAD, whose answer has no body, is refused as ever: bytes after it would count as the next answer's."""
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: True)
    reader, writer = await target.open()
    writer.write(b"HEAD /mutate HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(HANGING_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")


async def test_small_bodies_pass_while_large_ones_hold_the_budget(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that announce much and send nothing keep no usual review out, though its body comes after its head."""
    monkeypatch.setattr(server_module, "_MOST_PENDING", 1024 * 1024)
    waits = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    (held, holding), (reader, writer) = await target.open(), await target.open()
    holding.write(HEAD + waits % (1024 * 1024))
    await held.readuntil(b"\r\n\r\n")
    writer.write(HEAD + waits % len(REVIEW))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(REVIEW)
    head, _ = await read_answer(reader)
    assert head.startswith(b"HTTP/1.1 200 ")


async def test_draining_closes_what_is_sent_away_too(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """While draining, whoever is asked to come again is asked to come elsewhere."""
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: True)
    target.server.draining = True
    reader, writer = await target.open()
    writer.write(REQUEST)
    head, _ = await read_answer(reader)
    assert b"503" in head.splitlines()[0]
    assert b"Connection: close" in head


async def test_time_of_a_slow_client_is_none_of_ours(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client takes to send the head of its request is no sign of overload: its last bytes count."""
    judged: list[tuple[float, float]] = []
    monkeypatch.setattr(DelayGate, "refuses", lambda _, arrived, now: judged.append((arrived, now)))
    streams = await target.open()
    loop = asyncio.get_running_loop()
    streams[1].write(REQUEST[:20])
    await streams[1].drain()
    assert await is_served(await target.open())
    between = loop.time()
    streams[1].write(REQUEST[20:])
    await read_answer(streams[0])
    arrived, now = judged[-1]
    assert between <= arrived <= now
