"""When a License is taken for the vendor's, and which of its two copies counts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from builders import Json, ids
from replicated_proxy.core.signatures import Signature, SignatureState
from replicated_proxy.signatures.entitlements import MOST_SIGNATURES
from replicated_proxy.signatures.verifying import SignatureVerifier
from signing import BOTH, MD5, SHA256, SigningKeys, edit_inner, sign_license, to_base64

State = SignatureState


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
@pytest.mark.parametrize("digests", [MD5, SHA256, BOTH])
def test_signed_license_is_verified(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, digests: Sequence[str], version: str
) -> None:
    """What the vendor signed is verified with either digest, whatever version the API server shows it in."""
    signed = sign_license(body, keys, digests=digests) | {"apiVersion": f"kots.io/{version}"}

    found = verifier.verify(signed)

    assert found.signature == Signature(State.VERIFIED)
    assert found.spec == signed["spec"]


def test_entitlements_need_no_signatures(verifier: SignatureVerifier, keys: SigningKeys, body: Json) -> None:
    """Licenses from before entitlement signatures are verified."""
    signed = sign_license(body, keys, sign_entitlements=False)

    assert verifier.verify(signed).signature.state is State.VERIFIED


def test_signed_copy_counts(verifier: SignatureVerifier, keys: SigningKeys, body: Json) -> None:
    """Of an edited License the signed copy is what counts; the edit is named, its value is not."""
    signed = sign_license(body, keys)
    edited = copy.deepcopy(signed)
    edited["spec"]["licenseID"] = "stolen-id"

    found = verifier.verify(edited)

    assert found.signature == Signature(State.MODIFIED, "spec.licenseID")
    assert found.signature.genuine
    assert found.spec == signed["spec"]


def test_edited_entitlement_without_signature_is_named(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json
) -> None:
    """Who edits an entitlement and takes its signature away is found out, though not by KOTS."""
    signed = sign_license(body, keys)
    signed["spec"]["entitlements"]["seats"] = {"title": "Seats", "value": 99, "valueType": "Integer"}

    found = verifier.verify(signed)

    assert found.signature == Signature(State.MODIFIED, "spec.entitlements.seats.value")
    assert found.spec["entitlements"]["seats"]["value"] == 10  # type: ignore[index]


def test_license_of_another_namespace_and_status_is_verified(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json
) -> None:
    """Metadata and status are not covered, and may be whatever they are."""
    signed = sign_license(body, keys)
    signed["metadata"] = {"name": "renamed", "namespace": "elsewhere", "labels": {"a": "b"}}
    signed["status"] = {"conditions": []}

    assert verifier.verify(signed).signature == Signature(State.VERIFIED)


MESSAGES: list[tuple[str, Any]] = [
    ("text", "abc"),
    ("empty text", ""),
    ("text beyond ASCII", "größe"),
    ("text of several lines", "multi\nline"),
    ("true", True),
    ("false", False),
    ("integer", 10),
    ("zero", 0),
    ("negative", -(2**63)),
    ("largest", 2**63 - 1),
    ("float that is an integer", 1.232435e06),
    ("text that looks like a boolean", "True"),
    ("no value", ...),
]


@pytest.mark.parametrize("digests", [MD5, SHA256, BOTH])
@pytest.mark.parametrize("value", [value for _, value in MESSAGES], ids=ids(MESSAGES))
def test_entitlement_of_every_type_is_verified(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, value: Any, digests: Sequence[str]
) -> None:
    """The signed text of a value is what Go prints for it, also for a value that is missing."""
    body["spec"]["entitlements"] = {"it": {} if value is ... else {"value": value}}

    assert verifier.verify(sign_license(body, keys, digests=digests)).signature == Signature(State.VERIFIED)


UNREADABLE: list[tuple[str, Any]] = [
    ("fraction", 1.5),
    ("beyond 64 bits", 2**63),
    ("beyond what Python prints", 10**5000),
    ("large float", 1e300),
    ("infinite", float("inf")),
    ("not a number", float("nan")),
    ("list", [1]),
    ("object", {"a": 1}),
]


@pytest.mark.parametrize("value", [value for _, value in UNREADABLE], ids=ids(UNREADABLE))
def test_entitlement_that_nobody_can_have_signed(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, value: Any
) -> None:
    """A value that Go cannot read fails where its signature stands, and names the entitlement."""
    signed = sign_license(body, keys)
    signed["spec"]["entitlements"]["seats"]["value"] = value

    found = verifier.verify(signed).signature

    assert found.state is State.INVALID
    assert "value of entitlement 'seats'" in found.detail


@pytest.mark.parametrize(
    ("name", "state"), [("licenseSignature", State.VERIFIED), ("v2LicenseSignature", State.INVALID)]
)
def test_sha256_goes_first(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, name: str, state: SignatureState
) -> None:
    """Where both digests are present SHA-256 decides: a damaged MD5 signature is not looked at."""
    signed = edit_inner(sign_license(body, keys, digests=BOTH), **{name: to_base64(b"damaged")})

    assert verifier.verify(signed).signature.state is state


@pytest.mark.parametrize("name", ["v2LicenseSignature", "v2KeySignature"])
def test_half_of_sha256_is_no_way_back_to_md5(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, name: str
) -> None:
    """One SHA-256 field without the other is a damaged signature, not one with MD5."""
    found = verifier.verify(edit_inner(sign_license(body, keys, digests=BOTH), **{name: None})).signature

    assert found.state is State.INVALID
    assert f"{name} in spec.signature is missing" in found.detail


def test_folded_base64_is_read(verifier: SignatureVerifier, keys: SigningKeys, body: Json) -> None:
    """White space inside base64 is what YAML's folded lines leave there."""
    signed = sign_license(body, keys)
    text = signed["spec"]["signature"]
    signed["spec"]["signature"] = " \n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\n"

    assert verifier.verify(signed).signature.state is State.VERIFIED


@pytest.mark.parametrize("error", [UnsupportedAlgorithm("refused"), InternalError("refused", [])])
def test_refused_md5_is_a_state(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An OpenSSL that refuses MD5 gives a state that says what to do, and SHA-256 goes on."""

    class Key:
        """A key as such an OpenSSL has it."""

        def verify(self, *_: object) -> None:
            raise error

    monkeypatch.setattr(verifier, "_global_keys", {keys.global_key_id: Key()})
    found = verifier.verify(sign_license(body, keys)).signature

    assert found.state is State.UNSUPPORTED
    assert "MD5" in found.detail
    assert "v1beta2" in found.detail


def test_the_most_entitlement_signatures_are_verified(
    verifier: SignatureVerifier, keys: SigningKeys, body: Json
) -> None:
    """At the bound every signature is still verified."""
    signed = sign_license(body, keys)
    seats = signed["spec"]["entitlements"]["seats"]
    signed["spec"]["entitlements"] |= {f"s{number}": seats for number in range(MOST_SIGNATURES - 4)}

    assert verifier.verify(signed).signature.state is State.MODIFIED
