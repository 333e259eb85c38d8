"""The two Secrets, written and read."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.certificates.documents import (
    InvalidCertificate,
    authority_data,
    read_authority,
    read_serving,
    serving_data,
)
from replicated_proxy.certificates.issuing import make_authority, make_leaf
from serving import NAMES, NOW, a_secret

AUTHORITY = make_authority(NOW, timedelta(days=10))
LEAF = make_leaf(AUTHORITY, NAMES, NOW, timedelta(days=5))
GOOD = a_secret(serving_data(LEAF, AUTHORITY.certificate_pem))


def test_authority_comes_back() -> None:
    """What is written into the authority's Secret is read back, and still signs."""
    read = read_authority(a_secret(authority_data(AUTHORITY)))
    assert read.certificate == AUTHORITY.certificate
    assert read.key_pem == AUTHORITY.key_pem


def test_serving_material_comes_back() -> None:
    """What is written into the serving Secret is read back."""
    read = read_serving(GOOD)
    assert (read.chain, read.key, read.bundle) == (LEAF.certificate_pem, LEAF.key_pem, AUTHORITY.certificate_pem)
    assert "PRIVATE" not in repr(read)


def _with(name: str, value: object) -> dict[str, Any]:
    """Return the good Secret with one entry changed."""
    data = dict(GOOD["data"])
    data[name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return a_secret(data)


def _without(name: str) -> dict[str, Any]:
    """Return the good Secret without one entry."""
    return a_secret({entry: text for entry, text in GOOD["data"].items() if entry != name})


ENCRYPTED = AUTHORITY.key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(_without("tls.crt"), "tls.crt is missing", id="no-certificate"),
        pytest.param(_without("tls.key"), "tls.key is missing", id="no-key"),
        pytest.param(_without("ca.crt"), "ca.crt is missing", id="no-bundle"),
        pytest.param(_with("tls.crt", "%%%"), "tls.crt is not base64", id="no-base64"),
        pytest.param(_with("tls.crt", "ä"), "tls.crt is not base64", id="no-ascii"),
        pytest.param(_with("tls.crt", 5), "tls.crt is missing", id="no-text"),
        pytest.param(_with("tls.crt", b"nonsense"), "is no PEM", id="no-pem"),
        pytest.param(_with("tls.key", ENCRYPTED), "encrypted", id="encrypted-key"),
        pytest.param(_with("tls.key", AUTHORITY.key_pem), "tls.key is not the key of tls.crt", id="another-key"),
        pytest.param(_with("ca.crt", b"nonsense"), "ca.crt holds no PEM", id="no-pem-bundle"),
        pytest.param({}, "tls.crt is missing", id="no-secret"),
    ],
)
def test_damage_names_secret_entry_and_remedy(secret: dict[str, Any], words: str) -> None:
    """An unusable serving Secret is an error that names the entry and the remedy."""
    with pytest.raises(InvalidCertificate, match="delete the Secret") as raised:
        read_serving(secret)
    assert words in str(raised.value)
    assert raised.value.__cause__ is None


def test_authority_needs_an_elliptic_curve_key() -> None:
    """An authority on another type of key is nothing that we sign with."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    data = dict(authority_data(AUTHORITY)) | {"tls.key": base64.b64encode(pem).decode()}
    with pytest.raises(InvalidCertificate):
        read_authority(a_secret(data))


@given(st.binary(min_size=12, max_size=200), st.sampled_from(["tls.crt", "tls.key", "ca.crt"]))
def test_error_shows_nothing_of_an_entry(content: bytes, name: str) -> None:
    """Whatever stands in an entry, the error does not quote it."""
    with pytest.raises(InvalidCertificate) as raised:
        read_serving(_with(name, content))
    shown = str(raised.value)
    assert content.decode("latin-1") not in shown
    assert base64.b64encode(content).decode() not in shown
