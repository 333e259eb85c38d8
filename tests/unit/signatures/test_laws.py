"""Laws of signatures: nothing raises, nothing damaged is genuine."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, a_license_body
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.verifying import SignatureVerifier
from signing import MD5, SHA256, SigningKeys, decode_layer, edit_inner, edit_outer, encode_layer, seal, sign_license

_NAMES = [
    "spec", "signature", "entitlements", "channels", "value", "v1", "v2", "licenseData", "innerSignature", "publicKey",
    "keySignature", "licenseSignature", "v2KeySignature", "v2LicenseSignature", "globalKeyId", "appSlug", "licenseID",
]  # fmt: skip
_TEXTS = st.text() | st.characters(categories=["Cs"]) | st.just("eyJ4IjoxfQ==")
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.just(10**300)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES) | _TEXTS, inner, max_size=5),
    max_leaves=20,
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES) | st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(body=st.dictionaries(st.sampled_from(_NAMES), _ANYTHING, max_size=5))
def test_no_body_raises(verifier: SignatureVerifier, body: Json) -> None:
    """Whatever stands in a License, an answer comes, and it is not that the vendor signed it."""
    assert not verifier.verify(body).signature.genuine


@given(fields=st.dictionaries(st.sampled_from(_NAMES), _ANYTHING, max_size=5))
def test_no_spec_beside_a_good_signature_raises(
    verifier: SignatureVerifier, keys: SigningKeys, fields: dict[str, Any]
) -> None:
    """Whatever stands beside a good signature, either the signed copy counts or nothing does."""
    signed = _signed(keys, MD5)
    outer = signed["spec"] | fields | {"signature": signed["spec"]["signature"]}

    found = verifier.verify({"spec": outer})

    if found.signature.genuine:
        assert found.spec == signed["spec"]
    else:
        assert found.spec is outer
        assert found.signature.state is SignatureState.INVALID


@given(layer=_JSON, field=st.sampled_from(["outer", "inner", "key"]))
def test_no_envelope_raises(verifier: SignatureVerifier, keys: SigningKeys, layer: object, field: str) -> None:
    """Whatever JSON stands in a layer of a signature, it is no genuine one."""
    signed = _signed(keys, MD5)
    if field == "outer":
        signed["spec"]["signature"] = encode_layer(layer)
    elif field == "inner":
        edit_outer(signed, innerSignature=encode_layer(layer))
    else:
        edit_inner(signed, keySignature=encode_layer(layer))

    assert not verifier.verify(signed).signature.genuine


@given(copy=_JSON)
def test_no_signed_copy_raises(verifier: SignatureVerifier, keys: SigningKeys, copy: object) -> None:
    """Whatever a vendor signed, it is read or named as no License."""
    found = verifier.verify({"spec": {"signature": seal(json.dumps(copy).encode(), keys)}})

    assert found.signature.genuine or found.signature.state is SignatureState.INVALID


@pytest.mark.parametrize("digests", [MD5, SHA256])
@pytest.mark.parametrize("part", ["licenseData", "licenseSignature", "publicKey", "keySignature"])
@given(data=st.data())
def test_no_flipped_bit_is_genuine(
    verifier: SignatureVerifier, keys: SigningKeys, digests: Sequence[str], part: str, data: st.DataObject
) -> None:
    """A single bit changed in the signed copy, in a key or in a signature leaves nothing genuine."""
    signed = _signed(keys, digests)
    outer = decode_layer(signed["spec"]["signature"])
    inner = decode_layer(outer["innerSignature"])
    prefix = part if digests == MD5 else f"v2{part[0].upper()}{part[1:]}"

    def flip(content: bytes) -> bytes:
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    def flip_text(text: str) -> str:
        return base64.b64encode(flip(base64.b64decode(text))).decode()

    if part == "licenseData":
        edit_outer(signed, licenseData=flip_text(outer[part]))
    elif part == "publicKey":
        edit_inner(signed, publicKey=flip(inner[part].encode()).decode("latin-1"))
    elif part == "licenseSignature":
        edit_inner(signed, **{prefix: flip_text(inner[prefix])})
    else:
        layer = decode_layer(inner[prefix])
        edit_inner(signed, **{prefix: encode_layer(layer | {"signature": flip_text(layer["signature"])})})

    assert verifier.verify(signed).signature.state is SignatureState.INVALID


@given(cut=st.integers(min_value=1))
def test_no_truncated_signature_is_genuine(verifier: SignatureVerifier, keys: SigningKeys, cut: int) -> None:
    """A signature whose end is missing is never genuine."""
    signed = _signed(keys, MD5)
    text = signed["spec"]["signature"]
    signed["spec"]["signature"] = text[: -(cut % len(text)) or -1]

    assert not verifier.verify(signed).signature.genuine


def _signed(keys: SigningKeys, digests: Sequence[str]) -> Json:
    """Return a signed License."""
    return sign_license(a_license_body(entitlements={"seats": {"value": 10}}), keys, digests=digests)
