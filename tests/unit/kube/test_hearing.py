"""What is overheard of streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from replicated_proxy.kube import hearing as hearing_module
from replicated_proxy.kube.hearing import Access, Hearing
from replicated_proxy.kube.resources import NAMESPACES, SECRETS, Resource
from simulated_clock import StandingClock

WATCH = {"watch": "true"}


class Server:
    """Answers listings; a watch gets its head at once, and a line when the test says so."""

    def __init__(self) -> None:
        self.line = asyncio.Event()
        self.status = 200

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""
        if "watch" not in request.query:
            return web.json_response({"items": []}, status=self.status)
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        await self.line.wait()
        await response.write(b"{}\n")
        return response


@pytest.fixture
def server() -> Server:
    """Return the server's side."""
    return Server()


@pytest.fixture
def listed() -> list[Resource]:
    """Return the kinds of which a listing was answered."""
    return []


@pytest.fixture
def hearing(clock: StandingClock, listed: list[Resource]) -> Hearing:
    """Listen for two kinds."""
    return Hearing((NAMESPACES, SECRETS), clock, listed.append)


@pytest.fixture
async def session(server: Server, hearing: Hearing) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Open a session, and the address to use it with."""
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with hearing.session(ssl.create_default_context(), {"Authorization": "Bearer t"}) as session:
        yield session, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_listing_is_a_sign_of_its_kind(
    session: tuple[aiohttp.ClientSession, str], hearing: Hearing, clock: StandingClock, listed: list[Resource]
) -> None:
    """A listing's answer is read as ever, told, and makes its kind young, but is no sign of its watch."""
    clock.now += 50
    http, url = session
    async with http.get(url + SECRETS.path()) as answer:
        assert await answer.json() == {"items": []}

    assert (hearing.age(SECRETS), hearing.age(NAMESPACES)) == (0, 50)
    assert not hearing.watched_since(SECRETS, 1000.0)
    assert listed == [SECRETS]


async def test_refusal_is_no_sign(
    session: tuple[aiohttp.ClientSession, str], server: Server, hearing: Hearing, clock: StandingClock
) -> None:
    """An error answers a request and says nothing of the stream."""
    clock.now += 50
    server.status = 503
    http, url = session
    async with http.get(url + SECRETS.path()) as answer:
        await answer.read()

    assert hearing.age(SECRETS) == 50


async def test_bytes_of_a_watch_are_a_sign_and_its_head_is_none(
    session: tuple[aiohttp.ClientSession, str],
    server: Server,
    hearing: Hearing,
    clock: StandingClock,
    listed: list[Resource],
) -> None:
    """A stream that begins and brings nothing is as silent as one that is dead."""
    clock.now += 50
    http, url = session
    async with http.get(url + SECRETS.path(), params=WATCH) as answer:
        assert (answer.status, hearing.age(SECRETS)) == (200, 50)
        server.line.set()
        read = [chunk async for chunk in answer.content.iter_chunked(1024)]

    assert read == [b"{}\n"]
    assert hearing.age(SECRETS) == 0
    assert listed == []
    assert hearing.watched_since(SECRETS, 1049.0)
    assert not hearing.watched_since(SECRETS, 1050.0)


async def test_other_paths_are_nobodys_sign(
    session: tuple[aiohttp.ClientSession, str], hearing: Hearing, clock: StandingClock
) -> None:
    """What kopf asks for beside its kinds counts for none of them."""
    clock.now += 50
    http, url = session
    async with http.get(url + "/api/v1") as answer:
        await answer.read()

    assert {hearing.age(SECRETS), hearing.age(NAMESPACES)} == {50}


async def test_user_who_closes_its_session_has_given_up(hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed session says that its user ends, unless a new one is on its way or open."""
    monkeypatch.setattr(hearing_module, "_LOOK_SECONDS", 0.0)
    access = Access(hearing)
    watching = asyncio.ensure_future(access.given_up())
    first = access.open(ssl.create_default_context(), {})
    access.expect()
    await first.close()
    second = access.open(ssl.create_default_context(), {})
    await let_others_run()
    assert not watching.done()

    await second.close()
    await asyncio.wait_for(watching, timeout=10)


async def let_others_run() -> None:
    """Give the loop many turns."""
    for _ in range(50):
        await asyncio.sleep(0)
