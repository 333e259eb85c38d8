"""The client against a server that says what the test wants it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from builders import Json
from replicated_proxy.kube import client as client_module
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError, Gone, NoCluster, Unreachable
from replicated_proxy.kube.gating import NotLeading, WriteGate
from replicated_proxy.kube.resources import SECRETS
from replicated_proxy.kube.server_time import ServerTime
from simulated_clock import SimulatedClock

BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}\n'


class Server:
    """An API server that answers with what it was given, one answer for each request, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[str] = []
        self.bodies: list[str] = []

    def say(self, *bodies: bytes | str, status: int = 200, **headers: str) -> None:
        """Add answers."""
        for body in bodies:
            content = body.encode() if isinstance(body, str) else body
            self.answers.append(web.Response(body=content, status=status, headers=headers))

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request."""
        self.asked.append(f"{request.method} {request.path_qs}")
        self.bodies.append(await request.text())
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(body=given.body, status=given.status, headers=given.headers)


@pytest.fixture
def server() -> Server:
    """Return the server's words."""
    return Server()


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """Return a client that is connected to the server."""
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    connected = await KubeClient.connect(a_kubeconfig(tmp_path, f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield connected
    await connected.close()
    await runner.cleanup()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the attempts that were paused after, without waiting for them."""
    made: list[int] = []

    async def pause(attempt: int, error: ApiError | None = None) -> None:
        del error
        made.append(attempt)

    monkeypatch.setattr(client_module, "retry_pause", pause)
    return made


def a_kubeconfig(folder: Path, server: str) -> Path:
    """Write a kubeconfig."""
    config: Json = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


async def watch(client: KubeClient) -> list[tuple[str, Json]]:
    """Watch until the server ends it."""
    return [event async for event in client.watch(SECRETS, "1")]


async def test_watch_yields_events(client: KubeClient, server: Server) -> None:
    """Each line is an event, until the server ends the watch."""
    server.say(BOOKMARK + BOOKMARK)

    assert [kind for kind, _ in await watch(client)] == ["BOOKMARK", "BOOKMARK"]


async def test_large_object_is_watched(client: KubeClient, server: Server) -> None:
    """An event may be as large as the objects that the API server takes, and come in many pieces."""
    body = {"metadata": {"name": "large", "resourceVersion": "2"}, "data": {"table": "x" * 3_000_000}}
    server.say(json.dumps({"type": "MODIFIED", "object": body}).encode() + b"\n" + BOOKMARK)

    assert await watch(client) == [("MODIFIED", body), ("BOOKMARK", json.loads(BOOKMARK)["object"])]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(BOOKMARK[:30], id="cut-off"),
        pytest.param(b"<html>\n", id="no-json"),
        pytest.param(b"[]\n", id="no-object"),
        pytest.param(b"{}\n", id="empty"),
        pytest.param(b'{"type":"ADDED","object":null}\n', id="nothing"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{}}}\n', id="no-version"),
        pytest.param(b'{"type":"ERROR"}\n', id="error-without-status"),
        pytest.param(b'{"type":"ERROR","object":{"code":"x"}}\n', id="error-with-odd-status"),
        pytest.param(b'{"type":"\xff"}\n', id="no-utf8"),
        pytest.param(b"[" * 10_000 + b"\n", id="deep"),
        pytest.param(b"x" * 6_000_000 + b"\n", id="over-long"),
    ],
)
async def test_damaged_watch_is_an_api_error(client: KubeClient, server: Server, line: bytes) -> None:
    """A line that is no event ends the watch with an error that everybody expects."""
    server.say(BOOKMARK + line)

    with pytest.raises(ApiError):
        await watch(client)


async def test_old_version_in_a_watch_is_gone(client: KubeClient, server: Server) -> None:
    """The ERROR event's own code tells which error it is."""
    server.say('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n')

    with pytest.raises(Gone, match="too old"):
        await watch(client)


@pytest.mark.parametrize(
    "body", ["", "<html>ok</html>", "[]", "null", '{"items":"text"}', '{"items":[null]}', "{}", '{"kind":"Status"}']
)
async def test_what_is_no_list_proves_nothing(client: KubeClient, server: Server, body: str) -> None:
    """An answer that is no list (a proxy's page, one cut off) is an error and never an empty listing."""
    server.say(body)

    with pytest.raises(Unreachable):
        await client.list_all(SECRETS)


async def test_list_without_items_is_empty(client: KubeClient, server: Server) -> None:
    """`null` is how Go writes an empty list."""
    server.say('{"items":null,"metadata":{"resourceVersion":"5"}}')

    listing = await client.list_all(SECRETS)

    assert (listing.items, listing.resource_version) == ((), "5")


async def test_pages_make_one_listing(client: KubeClient, server: Server) -> None:
    """Pages are followed to the last."""
    server.say('{"items":[{"a":1}],"metadata":{"continue":"more"}}', '{"items":[{"a":2}],"metadata":{}}')

    assert (await client.list_all(SECRETS)).items == ({"a": 1}, {"a": 2})
    assert "continue=more" in server.asked[1]


async def test_expired_page_starts_anew_after_a_pause(client: KubeClient, server: Server, pauses: list[int]) -> None:
    """A page token that has expired costs a pause and a new listing."""
    server.say('{"items":[{"a":1}],"metadata":{"continue":"more"}}')
    server.say("{}", status=410)
    server.say('{"items":[{"a":2}],"metadata":{}}')

    assert (await client.list_all(SECRETS)).items == ({"a": 2},)
    assert pauses == [0]


async def test_pages_that_always_expire_are_given_up(client: KubeClient, server: Server, pauses: list[int]) -> None:
    """Where no listing comes to its end, the caller learns of it instead of the server being asked for ever."""
    server.say("{}", status=410)

    with pytest.raises(Gone):
        await client.list_all(SECRETS)
    assert pauses == [0, 1, 2]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_reaches_the_pause(
    client: KubeClient, server: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that asks to be left alone for some seconds is."""
    server.say("busy", status=status, **{"Retry-After": "12"})
    with pytest.raises(ApiError) as caught:
        await client.get(SECRETS, "name", "namespace")

    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await retry_pause(0, caught.value)
    await retry_pause(0)
    assert slept == [12.0, 0.2]


@pytest.mark.parametrize("status", [200, 500])
async def test_lost_connection_is_unreachable(server: Server, tmp_path: Path, status: int) -> None:
    """A connection that ends in the middle of an answer is an error that everybody expects."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f'HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\n{{"items":'.encode())
        writer.close()

    del server
    listener = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = await KubeClient.connect(a_kubeconfig(tmp_path, f"http://127.0.0.1:{port}"))
    with pytest.raises(Unreachable):
        await client.list_all(SECRETS)
    await client.close()
    listener.close()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param("text", id="text"),
        pytest.param("token: [planted-token", id="no-yaml"),
        pytest.param("current-context: absent\ncontexts: []\nclusters: []\nusers: []", id="no-context"),
        pytest.param(
            "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: /absent}}]\n"
            "users: [{name: u, user: {}}]",
            id="no-ca-file",
        ),
    ],
)
async def test_bad_kubeconfig_says_what_to_do(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with a kubeconfig, the error names the file, and quotes none of it."""
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(NoCluster, match=f"kubeconfig {path} cannot be used") as caught:
        await KubeClient.connect(path)
    assert "planted-token" not in str(caught.value)


async def test_outside_a_pod_the_remedy_is_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service account the error says what to give instead."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(NoCluster, match="--kubeconfig"):
        await KubeClient.connect()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("Tue, 01 Sep 2026 10:00:00 GMT", datetime(2026, 9, 1, 10, tzinfo=UTC), id="a-date"),
        pytest.param("yesterday", None, id="no-date"),
        pytest.param("Tue, 99 Sep 2026 99:00:00 GMT", None, id="no-such-day"),
        pytest.param("", None, id="empty"),
    ],
)
async def test_server_time_is_the_date_of_its_answers(
    client: KubeClient, server: Server, header: str, expected: datetime | None
) -> None:
    """The newest answer's Date tells the server's time, of an error too; a header that makes no sense tells nothing."""
    server.say("{}", status=500, Date=header)

    assert client.server_time() is None
    with pytest.raises(ApiError):
        await client.get(SECRETS, "name", "namespace")
    found = client.server_time()

    assert (found.replace(microsecond=0) if found else None) == expected


def test_server_time_goes_on_between_answers() -> None:
    """What has passed since the answer is added on the monotonic clock; a header that is none changes nothing."""
    clock = SimulatedClock()
    time = ServerTime(clock)
    time.note("Tue, 01 Sep 2026 10:00:00 GMT")
    clock.jump(90.0)
    time.note(None)

    assert time.read() == datetime(2026, 9, 1, 10, 1, 30, tzinfo=UTC)


def test_answers_of_one_second_tell_one_time() -> None:
    """Each answer is believed as it comes, also one whose header is that of the answer before."""
    clock = SimulatedClock()
    time = ServerTime(clock)
    for _ in range(2):
        time.note("Tue, 01 Sep 2026 10:00:00 GMT")
        clock.jump(0.5)

    assert time.read() == datetime(2026, 9, 1, 10, 0, 0, 500_000, tzinfo=UTC)


async def test_caller_stands_in_the_user_agent(tmp_path: Path) -> None:
    """Replicas share a service account; the API server's audit log tells them apart by the User-Agent."""
    heard: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        heard.append(request.headers["User-Agent"])
        return web.Response(body=b"{}")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = a_kubeconfig(tmp_path, f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = await KubeClient.connect(config, caller="pod-1")
    await client.get(SECRETS, "name", "namespace")
    await client.close()
    await runner.cleanup()

    assert heard == ["replicated-proxy-operator (pod-1)"]


async def test_request_says_who_asks_for_what(tmp_path: Path) -> None:
    """Each request carries the token, the type of what it sends, and its query in the form that URLs have."""
    heard: list[tuple[str, ...]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        names = ("Authorization", "Accept", "Content-Type")
        heard.append((*(request.headers[name] for name in names), *request.query.values()))
        return web.Response(body=b'{"items":[],"metadata":{}}')

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = await KubeClient.connect(a_kubeconfig(tmp_path, f"http://127.0.0.1:{runner.addresses[0][1]}"))
    await client.list_all(SECRETS, "ns", "metadata.name=a/b&c+d e")
    await client.merge(SECRETS.path("name", "ns"), {})
    await client.close()
    await runner.cleanup()

    assert heard == [
        ("Bearer t", "application/json", "application/json", "500", "metadata.name=a/b&c+d e"),
        ("Bearer t", "application/json", "application/merge-patch+json", "replicated-proxy-operator"),
    ]


async def test_deletion_is_of_what_was_seen(client: KubeClient, server: Server) -> None:
    """The API server is told which object is meant, and in which state where that matters."""
    server.say("{}")

    await client.delete(SECRETS, "name", "ns", "uid")
    await client.delete(SECRETS, "name", "ns", "uid", "7")

    assert [json.loads(body)["preconditions"] for body in server.bodies] == [
        {"uid": "uid"},
        {"uid": "uid", "resourceVersion": "7"},
    ]


async def test_every_write_of_a_gated_client_passes_the_gate(client: KubeClient, server: Server) -> None:
    """Behind a shut gate nothing that changes anything is sent; reading goes on, and the client itself is as before."""
    server.say('{"metadata":{}}')
    body: Json = {"metadata": {"name": "name", "namespace": "ns", "resourceVersion": "1"}}
    gated = client.behind(WriteGate(SimulatedClock()))
    writes: list[Callable[[KubeClient], Awaitable[object]]] = [
        lambda each: each.create(SECRETS, body, "ns"),
        lambda each: each.replace(SECRETS, body),
        lambda each: each.merge(SECRETS.path("name", "ns"), body),
        lambda each: each.patch(SECRETS.path("name", "ns"), []),
        lambda each: each.delete(SECRETS, "name", "ns", "uid"),
    ]

    for write in writes:
        with pytest.raises(NotLeading):
            await write(gated)
    await gated.get(SECRETS, "name", "ns")
    assert len(server.asked) == 1

    for write in writes:
        await write(client)
    assert len(server.asked) == 1 + len(writes)
