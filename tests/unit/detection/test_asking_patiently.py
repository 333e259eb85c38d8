"""Registries that hang, never end, talk nonsense or show the wrong certificate: bounded in time and in size."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
import uvloop

from probing import IMPATIENCE, PUBLIC, Surroundings, failed
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from rig import authority
from rig.authority import Authority, KeyPair
from rig.scripted_server import Behaviour, Heard, ScriptedServer, answer, by_path, endlessly, hang, say

_IMAGE = "quay.test/my-org/api:v1"
_CHALLENGE = answer(401, 'WWW-Authenticate: Bearer realm="https://quay.test/token"')
_OK = "HTTP/1.1 200 OK\r\n"
_MEBIBYTE = 1 << 20


def token_of(size: int) -> bytes:
    """Return a token server's answer of so many bytes."""
    whole = b'{"token": "abc", "filling": "%s"}'
    return whole % (b"x" * (size - len(whole) + 2))


def after_challenge(token: Behaviour) -> Behaviour:
    """Ask for a token, which is public then."""
    granted = answer(200)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await (granted if "authorization" in heard.headers else _CHALLENGE)(heard, writer)

    return by_path({"/token": token}, behave)


def without_head(got: Behaviour) -> Behaviour:
    """Answer GET, and say to HEAD that there is no such method."""
    refused = answer(405)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await (refused if heard.method == "HEAD" else got)(heard, writer)

    return behave


def then_end(text: str) -> Behaviour:
    """Say this and nothing more."""
    begin = say(text)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await begin(heard, writer)
        writer.close()

    return behave


def then_hang(text: str) -> Behaviour:
    """Begin to answer, and stop in the middle."""
    begin = say(text)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await begin(heard, writer)
        await hang(heard, writer)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(hang, id="says nothing"),
        pytest.param(then_hang(f"{_OK}Content-Le"), id="stops in the head"),
        pytest.param(then_hang("HTTP/1.1 100 Continue\r\n\r\n"), id="stops after an interim answer"),
        pytest.param(after_challenge(hang), id="gives no token"),
        pytest.param(after_challenge(then_hang(f'{_OK}Content-Length: 99\r\n\r\n{{"tok')), id="stops in the token"),
        pytest.param(
            after_challenge(then_hang(f"{_OK}Transfer-Encoding: chunked\r\n\r\n5\r\n")), id="stops in a chunk"
        ),
        pytest.param(after_challenge(then_hang(f'{_OK}\r\n{{"token": "abc"}}')), id="does not end the token"),
    ],
)
async def test_hanging_registry_is_given_up(surroundings: Surroundings, behave: Behaviour) -> None:
    """Wherever it stops, the whole probe has its time and no more."""
    async with surroundings.serve("quay.test", 1, behave) as registry:
        result = await surroundings.probe(_IMAGE, probe_seconds=IMPATIENCE)

    assert (result, registry.connections) == (failed("timeout"), 1)


async def test_handshake_that_hangs_is_given_up(surroundings: Surroundings) -> None:
    """Accepting a connection is no answer either."""
    surroundings.names["quay.test"] = [surroundings.loopback.address(1)]
    async with ScriptedServer(surroundings.loopback.address(1), surroundings.loopback.port, None, hang) as silent:
        assert await surroundings.probe(_IMAGE, probe_seconds=IMPATIENCE) == failed("timeout")

    assert silent.connections == 1


async def test_hanging_registry_holds_nobody_else_up(surroundings: Surroundings) -> None:
    """A hundred probes that hang leave the next one as quick as it was."""
    async with (
        surroundings.serve("hanging.test", 1, hang) as hanging,
        surroundings.serve("quay.test", 2, answer(200)),
        surroundings.prober() as prober,
    ):
        waiting = [asyncio.create_task(prober.probe(parse_image(f"hanging.test/a{number}"))) for number in range(100)]
        assert await prober.probe(parse_image(_IMAGE)) == PUBLIC
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert hanging.connections <= 100


_HUGE = {
    "one header line without end": (endlessly(f"{_OK}X-Header: ", b"x" * 65_536), "answer"),
    "header lines without end": (endlessly(_OK, b"X-Header: x\r\n" * 5_000), "answer"),
    "a status line without end": (endlessly("HTTP/1.1 200 ", b"x" * 65_536), "answer"),
    "interim answers without end": (endlessly("", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000), "answer"),
    "early hints without end": (endlessly("", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1_000), "answer"),
    "zeros without end": (endlessly("", bytes(65_536)), "answer"),
    "a token without end": (
        after_challenge(endlessly(f'{_OK}\r\n{{"token": "', b"x" * 65_536)),
        "answer",
    ),
    "a token without end, in chunks": (
        after_challenge(endlessly(f"{_OK}Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4_096 + b"\r\n")),
        "answer",
    ),
    "a chunk's extension without end": (
        after_challenge(endlessly(f"{_OK}Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536)),
        "answer",
    ),
    "trailers without end": (
        after_challenge(endlessly(f"{_OK}Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: x\r\n" * 5_000)),
        "answer",
    ),
    "a token longer than allowed": (after_challenge(answer(200, body=token_of(_MEBIBYTE + 1))), "answer"),
    "a bomb": (
        after_challenge(answer(200, "Content-Encoding: gzip", body=gzip.compress(token_of(64 * _MEBIBYTE)))),
        "answer",
    ),
    "a manifest without end, for want of HEAD": (
        without_head(endlessly("HTTP/1.1 500 Oops\r\n\r\n", b"x" * 65_536)),
        "answer",
    ),
}


@pytest.mark.parametrize(("behave", "cause"), _HUGE.values(), ids=_HUGE)
async def test_answer_without_end_is_cut_off(surroundings: Surroundings, behave: Behaviour, cause: str) -> None:
    """By size, long before the time is over."""
    async with surroundings.serve("quay.test", 1, behave):
        assert await surroundings.probe(_IMAGE) == failed(cause)


@pytest.mark.parametrize(("behave", "cause"), _HUGE.values(), ids=_HUGE)
def test_answer_without_end_is_cut_off_on_the_products_event_loop(
    surroundings: Surroundings, behave: Behaviour, cause: str
) -> None:
    """Uvloop has a TLS of its own, with buffers of its own."""

    async def probe() -> ProbeResult:
        async with surroundings.serve("quay.test", 1, behave):
            return await surroundings.probe(_IMAGE)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(probe()) == failed(cause)


async def test_token_may_be_as_long_as_allowed(surroundings: Surroundings) -> None:
    """A mebibyte is read."""
    body = token_of(_MEBIBYTE)
    assert len(body) == _MEBIBYTE
    async with surroundings.serve("quay.test", 1, after_challenge(answer(200, body=body))):
        assert await surroundings.probe(_IMAGE) == PUBLIC


async def test_manifest_is_not_read_where_it_has_to_be_got(surroundings: Surroundings) -> None:
    """Without HEAD the status is all that is wanted."""
    manifest = endlessly(f"{_OK}Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n", b"x" * 65_536)
    async with surroundings.serve("quay.test", 1, without_head(manifest)):
        assert await surroundings.probe(_IMAGE) == PUBLIC


@pytest.mark.parametrize(
    "text",
    [
        "\r\n\r\n",
        "\x16\x03\x01\x00\x00",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 -1 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        f"{_OK}: no name\r\n\r\n",
        f"{_OK}X-\x00: null\r\n\r\n",
        f"{_OK}X: a\x00b\r\n\r\n",
        f"{_OK} folded\r\n\r\n",
        f"{_OK}Content-Length: -1\r\n\r\n",
        f"{_OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 401 X\r\nWWW-Authenticate: \xff\xfe\r\n\r\n",
        'HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm="https://\xff\xfe/"\r\n\r\n',
        'HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm="https://a b/"\r\n\r\n',
        "HTTP/1.1 307 X\r\nLocation: https://\xff\xfe/\r\n\r\n",
        "HTTP/1.1 307 X\r\nLocation: https://" + "a" * 70 + ".test/\r\n\r\n",
        "HTTP/1.1 307 X\r\nLocation: https://xn--\x7f/\r\n\r\n",
        "HTTP/1.1 429 X\r\nRetry-After: Sun, 99 Foo 99999 99:99:99 GMT\r\nDate: x\r\n\r\n",
    ],
)
async def test_nonsense_gives_a_result_and_no_error(
    surroundings: Surroundings, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Whatever comes back, a probe ends in one of the outcomes, in time, and says nothing about it in the log."""
    async with surroundings.serve("quay.test", 1, then_end(text)):
        result = await surroundings.probe(_IMAGE, probe_seconds=IMPATIENCE)

    assert result.outcome not in {ProbeOutcome.PRIVATE, ProbeOutcome.INTERNAL}
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("kind", ["wrong name", "unknown authority", "expired", "no TLS"])
def test_certificate_has_to_be_right(
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    loop: Callable[[], asyncio.AbstractEventLoop],
    kind: str,
) -> None:
    """A registry that shows another's certificate, or none, is not believed and gets no request."""
    pairs: dict[str, Callable[[], KeyPair | None]] = {
        "wrong name": lambda: surroundings.certificate("other.test"),
        "unknown authority": lambda: Authority.create(surroundings.folder / "stranger").server("q", ["quay.test"]),
        "expired": lambda: surroundings.certificate("quay.test"),
        "no TLS": lambda: None,
    }
    if kind == "expired":
        monkeypatch.setattr(authority, "_LIFETIME", timedelta(minutes=-1))
    surroundings.names["quay.test"] = [surroundings.loopback.address(1)]
    server = ScriptedServer(
        surroundings.loopback.address(1),
        surroundings.loopback.port,
        pairs[kind](),
        answer(200),
        greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n" if kind == "no TLS" else b"",
    )

    async def probe() -> ProbeResult:
        async with server:
            return await surroundings.probe(_IMAGE)

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(probe()) == failed("connection" if kind == "no TLS" else "certificate")
    assert server.heard == []
