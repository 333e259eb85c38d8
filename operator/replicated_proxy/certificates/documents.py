"""The two Secrets: the authority's and the one that the webhook serves from.

Their objects are input like any other: somebody may have edited them. Errors name the Secret and the entry, and never
show what stands in it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from replicated_proxy.certificates.issuing import Authority, Leaf
from replicated_proxy.certificates.verifying import key_fits
from replicated_proxy.core.objects import Body, read_identity, text_at

SECRET_TYPE: Final = "kubernetes.io/tls"  # noqa: S105 - a type of Secret.
CERTIFICATE_ENTRY: Final = "tls.crt"
KEY_ENTRY: Final = "tls.key"
BUNDLE_ENTRY: Final = "ca.crt"
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


class InvalidCertificate(ValueError):
    """A Secret that holds no usable certificate; names the Secret, the entry and the remedy."""


@dataclass(frozen=True, slots=True)
class ServingMaterial:
    """What a webhook replica serves.

    Attributes:
        chain: PEM, the leaf first.
        key: PEM of its private key.
        bundle: PEM of the authorities as published in `caBundle`: a list, so that a rotation can overlap.
    """

    chain: bytes
    key: bytes = field(repr=False)
    bundle: bytes


def authority_data(authority: Authority, predecessors: bytes = b"") -> Mapping[str, str]:
    """Return the `data` of the authority's Secret; `predecessors` are PEM of those that stay trusted beside it."""
    certificate = authority.certificate_pem
    return _encode(
        {CERTIFICATE_ENTRY: certificate, KEY_ENTRY: authority.key_pem, BUNDLE_ENTRY: certificate + predecessors}
    )


def serving_data(leaf: Leaf, bundle: bytes) -> Mapping[str, str]:
    """Return the `data` of the serving Secret."""
    return _encode({CERTIFICATE_ENTRY: leaf.certificate_pem, KEY_ENTRY: leaf.key_pem, BUNDLE_ENTRY: bundle})


def read_authority(secret: Body) -> Authority:
    """Read the authority from its Secret.

    Raises:
        InvalidCertificate: an entry is missing or damaged, or key and certificate do not belong together.
    """
    certificate_pem, key_pem = _entry(secret, CERTIFICATE_ENTRY), _entry(secret, KEY_ENTRY)
    _check_pair(secret, certificate_pem, key_pem)
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidCertificate(_complaint(secret, KEY_ENTRY, "is not an elliptic-curve key"))
    return Authority(x509.load_pem_x509_certificate(certificate_pem), key)


def read_bundle(secret: Body, authority: Authority, now: datetime) -> bytes:
    """Return PEM of what is to be published: the authority, and its predecessors until each has expired.

    A bundle that is missing or damaged costs the overlap of a rotation and nothing else.
    """
    try:
        stored = x509.load_pem_x509_certificates(_entry(secret, BUNDLE_ENTRY))
        kept = [each for each in stored if each != authority.certificate and now < each.not_valid_after_utc]
    except (InvalidCertificate, *_UNREADABLE):
        kept = []
    return authority.certificate_pem + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in kept)


def read_serving(secret: Body) -> ServingMaterial:
    """Read what to serve from the serving Secret; whether anybody trusts it is `verify_leaf`'s question.

    Raises:
        InvalidCertificate: an entry is missing or damaged, or key and certificate do not belong together.
    """
    chain, key, bundle = (_entry(secret, name) for name in (CERTIFICATE_ENTRY, KEY_ENTRY, BUNDLE_ENTRY))
    _check_pair(secret, chain, key)
    try:
        x509.load_pem_x509_certificates(bundle)
    except _UNREADABLE:
        raise InvalidCertificate(_complaint(secret, BUNDLE_ENTRY, "holds no PEM certificates")) from None
    return ServingMaterial(chain, key, bundle)


def _check_pair(secret: Body, certificate_pem: bytes, key_pem: bytes) -> None:
    """Check that a certificate and a key can be read and belong together."""
    try:
        fits = key_fits(certificate_pem, key_pem)
    # The cause is left out: a parser's message may quote what it could not parse.
    except _UNREADABLE:
        problem = f"or {KEY_ENTRY} is no PEM, or the key is encrypted"
        raise InvalidCertificate(_complaint(secret, CERTIFICATE_ENTRY, problem)) from None
    if not fits:
        raise InvalidCertificate(_complaint(secret, KEY_ENTRY, f"is not the key of {CERTIFICATE_ENTRY}"))


def _entry(secret: Body, name: str) -> bytes:
    """Return the decoded bytes of an entry."""
    text = text_at(secret, "data", name)
    if not text:
        raise InvalidCertificate(_complaint(secret, name, "is missing"))
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCertificate(_complaint(secret, name, "is not base64")) from None


def _complaint(secret: Body, entry: str, problem: str) -> str:
    """Name the Secret, the entry, what is wrong and what to do."""
    return (
        f"Secret {read_identity(secret).key}: {entry} {problem}; delete the Secret where the operator manages it, and "
        "a new one is made; elsewhere put the entry right"
    )


def _encode(entries: Mapping[str, bytes]) -> Mapping[str, str]:
    """Encode entries as a Secret's `data` does."""
    return {name: base64.b64encode(value).decode() for name, value in entries.items()}
