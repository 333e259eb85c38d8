"""What our own certificates look like."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names
from replicated_proxy.certificates.verifying import verify_leaf
from serving import NAMES, NOW, SERVER_NAME


def test_names_are_the_forms_of_a_service() -> None:
    """A Service is called by four names, of which the API server uses `<service>.<namespace>.svc`."""
    names = service_names("hook", "ns")
    assert names == ("hook", "hook.ns", "hook.ns.svc", "hook.ns.svc.cluster.local")


def test_authority_may_sign_leaves_only() -> None:
    """The authority is a critical CA of path length 0 on P-256 that may sign certificates."""
    certificate = make_authority(NOW, timedelta(days=10)).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_leaf_names_the_service_and_serves_only() -> None:
    """The leaf carries every name and the use of a server, and is no authority."""
    leaf = x509.load_pem_x509_certificate(
        make_leaf(make_authority(NOW, timedelta(days=10)), NAMES, NOW, timedelta(days=5)).certificate_pem
    )
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == NAMES
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_key_identifiers_link_leaf_and_authority() -> None:
    """Subject and authority key identifiers are there and agree; Python 3.13 clients insist."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = x509.load_pem_x509_certificate(make_leaf(authority, NAMES, NOW, timedelta(days=5)).certificate_pem)
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert issuer.key_identifier == subject.key_identifier


def test_validity_begins_earlier_and_ends_with_the_authority() -> None:
    """NotBefore is ten minutes back, and a leaf never outlives its authority."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = x509.load_pem_x509_certificate(make_leaf(authority, NAMES, NOW, timedelta(days=400)).certificate_pem)
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=10)
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc == NOW + timedelta(days=10)


def test_serial_numbers_differ() -> None:
    """No two certificates share a serial number, and no two authorities a name."""
    first, second = (
        make_authority(NOW, timedelta(days=10)).certificate,
        make_authority(NOW, timedelta(days=10)).certificate,
    )
    assert first.serial_number != second.serial_number
    assert first.subject != second.subject


def test_long_service_name_fits() -> None:
    """A Service and namespace of 63 letters each give a valid certificate, though no common name could hold them."""
    names = service_names("s" * 63, "n" * 63)
    authority = make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(authority, names, NOW, timedelta(days=5))
    assert not verify_leaf(leaf.certificate_pem, authority.certificate_pem, names[2], NOW)


def test_keys_are_not_shown() -> None:
    """The representation of an authority or a leaf holds no key."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(authority, NAMES, NOW, timedelta(days=5))
    assert "PRIVATE" not in repr(leaf)
    assert "key" not in repr(authority)


@pytest.mark.parametrize("name", [*NAMES, "127.0.0.1", "::1"])
def test_leaf_is_trusted_for_each_name(name: str) -> None:
    """A client that trusts the authority accepts the leaf under each of its names."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(authority, (*NAMES, "127.0.0.1", "::1"), NOW, timedelta(days=5))
    assert not verify_leaf(leaf.certificate_pem, authority.certificate_pem, name, NOW)


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        pytest.param("other.ns.svc", NOW, id="another-name"),
        pytest.param(SERVER_NAME, NOW + timedelta(days=6), id="expired"),
        pytest.param(SERVER_NAME, NOW - timedelta(hours=1), id="not-yet"),
    ],
)
def test_leaf_is_refused(name: str, moment: datetime) -> None:
    """Another name, or a time outside of its validity, is a problem that is put into words."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(authority, NAMES, NOW, timedelta(days=5))
    assert name in verify_leaf(leaf.certificate_pem, authority.certificate_pem, name, moment)


def test_bundle_may_hold_several_authorities() -> None:
    """In a rotation the bundle of both authorities trusts a leaf of either; the other authority alone does not."""
    old, new = make_authority(NOW, timedelta(days=10)), make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(new, NAMES, NOW, timedelta(days=5)).certificate_pem
    assert not verify_leaf(leaf, old.certificate_pem + new.certificate_pem, SERVER_NAME, NOW)
    assert verify_leaf(leaf, old.certificate_pem, SERVER_NAME, NOW)


@pytest.mark.parametrize(
    "damaged", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_damaged_pem_is_a_problem_and_no_crash(damaged: bytes) -> None:
    """Whatever stands in the place of a certificate, the answer is a sentence."""
    authority = make_authority(NOW, timedelta(days=10))
    leaf = make_leaf(authority, NAMES, NOW, timedelta(days=5)).certificate_pem
    assert verify_leaf(damaged, authority.certificate_pem, SERVER_NAME, NOW)
    assert verify_leaf(leaf, damaged, SERVER_NAME, NOW)
