"""Which certificates count as trusted: those that the API server trusts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from replicated_proxy.certificates.verifying import verify_leaf

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
NAME: Final = "webhook.ns.svc"
_NAMES: Final = (x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
_AUTHORITY: Final = (x509.BasicConstraints(ca=True, path_length=None), True)
Extension = tuple[x509.ExtensionType, bool]


def usage(*, signs: bool) -> Extension:
    """Return a key usage."""
    rest = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    rest["digital_signature"] = True
    found = x509.KeyUsage(key_cert_sign=signs, encipher_only=False, decipher_only=False, **rest)
    return found, True


def chain_of(authority: tuple[Extension, ...], leaf: tuple[Extension, ...]) -> tuple[bytes, bytes]:
    """Return a leaf and the authority that signed it, with these extensions and no others."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    made = []
    for common_name, key, extensions in zip(("authority", "leaf"), keys, (authority, leaf), strict=True):
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=NOW,
            not_valid_after=NOW + timedelta(days=1),
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    return made[1], made[0]


@pytest.mark.parametrize(
    ("authority", "leaf"),
    [
        pytest.param((_AUTHORITY,), (_NAMES,), id="no-key-usage-and-no-identifiers"),
        pytest.param((_AUTHORITY, usage(signs=True)), (_NAMES,), id="key-usage"),
        pytest.param(((_AUTHORITY[0], False),), (_NAMES,), id="constraints-not-critical"),
        pytest.param(
            (_AUTHORITY,),
            (_NAMES, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)),
            id="for-everything",
        ),
    ],
)
def test_what_private_authorities_make_is_trusted(
    authority: tuple[Extension, ...], leaf: tuple[Extension, ...]
) -> None:
    """What `openssl req -x509` and easy-rsa make the API server trusts, and so do we."""
    chain, bundle = chain_of(authority, leaf)
    assert verify_leaf(chain, bundle, NAME, NOW + timedelta(hours=1)) == ""


@pytest.mark.parametrize(
    ("authority", "leaf"),
    [
        pytest.param(((x509.BasicConstraints(ca=False, path_length=None), True),), (_NAMES,), id="no-authority"),
        pytest.param((), (_NAMES,), id="no-constraints"),
        pytest.param((_AUTHORITY, usage(signs=False)), (_NAMES,), id="may-not-sign"),
        pytest.param(
            (_AUTHORITY,),
            (_NAMES, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)),
            id="for-clients",
        ),
        pytest.param((_AUTHORITY,), (), id="no-names"),
        pytest.param(
            (_AUTHORITY,), ((x509.SubjectAlternativeName([x509.DNSName("other.ns.svc")]), False),), id="other-name"
        ),
    ],
)
def test_what_the_api_server_would_refuse_is_not_trusted(
    authority: tuple[Extension, ...], leaf: tuple[Extension, ...]
) -> None:
    """An authority that is none, a certificate for something else: told with the name it should have been good for."""
    chain, bundle = chain_of(authority, leaf)
    assert NAME in verify_leaf(chain, bundle, NAME, NOW + timedelta(hours=1))
