"""A replica tells the controller what registries said, and nobody else: over real TLS, on the webhook's own port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.core.verdict_documents import decode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection import sharing
from replicated_proxy.detection.sharing import PATH, Access, Replicas, SharedVerdicts, sharing_token
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.material import load_context
from replicated_proxy.webhook.server import ReviewServer
from serving import SERVER_NAME, a_serving_secret, client_session

NOW: Final = datetime.now(UTC)
AUTHORITY: Final = make_authority(NOW, timedelta(days=2))
MATERIAL: Final = read_serving(a_serving_secret(AUTHORITY, now=NOW, days=1))
TOKEN: Final = sharing_token(MATERIAL.key)
WORD: Final = RepositoryVerdict("quay.io/a/b", Visibility.PRIVATE, NOW.replace(second=0, microsecond=0), "app")


class Words:
    """What a replica knows."""

    def __init__(self) -> None:
        self.reports = 0
        self.told = [WORD]
        self.made = 0

    def verdicts(self) -> list[RepositoryVerdict]:
        """Tell, and count how often."""
        self.made += 1
        return self.told

    def learn(self, word: RepositoryVerdict) -> None:
        """Know one more."""
        self.told = [*self.told, word]
        self.reports += 1


class Replica:
    """A server with one more path than reviews have."""

    def __init__(self) -> None:
        self.words = Words()
        self.key: bytes | None = MATERIAL.key
        self.shared = SharedVerdicts(self.words, lambda: self.key)
        settings = WebhookSettings(port=0, bind="127.0.0.1")
        self.server = ReviewServer(settings, load_context(MATERIAL), lambda body: body, Metrics(), {PATH: self.shared})

    def access(self, **differs: str) -> Access:
        """Return how the controller gets in."""
        right = {"bundle": MATERIAL.bundle.decode(), "server_name": SERVER_NAME, "token": TOKEN}
        return Access(**(right | differs), port=self.server.port)


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """Return a replica that serves."""
    made = Replica()
    await made.server.start()
    yield made
    await made.server.stop()


async def fetch(replica: Replica, **differs: str) -> str | None:
    """Ask once, as the controller does."""
    replicas = Replicas(replica.access(**differs))
    try:
        return await replicas.fetch("127.0.0.1")
    finally:
        await replicas.close()


async def test_controller_learns_what_a_replica_knows(replica: Replica) -> None:
    """With the token and the right certificate the words come as they were told."""
    assert decode_verdicts(await fetch(replica) or "") == (WORD,)


async def test_same_words_come_once(replica: Replica) -> None:
    """Asked again, an unchanged replica says that nothing changed, and writes no text anew; a changed one tells all."""
    replicas = Replicas(replica.access())
    assert await replicas.fetch("127.0.0.1")
    assert [await replicas.fetch("127.0.0.1") for _ in range(3)] == [None] * 3
    assert replica.words.made == 1

    other = RepositoryVerdict("quay.io/a/c", Visibility.PUBLIC, WORD.checked, "app")
    replica.words.learn(other)
    assert decode_verdicts(await replicas.fetch("127.0.0.1") or "") == (WORD, other)

    replicas.forget(set())
    assert await replicas.fetch("127.0.0.1")
    await replicas.close()


@pytest.mark.parametrize(
    "differs",
    [
        pytest.param({"token": sharing_token(b"another key")}, id="token"),
        pytest.param({"token": ""}, id="no-token"),
        pytest.param({"server_name": "other.operator-system.svc"}, id="server-name"),
        pytest.param({"bundle": make_authority(NOW, timedelta(days=2)).certificate_pem.decode()}, id="authority"),
    ],
)
async def test_nothing_is_told_to_or_taken_from_others(replica: Replica, differs: dict[str, str]) -> None:
    """Another token, or a server that is not the webhook by its certificate: no words."""
    with pytest.raises(OSError, match=r"."):
        await fetch(replica, **differs)


async def test_without_the_token_there_is_nothing_at_this_path(replica: Replica) -> None:
    """Whoever has no token, or sends something else than GET, gets what any other unknown path gets."""
    tokens = ["", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, "Bearer \u00e9"]
    async with client_session(replica.server.port, AUTHORITY) as session:

        async def ask(method: str, path: str, token: str) -> tuple[int, bytes, set[str]]:
            headers = {"Authorization": token} if token else {}
            async with session.request(method, path, headers=headers, server_hostname=SERVER_NAME) as answer:
                return answer.status, await answer.read(), set(answer.headers)

        unknown = await ask("GET", "/elsewhere", "")
        assert unknown[0] == 404
        assert [await ask("GET", PATH, token) for token in tokens] == [unknown] * len(tokens)
        assert await ask("POST", PATH, f"Bearer {TOKEN}") == await ask("POST", "/elsewhere", "")


async def test_without_a_key_nobody_gets_in(replica: Replica) -> None:
    """Before there is a certificate no token is the right one."""
    replica.key = None
    for token in (TOKEN, sharing_token(b""), ""):
        with pytest.raises(OSError, match="404"):
            await fetch(replica, token=token)


def test_token_says_nothing_of_the_key() -> None:
    """It is of fixed length, another one for each key, and holds nothing of it."""
    assert len(TOKEN) == 64
    assert sharing_token(MATERIAL.key + b"\n") != TOKEN
    assert TOKEN not in MATERIAL.key.decode()


class Hostile:
    """A server with the webhook's certificate that says what it should not."""

    def __init__(self) -> None:
        self.answer = web.Response()
        self.asked: list[str] = []
        self.runner = web.ServerRunner(web.Server(self._handle))
        self.port = 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""
        self.asked.append(request.path)
        return self.answer

    async def start(self) -> None:
        """Listen."""
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=load_context(MATERIAL))
        await site.start()
        ((_, self.port),) = self.runner.addresses


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: web.Response(body=b"x" * 2000), id="too-large"),
        pytest.param(lambda: web.Response(body=b"\xff\xfe"), id="no-text"),
        pytest.param(lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), id="redirect"),
        pytest.param(lambda: web.Response(status=304), id="unchanged-without-having-told"),
        pytest.param(lambda: web.Response(status=500), id="error"),
        pytest.param(
            lambda: web.Response(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b" + b"\xff" * 20), id="gzip"
        ),
    ],
)
async def test_strange_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Whatever a replica sends, it is bounded text or an error, and leads nowhere else."""
    monkeypatch.setattr(sharing, "LARGEST_ANSWER", 1000)
    hostile = Hostile()
    hostile.answer = answer()  # type: ignore[operator]
    await hostile.start()
    replicas = Replicas(Access(MATERIAL.bundle.decode(), SERVER_NAME, TOKEN, hostile.port))
    with pytest.raises(OSError, match=r"."):
        await replicas.fetch("127.0.0.1")
    assert hostile.asked == [PATH]
    await replicas.close()
    await hostile.runner.cleanup()


async def test_replica_that_is_gone_is_an_error() -> None:
    """Where nobody listens there is no answer, and no other error than that of the network."""
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    replicas = Replicas(Access(MATERIAL.bundle.decode(), SERVER_NAME, TOKEN, port))
    with pytest.raises(OSError, match=aiohttp.ClientConnectorError.__name__):
        await replicas.fetch("127.0.0.1")
    await replicas.close()
