"""Certificates of our own: an authority, and the leaf that the webhook serves.

The form is what Go's `crypto/x509` in the API server and the strict mode of Python 3.13 both accept
(reference/admission.md 3.3). The time is always an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE: Final = timedelta(minutes=10)
"""How far a certificate's validity begins in the past: clocks of nodes differ, and nobody's may find it too young."""

_LONGEST_COMMON_NAME: Final = 64  # ub-common-name of RFC 5280.
_AUTHORITY_NAME: Final = "replicated-proxy-operator CA"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate for a bundle."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key; goes into the authority's Secret and nowhere else."""
        return _encode_key(self.key)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A serving certificate and its key, as PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """Return the names of a Service; the API server asks for the third one."""
    return (
        service,
        f"{service}.{namespace}",
        webhook_name(service, namespace),
        f"{service}.{namespace}.svc.cluster.local",
    )


def webhook_name(service: str, namespace: str) -> str:
    """Return the name under which the API server calls a webhook's Service."""
    return f"{service}.{namespace}.svc"


def general_name(text: str) -> x509.DNSName | x509.IPAddress:
    """Return a name as certificates hold it; an address counts only as an address (RFC 6125)."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def make_authority(now: datetime, lifetime: timedelta) -> Authority:
    """Make an authority that may sign leaves and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number in the name tells authorities of a rotation apart: the issuer is looked up by name.
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY_NAME),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"),
        ]
    )
    builder = _start(name, name, key.public_key()).serial_number(serial)
    builder = builder.not_valid_before(now - BACKDATE).not_valid_after(now + lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def make_leaf(authority: Authority, dns_names: Sequence[str], now: datetime, lifetime: timedelta) -> Leaf:
    """Make a serving certificate for DNS names and IP addresses; it ends no later than its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    fitting = [name for name in dns_names if len(name) <= _LONGEST_COMMON_NAME]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, max(fitting, key=len, default="webhook"))])
    builder = _start(subject, authority.certificate.subject, key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    end = min(now + lifetime, authority.certificate.not_valid_after_utc)
    builder = builder.not_valid_before(now - BACKDATE).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    names = x509.SubjectAlternativeName([general_name(name) for name in dns_names])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
    )
    certificate = builder.sign(authority.key, hashes.SHA256())
    return Leaf(certificate.public_bytes(serialization.Encoding.PEM), _encode_key(key))


def _start(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """Begin a certificate with what both kinds have."""
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Return what the key may do: sign certificates, or take part in a handshake."""
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key as unencrypted PKCS 8; the Secret is what protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
