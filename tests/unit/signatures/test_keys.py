"""The trusted keys: Replicated's own, and those of settings."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from builders import Json, ids
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.keys import PRODUCTION_KEY, PRODUCTION_KEY_ID, InvalidTrustedKey, read_rsa_key
from replicated_proxy.signatures.verifying import SignatureVerifier
from signing import SigningKeys, public_pem, sign_license

FINGERPRINT = "44f2770497b822b1fbbe0d854808536225db1c07e42291dfc62cf8b47f7c040b"


def test_production_key_has_the_published_fingerprint() -> None:
    """What is trusted by default is Replicated's production key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = read_rsa_key(PRODUCTION_KEY.encode()).public_bytes(serialization.Encoding.DER, form)

    assert hashlib.sha256(der).hexdigest() == FINGERPRINT
    assert PRODUCTION_KEY_ID == "bdee56560cfb43c9b28bf98eacafa646"


def test_production_alone_is_trusted_by_default(keys: SigningKeys, body: Json) -> None:
    """Without settings nobody else's licenses are genuine."""
    found = SignatureVerifier({}).verify(sign_license(body, keys)).signature

    assert found.state is SignatureState.UNKNOWN_KEY
    assert "'test-global-key'" in found.detail
    assert "license.trustedKeys" in found.detail


@pytest.mark.parametrize(("trusted", "state"), [(False, SignatureState.INVALID), (True, SignatureState.VERIFIED)])
def test_settings_replace_the_production_key(body: Json, trusted: bool, state: SignatureState) -> None:
    """A key given under Replicated's ID counts instead of Replicated's."""
    keys = SigningKeys.make(PRODUCTION_KEY_ID)

    assert SignatureVerifier(keys.trusted if trusted else {}).verify(sign_license(body, keys)).signature.state is state


def test_given_keys_are_added(keys: SigningKeys, strangers: SigningKeys, body: Json) -> None:
    """Several keys are trusted beside each other."""
    verifier = SignatureVerifier(keys.trusted | strangers.trusted)
    found = [verifier.verify(sign_license(body, each)).signature.state for each in (keys, strangers)]

    assert found == [SignatureState.VERIFIED] * 2


def _other_kinds() -> list[tuple[str, str]]:
    """Return texts that are no RSA public keys."""
    curve = ec.generate_private_key(ec.SECP256R1())
    rsa = SigningKeys.make().global_key
    encoding, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return [
        ("empty", ""),
        ("words", "trust me"),
        ("surrogate", "\ud800"),
        ("armour alone", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
        ("truncated", public_pem(rsa)[:200]),
        ("private", rsa.private_bytes(encoding, pkcs8, serialization.NoEncryption()).decode()),
        ("elliptic curve", curve.public_key().public_bytes(encoding, form).decode()),
    ]


@pytest.mark.parametrize("pem", [pem for _, pem in _other_kinds()], ids=ids(_other_kinds()))
def test_no_rsa_public_key_is_named(pem: str) -> None:
    """A setting that holds no RSA public key is an error that names its ID and the remedy, and shows no text of it."""
    with pytest.raises(InvalidTrustedKey, match=r"license\.trustedKeys: 'acme' .*BEGIN PUBLIC KEY") as raised:
        SignatureVerifier({"acme": pem})

    assert not any(line in str(raised.value) for line in pem.splitlines()[1:-1])


def test_empty_key_id_is_refused(keys: SigningKeys) -> None:
    """A key under no ID would be a key that nobody meant."""
    with pytest.raises(InvalidTrustedKey, match="empty key ID"):
        SignatureVerifier({"": public_pem(keys.global_key)})
