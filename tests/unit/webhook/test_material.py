"""Which certificate is served."""

from __future__ import annotations

import logging
import ssl
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builders import Json
from replicated_proxy.certificates.documents import read_serving, serving_data
from replicated_proxy.certificates.issuing import Leaf, make_authority, make_leaf
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.callers import CallerAuthorities
from replicated_proxy.webhook.material import MaterialHolder, load_context
from serving import NAMES, NOW, SERVER_NAME, a_secret, a_serving_secret, client_context


class Clock:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that the test can move."""
    return Clock()


@pytest.fixture
def holder(clock: Clock) -> MaterialHolder:
    """Return a holder without a certificate."""
    return MaterialHolder(SERVER_NAME, clock, Metrics())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> bytes:
    """Return the certificate that a client is shown, without any network."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    mine = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (mine, theirs, mine, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return mine.getpeercert(binary_form=True) or b""


def anybody() -> ssl.SSLContext:
    """Return the context of a client that looks at nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(holder: MaterialHolder, name: str | None = SERVER_NAME) -> str:
    """Return what a holder shows as PEM."""
    return ssl.DER_cert_to_PEM_cert(shake_hands(holder.context, anybody(), name))


def chain_of(secret: Json) -> str:
    """Return the chain in a Secret."""
    return read_serving(secret).chain.decode()


def test_nothing_read_is_a_problem(holder: MaterialHolder) -> None:
    """Before the first certificate the replica is not ready, and a handshake fails cleanly."""
    assert holder.problems()
    holder.update(None)
    assert holder.problems()
    with pytest.raises(ssl.SSLError):
        shown(holder)


@pytest.mark.parametrize("name", [SERVER_NAME, None], ids=["by-name", "without-a-name"])
def test_certificate_is_served(holder: MaterialHolder, name: str | None) -> None:
    """A certificate that the bundle trusts is served, also to a client that names no host."""
    secret = a_serving_secret()
    holder.update(secret)
    assert holder.problems() == []
    assert shown(holder, name) == chain_of(secret)


def test_new_certificate_is_served_next(holder: MaterialHolder) -> None:
    """The next handshake gets the newer certificate; the listening context stays the same."""
    context = holder.context
    holder.update(a_serving_secret())
    newer = a_serving_secret()
    holder.update(newer)
    assert shown(holder) == chain_of(newer)
    assert holder.context is context


def test_key_of_another_type_is_served(holder: MaterialHolder) -> None:
    """After a certificate on one type of key another type is served; OpenSSL's own exchange would mix them up."""
    holder.update(a_serving_secret())
    key = rsa.generate_private_key(65537, 2048)
    authority = make_authority(NOW, timedelta(days=10))
    like = x509.load_pem_x509_certificate(make_leaf(authority, NAMES, NOW, timedelta(days=5)).certificate_pem)
    builder = x509.CertificateBuilder(like.issuer, like.subject, key.public_key(), like.serial_number)
    builder = builder.not_valid_before(like.not_valid_before_utc).not_valid_after(like.not_valid_after_utc)
    for extension in like.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    chain = builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    leaf = Leaf(chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    holder.update(a_secret(serving_data(leaf, authority.certificate_pem)))
    assert shown(holder) == chain.decode()


@pytest.mark.parametrize("secret", [None, {}, a_secret({"tls.crt": "AAAA"})], ids=["deleted", "empty", "damaged"])
def test_bad_secret_keeps_the_certificate(
    holder: MaterialHolder, secret: Json | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A deleted or damaged Secret changes nothing but log and metric, and the replica stays ready."""
    good = a_serving_secret()
    holder.update(good)
    with caplog.at_level(logging.WARNING):
        holder.update(secret)
    assert shown(holder) == chain_of(good)
    assert holder.problems() == []
    assert "stays" in caplog.text


def test_full_disk_keeps_the_certificate(
    holder: MaterialHolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the key cannot be put on disk for a moment, the replica goes on with what it has."""
    good = a_serving_secret()
    holder.update(good)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with caplog.at_level(logging.WARNING):
        holder.update(a_serving_secret())
    assert shown(holder) == chain_of(good)
    assert holder.problems() == []
    assert "No space left" in caplog.text


def test_untrusted_certificate_does_not_replace_a_trusted_one(holder: MaterialHolder) -> None:
    """A leaf that its own bundle does not trust is no step forward."""
    good = a_serving_secret()
    holder.update(good)
    leaf = make_leaf(make_authority(NOW, timedelta(days=10)), NAMES, NOW, timedelta(days=5))
    holder.update(a_secret(serving_data(leaf, make_authority(NOW, timedelta(days=10)).certificate_pem)))
    assert shown(holder) == chain_of(good)


def test_expired_certificate_is_a_problem_and_is_replaced(holder: MaterialHolder, clock: Clock) -> None:
    """Once expired the replica is not ready; whatever comes next is taken over."""
    holder.update(a_serving_secret(days=5))
    clock.now = NOW + timedelta(days=6)
    assert SERVER_NAME in holder.problems()[0]
    newer = a_serving_secret(now=clock.now)
    holder.update(newer)
    assert holder.problems() == []
    assert shown(holder) == chain_of(newer)


def test_certificate_put_in_place_early_is_served_once_it_is_valid(holder: MaterialHolder, clock: Clock) -> None:
    """Time alone makes it good: no event comes, and the one in use ends."""
    authority = make_authority(NOW, timedelta(days=100))
    current, early = (a_serving_secret(authority, now=begin, days=10) for begin in (NOW, NOW + timedelta(days=5)))
    for secret in (current, early):
        holder.update(secret)
    holder.look_again()
    assert shown(holder) == chain_of(current)

    clock.now = NOW + timedelta(days=6)
    holder.look_again()
    assert shown(holder) == chain_of(early)


def test_lost_file_of_callers_does_not_hold_up_a_rotation(clock: Clock, tmp_path: Path) -> None:
    """The next certificate is served while the file that vouches for callers is away; who was vouched for still is."""
    callers = make_authority(NOW, timedelta(days=10))
    file = tmp_path / "callers.crt"
    file.write_bytes(callers.certificate_pem)
    holder = MaterialHolder(SERVER_NAME, clock, Metrics(), CallerAuthorities(str(file)))
    holder.update(a_serving_secret())
    file.unlink()
    successor = a_serving_secret()
    holder.update(successor)
    assert shown(holder) == chain_of(successor)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    holder._callers.apply(context)
    assert context.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(callers.certificate_pem.decode())]


def test_key_leaves_the_disk(folder: Path) -> None:
    """Loading leaves no file behind."""
    load_context(read_serving(a_serving_secret()))
    assert list(folder.iterdir()) == []


def test_key_is_readable_by_its_owner_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While OpenSSL reads it, the file is for this user alone."""
    seen: list[int] = []

    def look(_context: ssl.SSLContext, certfile: Path) -> None:
        seen.append(certfile.stat().st_mode & 0o777)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    load_context(read_serving(a_serving_secret()))
    assert seen == [0o600]
    assert list(folder.iterdir()) == []


def test_refused_secret_is_measured_and_told_once_it_matters(clock: Clock) -> None:
    """The metric is 1 while the Secret cannot be served; once what is in use has ended, the probe says why too."""
    metrics = Metrics()
    holder = MaterialHolder(SERVER_NAME, clock, metrics)
    for secret, refused in ((a_serving_secret(days=5), 0), (None, 1), (a_serving_secret(days=5), 0), ({}, 1)):
        holder.update(secret)
        assert metrics.registry.get_sample_value("replicated_proxy_serving_secret_refused") == refused
    assert holder.problems() == []
    clock.now = NOW + timedelta(days=6)
    assert "tls.crt is missing" in holder.problems()[1]


def test_expiry_is_measured() -> None:
    """The end of validity is a metric."""
    metrics = Metrics()
    MaterialHolder(SERVER_NAME, lambda: NOW, metrics).update(a_serving_secret(days=5))
    value = metrics.registry.get_sample_value(
        "replicated_proxy_certificate_not_after_timestamp_seconds", {"certificate": "serving"}
    )
    assert value == (NOW + timedelta(days=5)).timestamp()


def test_old_protocols_are_refused(holder: MaterialHolder) -> None:
    """Anything older than TLS 1.2 is refused."""
    holder.update(a_serving_secret())
    assert holder.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_trusting_client_is_served(holder: MaterialHolder) -> None:
    """A client that verifies against the published bundle, as the API server does, completes its handshake."""
    now = datetime.now(NOW.tzinfo)
    authority = make_authority(now, timedelta(days=2))
    holder.update(a_serving_secret(authority, now=now, days=1))
    assert shake_hands(holder.context, client_context(authority), SERVER_NAME)
