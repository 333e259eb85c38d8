"""One reader for License objects and licenses in Secrets, and what is in doubt about the latter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from builders import a_license_body, ids
from replicated_proxy.controller.entries import LicenseReader, SecretLicenses, Verify, leave_unchecked
from replicated_proxy.core.license_documents import LicenseDocument
from replicated_proxy.core.signatures import Signature, SignaturePolicy, SignatureState, VerifiedSpec
from replicated_proxy.core.validity import ValidityPolicy

KEY = "vault/secrets/license/config.yaml"
ENFORCE = ValidityPolicy(signature=SignaturePolicy.ENFORCE)


def answering(state: SignatureState, spec: Mapping[str, object]) -> Verify:
    """Stand in for the verifier."""
    return lambda _: VerifiedSpec(spec, Signature(state, "told"))


def a_document(**spec: Any) -> LicenseDocument:
    """Return a license that a Secret holds."""
    body = a_license_body(metadata={"namespace": "vault", "name": "license", "uid": "u/config.yaml"}, **spec)
    return LicenseDocument(body, ("*", "workers"), KEY)


def test_signed_copy_counts() -> None:
    """What the verifier gives is read, whatever stands on the object."""
    signed = {"appSlug": "signed", "licenseID": "signed-id"}
    entry = LicenseReader(answering(SignatureState.MODIFIED, signed)).read(a_license_body("edited"))
    assert entry.lic is not None

    assert (entry.lic.app_slug, entry.lic.license_id.reveal()) == ("signed", "signed-id")
    assert entry.lic.signature == Signature(SignatureState.MODIFIED, "told")


STATES: list[tuple[str, SignatureState, ValidityPolicy, tuple[bool, tuple[str, ...]]]] = [
    ("genuine", SignatureState.VERIFIED, ENFORCE, (True, ("proxy.acme.com",))),
    ("unsigned, with a warning", SignatureState.UNSIGNED, ValidityPolicy(), (True, ("proxy.acme.com",))),
    ("unsigned, enforced", SignatureState.UNSIGNED, ENFORCE, (False, ())),
]


@pytest.mark.parametrize(("state", "policy", "expected"), [row[1:] for row in STATES], ids=ids(STATES))
def test_unaccepted_license_chooses_no_host(
    state: SignatureState, policy: ValidityPolicy, expected: tuple[bool, tuple[str, ...]]
) -> None:
    """With `Enforce` an unsigned License is kept apart, and its domains with it."""
    body = a_license_body(replicatedProxyDomain="proxy.acme.com")
    lic = LicenseReader(answering(state, body["spec"]), policy).read(body).lic
    assert lic is not None

    assert (lic.accepted, lic.proxy_domains) == expected


def test_signed_copy_that_makes_no_sense_is_a_problem() -> None:
    """A genuine signature over a License without an ID does not make it one."""
    entry = LicenseReader(answering(SignatureState.VERIFIED, {"appSlug": "a"})).read(a_license_body())

    assert entry.lic is None
    assert "licenseID" in entry.problem


def test_license_of_a_secret_reaches_as_the_administrator_says() -> None:
    """Its namespaces come from the setting, its name from the Secret, all else from the document."""
    entry = LicenseReader(leave_unchecked).read_document(a_document())
    assert entry.lic is not None

    assert (entry.lic.key, entry.lic.namespaces, entry.lic.every_namespace) == (KEY, ("workers",), True)
    assert (entry.identity.namespace, entry.identity.name) == ("vault", "license")


def test_secret_licenses_are_complete_when_each_was_looked_at() -> None:
    """Nothing may be concluded before every Secret was read, or found missing or unreadable."""
    licenses = SecretLicenses(LicenseReader(), [KEY, "a/secrets/b/c", "a/secrets/d/e"])
    steps = [
        licenses.complete,
        licenses.take(a_document()),
        licenses.doubt("a/secrets/b/c", "Secret a/b does not exist"),
        licenses.complete,
        licenses.drop("a/secrets/d/e"),
        licenses.complete,
    ]

    assert steps == [False, True, True, False, True, True]
    assert licenses.unknown == {"a/secrets/b/c"}
    assert set(licenses.entries()) == {KEY, "a/secrets/b/c"}


def test_only_news_is_a_change() -> None:
    """The same content again makes no turn due; doubt, and its end, do."""
    licenses = SecretLicenses(LicenseReader(), [KEY])
    steps = [
        licenses.take(a_document()),
        licenses.take(a_document()),
        licenses.take(a_document(licenseID="another")),
        licenses.doubt(KEY, "missing"),
        licenses.doubt(KEY, "missing"),
        licenses.take(a_document()),
        licenses.drop(KEY),
        licenses.drop(KEY),
    ]

    assert steps == [True, False, True, True, False, True, True, False]
    assert licenses.entries() == {}


def test_unreadable_document_is_in_doubt() -> None:
    """A license without an ID in a Secret keeps what was read of it before in effect."""
    licenses = SecretLicenses(LicenseReader(), [KEY])
    licenses.take(a_document(licenseID=""))

    assert licenses.unknown == {KEY}
    assert "licenseID" in licenses.entries()[KEY].problem


def test_license_of_a_secret_stays_the_same_when_the_secret_is_made_anew() -> None:
    """A tool that replaces the Secret revokes nothing, and neither does one that breaks it: it is one License."""
    reader = LicenseReader(leave_unchecked)
    documents = [a_document(), a_document()]
    documents[1] = replace(documents[1], body={**documents[1].body, "metadata": {"uid": "another/key"}})
    entries = [reader.read_document(document) for document in documents]
    licenses = SecretLicenses(reader, [KEY])
    licenses.doubt(KEY, "missing")

    assert {entry.lic.identity.uid for entry in entries if entry.lic} == {KEY}
    assert {entry.uid for entry in (*entries, licenses.entries()[KEY])} == {KEY} == licenses.unknown
