"""The global keys: whoever holds one of them vouches for the keys of applications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from replicated_proxy.core.objects import quote

PRODUCTION_KEY_ID: Final = "bdee56560cfb43c9b28bf98eacafa646"
# Replicated's production key, as public in kotskinds; a test holds it against its published fingerprint.
PRODUCTION_KEY: Final = """\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwdSHE8v64QH/yELBoPBl
GanhS3AD5vMAaqLLFnftwjmDKrxWwqNB9w1GVJWb5gVLvt/UlE/k+HVr5HFdomVI
TMvnvxhD0UvNyGFuUbXBMvQPPW9joR48LcCBLZl+RZTqR5HRhsIbujiExRDnteaq
mU1jG/oVlQkRoyOYrObTeoD0BdcZAr2PdGvgvJvpZduZtrKvjvsSJEBYExoPtko+
8AqhMBAI+qX1/SMix21qpmYSYLNeqN2Pplna0p2MK8yyaHY8KSqTF90ZJF1+P0ZF
MLt6S8/6PIX9WD+vFqmDpW1GCkB+p2OfxsYiAIX1ej98Ck3hoPQnOuiFIovV8aFQ
bQIDAQAB
-----END PUBLIC KEY-----
"""


class InvalidTrustedKey(ValueError):
    """A setting `license.trustedKeys` that cannot be used; names the key ID and the remedy, never the text."""


def read_rsa_key(pem: bytes) -> RSAPublicKey:
    """Read an RSA public key.

    Raises:
        ValueError: the text is no PEM of an RSA public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("no public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("a public key, but not of RSA")  # noqa: TRY004 - what the text says, not what was passed.
    return key


def load_global_keys(trusted_keys: Mapping[str, str]) -> Mapping[str, RSAPublicKey]:
    """Read the keys of settings beside Replicated's production key, which one of the same ID replaces.

    Raises:
        InvalidTrustedKey: one is no RSA public key, or has no ID.
    """
    return {key_id: _load(key_id, pem) for key_id, pem in {PRODUCTION_KEY_ID: PRODUCTION_KEY, **trusted_keys}.items()}


def _load(key_id: str, pem: str) -> RSAPublicKey:
    """Read one key."""
    if not key_id:
        raise InvalidTrustedKey("license.trustedKeys has an empty key ID: write the `globalKeyId` of the licenses")
    try:
        return read_rsa_key(pem.encode("utf-8", "replace"))
    except ValueError as error:
        raise InvalidTrustedKey(
            f"license.trustedKeys: {quote(key_id)} is {error}: write the whole RSA public key, from "
            "-----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----"
        ) from error
