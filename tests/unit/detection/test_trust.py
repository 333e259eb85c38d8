"""Private authorities: read at the start, and again when the file changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from probing import PUBLIC, Surroundings, failed
from replicated_proxy.core.images import parse_image
from replicated_proxy.detection.asking import Prober
from replicated_proxy.detection.trust import InvalidCaFile, Trust
from replicated_proxy.settings.detecting import DetectionSettings
from rig.authority import Authority
from rig.scripted_server import answer

_CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "it holds no certificates"),
        (b"hello", "it holds no certificates"),
        (_CERTIFICATE.format("AAAA").encode(), "it holds no certificates"),
        (_CERTIFICATE.format("!").encode(), "it holds no certificates"),
        (b"\xff\xfe\x00", "it holds no certificates"),
    ],
)
def test_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """It names the setting, the path, what is wrong and the remedy."""
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidCaFile) as caught:
        Prober(DetectionSettings(ca_file=str(path)))

    assert str(caught.value) == (
        f"detection.caFile: {path} cannot be used ({reason}): mount a PEM file with the certificates of the "
        "registries' authorities there, or leave the setting empty"
    )


def test_folder_is_no_file(tmp_path: Path) -> None:
    """A mount that holds files is the commonest mistake."""
    with pytest.raises(InvalidCaFile, match="cannot be used"):
        Trust(str(tmp_path))


def test_private_authorities_are_added_to_the_systems(tmp_path: Path) -> None:
    """Public registries stay trusted."""
    system = len(Trust("").context().get_ca_certs())
    own = Authority.create(tmp_path).pair.certificate
    own.write_bytes("# Türkçe\n".encode() + own.read_bytes())

    assert len(Trust(str(own)).context().get_ca_certs()) == system + 1


def test_context_verifies_and_lets_the_server_choose_no_costly_arithmetic() -> None:
    """Certificates, names, TLS 1.2 or newer, and elliptic curves alone."""
    context = Trust("").context()
    exchanges = {
        cipher["name"].partition("-")[0] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"
    }

    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert exchanges == {"ECDHE"}


async def test_file_is_read_again_when_it_changes(surroundings: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
    """A new authority counts from the next question on; a broken file is said once and changes nothing."""
    stranger = Authority.create(surroundings.folder / "stranger")
    path = surroundings.folder / "mounted.crt"
    path.write_bytes(stranger.pair.certificate.read_bytes())
    results = []
    async with (
        surroundings.serve("quay.test", 1, answer(200, "Connection: close")),
        surroundings.prober(ca_file=str(path)) as prober,
    ):
        results.append(await prober.probe(parse_image("quay.test/api")))
        path.write_bytes(stranger.pair.certificate.read_bytes() + surroundings.authority.pair.certificate.read_bytes())
        results.append(await prober.probe(parse_image("quay.test/api")))
        with caplog.at_level(logging.WARNING):
            path.write_text("broken")
            results.append(await prober.probe(parse_image("quay.test/api")))
            path.unlink()
            results.append(await prober.probe(parse_image("quay.test/api")))
            results.append(await prober.probe(parse_image("quay.test/api")))

    assert results == [failed("certificate"), PUBLIC, PUBLIC, PUBLIC, PUBLIC]
    assert [record.message.count("stay in force") for record in caplog.records] == [1, 1]
