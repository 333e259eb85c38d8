"""Who counts as the API server where it shows a certificate, and what becomes of the file that vouches for it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

import aiohttp
import pytest

from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.clock import SystemClock
from replicated_proxy.detection.trust import InvalidCaFile
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.callers import CallerAuthorities, names_of
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.server import ReviewServer
from rig.authority import Authority, KeyPair
from serving import SERVER_NAME, a_review, a_serving_secret, client_context, to_bytes

CALLER: Final = "api-server"
_DAY: Final = timedelta(days=1)


class Door:
    """A server that takes reviews from one caller, with the file that vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.callers = Authority.create(folder / "callers")
        self.file = folder / "ca.crt"
        self.vouch_for(self.callers)
        self.metrics = Metrics()
        self._own = make_authority(SystemClock().now(), _DAY)
        self.holder = MaterialHolder(SERVER_NAME, SystemClock().now, self.metrics, CallerAuthorities(str(self.file)))
        self.holder.update(a_serving_secret(self._own, now=SystemClock().now(), days=1))
        settings = WebhookSettings(
            port=0, bind="127.0.0.1", client_ca_file=str(self.file), client_names=(CALLER,), shutdown_seconds=1.0
        )
        self.server = ReviewServer(settings, self.holder.context, lambda body: body, self.metrics)

    def vouch_for(self, *authorities: Authority) -> None:
        """Swap the file as the kubelet does."""
        written = self.file.with_suffix(".new")
        written.write_bytes(b"".join(each.pair.certificate.read_bytes() for each in authorities))
        written.replace(self.file)

    async def ask(self, pair: KeyPair | None) -> int:
        """Send a review on a connection of its own, and return the status; 0 where the handshake fails."""
        context = client_context(self._own)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                async with session.post(
                    f"https://127.0.0.1:{self.server.port}/mutate",
                    data=to_bytes(a_review()),
                    headers={"Content-Type": "application/json"},
                    server_hostname=SERVER_NAME,
                ) as answer:
                    return answer.status
            except (aiohttp.ClientError, ConnectionError, ssl.SSLError):
                return 0

    def context_of(self, pair: KeyPair, version: ssl.TLSVersion) -> ssl.SSLContext:
        """Return a client's context with a certificate and one version of TLS."""
        context = client_context(self._own)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def resume(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[int, ssl.SSLSession | None]:
        """Send a review in a session of before, and return the status, 0 for none, with the session of now."""
        body = to_bytes(a_review())
        head = f"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        try:
            with (
                socket.create_connection(("127.0.0.1", self.server.port)) as plain,
                context.wrap_socket(plain, server_hostname=SERVER_NAME, session=session) as connection,
            ):
                connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
                answer = b"".join(iter(lambda: connection.recv(1000), b""))
                return int(answer.split(b" ", 2)[1]) if answer else 0, connection.session
        except (ssl.SSLError, ConnectionError):
            return 0, None


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A server that runs."""
    made = Door(tmp_path)
    await made.server.start()
    yield made
    await made.server.stop()


async def test_only_the_named_caller_is_answered(door: Door, tmp_path: Path) -> None:
    """Its certificate opens the door; none, another name and another authority do not."""
    strange = Authority.create(tmp_path / "strangers")

    assert await door.ask(door.callers.client(CALLER)) == 200
    assert await door.ask(None) == 403
    assert await door.ask(door.callers.client("kubelet")) == 403
    assert await door.ask(strange.client(CALLER)) == 0
    assert await door.ask(door.callers.server("server", [CALLER])) == 0
    refused = {"reason": "caller"}
    assert door.metrics.registry.get_sample_value("replicated_proxy_requests_refused_total", refused) == 2


async def test_changed_file_counts_from_the_next_handshake(door: Door, tmp_path: Path) -> None:
    """A new authority is let in, the old one not any more; a file that cannot be used changes nothing."""
    successor = Authority.create(tmp_path / "successor")
    door.vouch_for(successor)
    assert await door.ask(successor.client(CALLER)) == 200
    assert await door.ask(door.callers.client(CALLER)) == 0

    door.file.write_text("no certificate")
    assert await door.ask(successor.client(CALLER)) == 200
    door.file.unlink()
    assert await door.ask(successor.client(CALLER)) == 200
    assert await door.ask(None) == 403


@pytest.mark.parametrize("broken", [(Path, "read_bytes"), (tempfile, "TemporaryDirectory")], ids=["file", "folder"])
async def test_authority_that_was_taken_out_goes_once_the_file_can_be_read(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, str]
) -> None:
    """What could not be read, or put to use, for a moment is tried again, though nothing changes any more."""

    def fails(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    successor = Authority.create(tmp_path / "successor")
    door.vouch_for(successor)
    with monkeypatch.context() as failing:
        failing.setattr(*broken, fails)
        assert await door.ask(door.callers.client(CALLER)) == 200
        door.holder.look_again()
    assert await door.ask(door.callers.client(CALLER)) == 200

    door.holder.look_again()

    assert await door.ask(door.callers.client(CALLER)) == 0
    assert await door.ask(successor.client(CALLER)) == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_session_of_before_does_not_outlive_its_authority(
    door: Door, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """OpenSSL would take a session that is resumed by the certificate that it began with, unchecked."""
    context = door.context_of(door.callers.client(CALLER), version)
    status, session = await asyncio.to_thread(door.resume, context, None)
    assert status == 200

    door.vouch_for(Authority.create(tmp_path / "successor"))

    status, _ = await asyncio.to_thread(door.resume, context, session)
    assert status in {0, 403}


async def test_client_that_would_resume_is_given_nothing_to_resume(door: Door) -> None:
    """It is not refused for it: it gets no ticket, and each of its connections begins anew."""
    context = door.context_of(door.callers.client(CALLER), ssl.TLSVersion.TLSv1_3)
    _, session = await asyncio.to_thread(door.resume, context, None)

    status, _ = await asyncio.to_thread(door.resume, context, session)
    assert status == 200


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("nothing", "it holds no certificates")])
def test_unusable_file_keeps_from_starting(tmp_path: Path, content: str | None, reason: str) -> None:
    """Nobody relies on a check that is not there: the error names setting, path and remedy."""
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidCaFile) as refused:
        CallerAuthorities(str(path))

    assert str(refused.value).startswith(f"webhook.clientCaFile: {path} cannot be used ({reason}")
    assert "mount a PEM file" in str(refused.value)


def test_names_are_the_common_name_and_dns_names() -> None:
    """Other parts of the subject and other kinds of names do not count."""
    shown = {
        "subject": ((("organizationName", "system:masters"),), (("commonName", "a"),)),
        "subjectAltName": (("DNS", "b.example"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://c")),
    }

    assert names_of(shown) == {"a", "b.example"}
    assert names_of({}) == set()
