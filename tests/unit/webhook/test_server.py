"""The HTTPS server: a real one on loopback, called as the API server calls it."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import a_route, a_table
from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook import server as server_module
from replicated_proxy.webhook.handler import ReviewHandler, Undecided
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.server import LARGEST_BODY, ReviewServer
from replicated_proxy.webhook.tables import TableHolder
from serving import (
    SERVER_NAME,
    Known,
    a_config_map,
    a_review,
    a_serving_secret,
    client_context,
    client_session,
    read_response,
    to_bytes,
)

JSON_HEADERS = {"Content-Type": "application/json"}


class WatchedServer(ReviewServer):
    """A server that tells when it waits for a body."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.waiting = asyncio.Event()

    async def _read_slowly(self, request: web.BaseRequest) -> bytes:
        """Read as the product does."""
        self.waiting.set()
        return await super()._read_slowly(request)


class Webhook:
    """A running server with what it serves from, and one client with one connection."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.authority = make_authority(now, timedelta(days=2))
        self.tables = TableHolder()
        self.tables.update(a_config_map())
        self.material = MaterialHolder(SERVER_NAME, lambda: datetime.now(UTC), Metrics())
        self.material.update(a_serving_secret(self.authority, now=now, days=1))
        self.metrics = Metrics()
        self.handler = ReviewHandler(self.tables, RewritePolicy(), Known(), self.metrics)
        served = WebhookSettings(port=0, bind="127.0.0.1", shutdown_seconds=5)
        self.server = WatchedServer(served, self.material.context, self.handler.answer, self.metrics)

    async def send(self, session: aiohttp.ClientSession, body: bytes | None = None, **differs: Any) -> tuple[int, Any]:
        """Send a review, or something else; returns status and decoded answer."""
        arguments = {"method": "POST", "url": "/mutate?timeout=5s", "headers": JSON_HEADERS} | differs
        data = io.BytesIO(to_bytes(a_review()) if body is None else body)
        async with session.request(data=data, server_hostname=SERVER_NAME, **arguments) as answer:
            assert answer.content_type == "application/json"
            return answer.status, json.loads(await answer.read())

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to send raw bytes on."""
        return await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=client_context(self.authority), server_hostname=SERVER_NAME
        )


def a_request(body: bytes) -> bytes:
    """Return a request as it stands on the wire."""
    head = f"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a review on an open connection and return the body of its answer."""
    writer.write(a_request(to_bytes(a_review())))
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.splitlines() if line.startswith(b"Content-Length:"))
    return await reader.readexactly(int(length.partition(b":")[2]))


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """Return a running webhook."""
    webhook = Webhook()
    await webhook.server.start()
    yield webhook
    await webhook.server.stop()


@pytest.fixture
async def session(webhook: Webhook) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client that trusts the webhook's bundle and expects its Service's name."""
    async with client_session(webhook.server.port, webhook.authority) as session:
        yield session


async def test_review_is_answered(webhook: Webhook, session: aiohttp.ClientSession) -> None:
    """A review by POST over TLS, verified for the Service's name, gets its patch."""
    status, answer = await webhook.send(session)
    assert status == 200
    assert read_response(json.dumps(answer).encode())["patchType"] == "JSONPatch"


@pytest.mark.parametrize(
    ("differs", "status"),
    [
        pytest.param({"url": "/"}, 404, id="root"),
        pytest.param({"url": "/mutate/"}, 404, id="slash"),
        pytest.param({"url": "/validate", "method": "GET"}, 404, id="another-path"),
        pytest.param({"method": "GET"}, 405, id="get"),
        pytest.param({"method": "PUT"}, 405, id="put"),
        pytest.param({"headers": {"Content-Type": "text/plain"}}, 415, id="text"),
        pytest.param({"headers": {"Content-Type": "application/jsonp"}}, 415, id="nearly-json"),
        pytest.param({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415, id="form"),
        pytest.param({"body": b"{"}, 400, id="no-json"),
        pytest.param({"body": b""}, 400, id="empty"),
        pytest.param({"body": gzip.compress(to_bytes(a_review()))}, 400, id="compressed"),
        pytest.param(
            {"body": gzip.compress(to_bytes(a_review())), "headers": JSON_HEADERS | {"Content-Encoding": "gzip"}},
            400,
            id="compressed-and-saying-so",
        ),
        pytest.param({"body": b" " * (LARGEST_BODY + 1)}, 413, id="too-large"),
    ],
)
async def test_bad_requests_get_short_json_errors(
    webhook: Webhook, session: aiohttp.ClientSession, differs: dict[str, Any], status: int
) -> None:
    """Each kind of bad request has its status and one short sentence, and the server goes on."""
    got, answer = await webhook.send(session, **differs)
    assert got == status
    assert list(answer) == ["error"]
    assert len(answer["error"]) < 100
    assert "Traceback" not in answer["error"]
    assert (await webhook.send(session))[0] == 200


async def test_content_type_may_carry_parameters(webhook: Webhook, session: aiohttp.ClientSession) -> None:
    """`application/json` counts in any case and with a charset."""
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await webhook.send(session, headers=headers))[0] == 200


async def test_large_review_is_answered(webhook: Webhook, session: aiohttp.ClientSession) -> None:
    """A review just under the limit is read whole: the API server's own limit for objects is 3 MiB."""
    body = to_bytes(a_review())
    status, _ = await webhook.send(session, body + b" " * (LARGEST_BODY - len(body)))
    assert status == 200


async def test_endless_body_is_cut_off(session: aiohttp.ClientSession) -> None:
    """A body that announces no length is refused once it passes the limit."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1024 * 1024

    async with session.post("/mutate", data=endless(), headers=JSON_HEADERS, server_hostname=SERVER_NAME) as answer:
        assert answer.status == 413


async def test_too_many_pending_bytes_ask_to_come_again(
    webhook: Webhook, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the budget for large bodies the answer is 503 with an integer Retry-After, which the API server obeys."""
    monkeypatch.setattr(server_module, "_MOST_PENDING", 1024 * 1024)
    request = session.post(
        "/mutate", data=io.BytesIO(b" " * 2 * 1024 * 1024), headers=JSON_HEADERS, server_hostname=SERVER_NAME
    )
    async with request as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
    assert (await webhook.send(session))[0] == 200


async def test_body_that_does_not_come_is_given_up(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers whose body never follows are answered in bounded time."""
    monkeypatch.setattr(server_module, "_BODY_SECONDS", 0.01)
    reader, writer = await webhook.open()
    writer.write(
        b"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n\r\n{"
    )
    assert b"408" in await reader.readline()
    writer.close()


async def test_swaps_keep_the_connection(webhook: Webhook) -> None:
    """A new table and a new certificate of a new authority leave an open connection open, and take effect."""
    reader, writer = await webhook.open()
    assert b'"patch"' in await ask(reader, writer)
    webhook.tables.update(a_config_map(a_table(a_route(namespace="elsewhere"))))
    assert b'"patch"' not in await ask(reader, writer)
    now = datetime.now(UTC)
    newer = make_authority(now, timedelta(days=2))
    webhook.material.update(a_serving_secret(newer, now=now, days=1))
    assert b'"allowed":true' in await ask(reader, writer)
    writer.close()
    with pytest.raises(ssl.SSLError):
        await webhook.open()
    async with client_session(webhook.server.port, newer) as fresh:
        assert (await webhook.send(fresh))[0] == 200


async def test_draining_answers_and_closes(webhook: Webhook, session: aiohttp.ClientSession) -> None:
    """While draining, reviews are answered as before, each with `Connection: close`."""
    webhook.server.draining = True
    for path, status in (("/mutate", 200), ("/other", 404)):
        async with session.post(
            path, data=to_bytes(a_review()), headers=JSON_HEADERS, server_hostname=SERVER_NAME
        ) as answer:
            assert answer.status == status
            assert answer.headers["Connection"] == "close"


async def test_stop_finishes_what_is_in_flight(webhook: Webhook) -> None:
    """A review that is on its way when the server stops is answered; new connections are refused."""
    request = a_request(to_bytes(a_review()))
    reader, writer = await webhook.open()
    writer.write(request[:-10])
    await webhook.server.waiting.wait()
    stopping = asyncio.create_task(webhook.server.stop())
    await asyncio.sleep(0)
    writer.write(request[-10:])
    assert b"200" in await reader.readline()
    writer.close()
    await stopping
    with pytest.raises(ConnectionRefusedError):
        await webhook.open()


async def test_leaving_asks_to_come_again(webhook: Webhook) -> None:
    """While the last reviews are finished, a new one on an open connection is told to come again, elsewhere."""
    request = a_request(to_bytes(a_review()))
    late_reader, late_writer = await webhook.open()
    reader, writer = await webhook.open()
    writer.write(request[:-10])
    await webhook.server.waiting.wait()
    stopping = asyncio.create_task(webhook.server.stop())
    await asyncio.sleep(0)
    late_writer.write(request)
    answer = await late_reader.read()
    assert b"503" in answer.splitlines()[0]
    assert b"Retry-After: 1" in answer
    assert b"Connection: close" in answer
    writer.write(request[-10:])
    assert b"200" in await reader.readline()
    for each in (writer, late_writer):
        each.close()
    await stopping


async def test_stop_finishes_a_review_that_waits_for_a_registry(webhook: Webhook) -> None:
    """A review that is waiting when the server stops gets its answer, on a connection that ends with it."""
    begun, known = asyncio.Event(), asyncio.Event()

    async def answer_within(_: float) -> bytes:
        begun.set()
        await known.wait()
        return b"{}"

    webhook.server._answer = lambda _: Undecided(answer_within)
    reader, writer = await webhook.open()
    writer.write(a_request(to_bytes(a_review())))
    await begun.wait()
    stopping = asyncio.create_task(webhook.server.stop())
    await asyncio.sleep(0)
    known.set()
    answer = await reader.read()
    await stopping
    writer.close()
    assert b" 200 " in answer.splitlines()[0]
    assert answer.endswith(b"{}")


async def test_stop_gives_up_a_review_without_end(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time for reviews in flight is over, one that would wait for ever loses its connection."""
    monkeypatch.setattr(server_module, "_ENDING_SECONDS", 0.01)
    webhook.server._settings = replace(webhook.server._settings, shutdown_seconds=0.0)
    begun = asyncio.Event()

    async def answer_within(_: float) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    webhook.server._answer = lambda _: Undecided(answer_within)
    reader, writer = await webhook.open()
    writer.write(a_request(to_bytes(a_review())))
    await begun.wait()
    await webhook.server.stop()
    assert await reader.read() == b""
    writer.close()


async def test_stop_without_start_is_harmless() -> None:
    """A server that never listened can be stopped."""
    await Webhook().server.stop()


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_no_body_is_a_server_error(body: bytes) -> None:
    """Whatever is sent as a body, the answer is 200 or 400: over TLS, from the first byte to the last."""

    async def send() -> int:
        webhook = Webhook()
        await webhook.server.start()
        try:
            async with client_session(webhook.server.port, webhook.authority) as session:
                return (await webhook.send(session, body))[0]
        finally:
            await webhook.server.stop()

    assert asyncio.run(send()) in {200, 400}


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=100))
def test_no_request_is_a_server_error(junk: bytes) -> None:
    """Whatever bytes stand in the place of HTTP, no answer is a server error and nothing is logged."""

    async def send() -> bytes:
        webhook = Webhook()
        await webhook.server.start()
        try:
            reader, writer = await webhook.open()
            writer.write(junk + b"\r\n\r\n\r\n\r\n")
            answer = await asyncio.wait_for(reader.readline(), 5) if junk.strip() else b""
            writer.close()
            return answer
        finally:
            await webhook.server.stop()

    assert b" 500 " not in asyncio.run(send())
