"""Would the API server trust this certificate? Asked before it is served, and again by every readiness probe."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from replicated_proxy.certificates.issuing import general_name

_SPKI: Final = serialization.PublicFormat.SubjectPublicKeyInfo
_FOR_SERVERS: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def _is_authority(_policy: Policy, _certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
    """Take authorities only."""
    if not found.ca:
        raise ValueError("it is no authority")


def _may_sign(_policy: Policy, _certificate: x509.Certificate, found: x509.KeyUsage | None) -> None:
    """Take authorities that may sign; those that say nothing may."""
    if found is not None and not found.key_cert_sign:
        raise ValueError("its key may not sign certificates")


def _serves(_policy: Policy, _certificate: x509.Certificate, found: x509.ExtendedKeyUsage | None) -> None:
    """Take certificates for servers; those that say nothing are for everything."""
    if found is not None and _FOR_SERVERS.isdisjoint(found):
        raise ValueError("it is not for servers")


# What Go's crypto/x509 asks for, and no more: the library's own policy is that of public authorities, and refuses what
# `openssl req -x509` and easy-rsa make (no key usage, basic constraints that are not critical, no key identifiers).
_AUTHORITIES: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)
_LEAVES: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _serves)
)


def verify_leaf(leaf_pem: bytes, bundle_pem: bytes, dns_name: str, now: datetime) -> str:
    """Say why a client that trusts the bundle would refuse the leaf for this name; empty when it would not.

    `dns_name` may be an IP address too. Of several certificates in `leaf_pem` the first is the leaf, and the others may
    stand between it and the bundle.
    """
    try:
        chain = x509.load_pem_x509_certificates(leaf_pem)
        authorities = x509.load_pem_x509_certificates(bundle_pem)
    except ValueError as error:
        return f"the certificate or the bundle is no PEM: {error}"
    # Each authority by itself: of two with the same name the verifier would try only some.
    problems = [_verify(chain, authority, dns_name, now) for authority in authorities]
    return "" if "" in problems else problems[0]


def _verify(chain: list[x509.Certificate], authority: x509.Certificate, dns_name: str, now: datetime) -> str:
    """Verify against one authority."""
    try:
        policy = PolicyBuilder().store(Store([authority])).time(now)
        policy = policy.extension_policies(ca_policy=_AUTHORITIES, ee_policy=_LEAVES)
        policy.build_server_verifier(general_name(dns_name)).verify(chain[0], chain[1:])
    except (VerificationError, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return f"certificate for {dns_name} is not trusted by the bundle: {error}"
    return ""


def split_bundle(bundle_pem: bytes) -> list[bytes]:
    """Return each certificate of a bundle as PEM of its own.

    Raises:
        ValueError: it is no PEM.
    """
    found = x509.load_pem_x509_certificates(bundle_pem)
    return [each.public_bytes(serialization.Encoding.PEM) for each in found]


def key_fits(leaf_pem: bytes, key_pem: bytes) -> bool:
    """Tell whether a private key belongs to the first certificate.

    Raises:
        ValueError: one of the two cannot be read.
    """
    key = serialization.load_pem_private_key(key_pem, password=None)
    leaf = x509.load_pem_x509_certificates(leaf_pem)[0]
    mine = key.public_key().public_bytes(serialization.Encoding.PEM, _SPKI)
    return mine == leaf.public_key().public_bytes(serialization.Encoding.PEM, _SPKI)


def validity(certificate_pem: bytes) -> tuple[datetime, datetime]:
    """Return first and last moment of the first certificate.

    Raises:
        ValueError: it cannot be read.
    """
    certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc
