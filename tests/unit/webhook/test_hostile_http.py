"""The corpus over HTTPS, at a real server on loopback: statuses, errors that tell nothing, and who else is served."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from corpus.reviews.judging import judge
from corpus.reviews.making import ORDINARY, containers
from corpus.reviews.reading import Case, read_cases
from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.overload import DelayGate
from replicated_proxy.webhook.server import ReviewServer
from replicated_proxy.webhook.tables import TableHolder
from serving import SERVER_NAME, Known, a_config_map, a_serving_secret, client_session

STATUS = {"malformed": 400, "too-large": 413}
HANGS_AFTER = 120.0


class Webhook:
    """A running server and one client with one connection."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.authority = make_authority(now, timedelta(days=2))
        self.metrics = Metrics()
        tables = TableHolder()
        tables.update(a_config_map())
        material = MaterialHolder(SERVER_NAME, lambda: datetime.now(UTC), self.metrics)
        material.update(a_serving_secret(self.authority, now=now, days=1))
        handler = ReviewHandler(tables, RewritePolicy(), Known(), self.metrics)
        settings = WebhookSettings(port=0, bind="127.0.0.1", shutdown_seconds=5)
        self.server = ReviewServer(settings, material.context, handler.answer, self.metrics)


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """Return a running webhook."""
    webhook = Webhook()
    await webhook.server.start()
    yield webhook
    await webhook.server.stop()


@pytest.fixture
async def session(webhook: Webhook) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client of the webhook."""
    async with client_session(webhook.server.port, webhook.authority) as session:
        yield session


async def send(session: aiohttp.ClientSession, body: bytes, **differs: Any) -> tuple[int, bytes]:
    """Send a body as the API server does; a hang ends the test."""
    arguments = {"url": "/mutate?timeout=5s", "headers": {"Content-Type": "application/json"}} | differs
    async with (
        asyncio.timeout(HANGS_AFTER),
        session.post(data=io.BytesIO(body), server_hostname=SERVER_NAME, **arguments) as answer,
    ):
        assert answer.content_type == "application/json"
        return answer.status, await answer.read()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in read_cases()])
async def test_status_is_what_the_corpus_says(
    case: Case, webhook: Webhook, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A 4xx with a short error in words of our own, or an answer; the next review on the connection is as always."""
    del webhook
    first = await send(session, ORDINARY.encode())
    body = case.body()
    with caplog.at_level(logging.DEBUG, "replicated_proxy"):
        status, answer = await send(session, body)

    assert status == STATUS.get(case.outcome, 200)
    if status == 200:
        judge(body, answer)
    else:
        assert set(json.loads(answer)) == {"error"}
        assert len(answer) < 100
    assert [record for record in caplog.records if record.name.startswith("replicated_proxy")] == []
    assert await send(session, ORDINARY.encode()) == first


KINDS = [
    *("", "text/plain", "application/yaml", "application/jsonx", "application", "json", "multipart/form-data"),
    *("application/x-www-form-urlencoded", "application/vnd.kubernetes.protobuf", "text/json; charset=utf-8"),
    *("application/json-patch+json", "*/*", "application/json, text/plain", "\xe4pplication/json", "a" * 4000),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_other_content_types_are_refused(kind: str, session: aiohttp.ClientSession) -> None:
    """Nothing but JSON is read, and the error does not repeat what was sent instead."""
    status, answer = await send(session, ORDINARY.encode(), headers={"Content-Type": kind})

    assert (status, json.loads(answer)) == (415, {"error": "send reviews as application/json"})


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-16", "Application/JSON", "application/json;;x=\x00"[:-1]]
)
async def test_parameters_of_the_content_type_change_nothing(kind: str, session: aiohttp.ClientSession) -> None:
    """JSON is UTF-8, whatever a parameter says."""
    status, answer = await send(session, ORDINARY.encode(), headers={"Content-Type": kind})

    assert status == 200
    assert judge(ORDINARY.encode(), answer)


@pytest.mark.parametrize(("images", "kept"), [(1, True), (100, True), (2000, False)])
async def test_connection_ends_with_a_large_answer(images: int, kept: bool, session: aiohttp.ClientSession) -> None:
    """What TLS keeps of a large answer lives as long as its connection, so the connection ends; others stay open."""
    await send(session, ORDINARY.encode())
    body, headers = containers(images, "nginx"), {"Content-Type": "application/json"}
    async with session.post("/mutate", data=body, headers=headers, server_hostname=SERVER_NAME) as answer:
        assert judge(body, await answer.read())

    assert (answer.headers.get("Connection") != "close") == kept


async def test_others_are_served_while_huge_reviews_come(
    webhook: Webhook, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordinary reviews between large ones on other connections get the answers they always get."""
    monkeypatch.setattr(DelayGate, "refuses", lambda *_: False)  # However busy the machine is.
    expected = await send(session, ORDINARY.encode())
    bodies = [
        case.body() for case in read_cases() if case.name in {"labels-390000", "containers-10000", "open-brackets"}
    ]
    async with client_session(webhook.server.port, webhook.authority) as one:
        large = asyncio.gather(*(send(one, body) for body in bodies * 2))
        answers = [await send(session, ORDINARY.encode())]
        while not large.done():
            answers.append(await send(session, ORDINARY.encode()))
        statuses = sorted(status for status, _ in await large)

    assert statuses == [200, 200, 200, 200, 400, 400]
    assert all(answer == expected for answer in answers)


async def test_every_outcome_is_counted(webhook: Webhook, session: aiohttp.ClientSession) -> None:
    """After one body of each outcome each has been counted once; what was never read is counted apart."""
    seen: dict[str, Case] = {}
    for case in read_cases():
        seen.setdefault(case.outcome, case)
    for case in seen.values():
        await send(session, case.body())

    read = webhook.metrics.registry.get_sample_value
    assert read("replicated_proxy_requests_refused_total", {"reason": "too-large"}) == 1
    for outcome in seen.keys() - {"too-large"}:
        assert read("replicated_proxy_reviews_total", {"outcome": outcome, "dry_run": "false"}) == 1
