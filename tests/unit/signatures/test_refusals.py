"""Every way of being wrong: the state, and which part is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from builders import Json, ids
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.entitlements import MOST_SIGNATURES
from replicated_proxy.signatures.envelope import LONGEST_SIGNATURE
from replicated_proxy.signatures.verifying import SignatureVerifier
from signing import (
    SigningKeys,
    decode_layer,
    edit_inner,
    edit_outer,
    encode_layer,
    seal,
    sign,
    sign_license,
    to_base64,
)

State = SignatureState
Edit = Callable[[Json, SigningKeys, SigningKeys], object]
Row = tuple[str, Edit, SignatureState, str]


def _set(name: str, value: Any) -> Edit:
    """Return an edit that sets a field of the spec."""
    return lambda signed, *_: signed["spec"].__setitem__(name, value)


def _entitle(name: str, **fields: Any) -> Edit:
    """Return an edit of fields of an entitlement."""
    return lambda signed, *_: signed["spec"]["entitlements"][name].update(fields)


def _seal(data: bytes) -> Edit:
    """Return an edit that has the vendor sign something else."""
    return lambda signed, keys, _: signed["spec"].__setitem__("signature", seal(data, keys))


def _swap_entitlements(signed: Json, *_: object) -> None:
    """Give two entitlements each other's signatures."""
    one, other = signed["spec"]["entitlements"]["seats"], signed["spec"]["entitlements"]["beta"]
    one["signature"], other["signature"] = other["signature"], one["signature"]


def _truncate(length: int) -> Edit:
    """Return an edit that cuts the end off the signature."""
    return lambda signed, *_: signed["spec"].__setitem__("signature", signed["spec"]["signature"][:-length])


def _reorder(signed: Json, *_: object) -> None:
    """Turn the signed copy's first fields around: the same License, other bytes."""
    data = decode_layer(decode_layer(signed["spec"]["signature"])["licenseData"])
    edit_outer(signed, licenseData=encode_layer(dict(reversed(data.items()))))


def _legacy(signed: Json, keys: SigningKeys, _: object) -> None:
    """Leave the form from before 2021: the inner layer alone."""
    inner = {"licenseSignature": sign(keys.app_key, b"{}", "md5"), "publicKey": keys.app_pem, "keySignature": "e30="}
    signed["spec"]["signature"] = encode_layer(inner)


def _many_signatures(signed: Json, *_: object) -> None:
    """Repeat an entitlement with its good signature more often than is verified."""
    seats = signed["spec"]["entitlements"]["seats"]
    signed["spec"]["entitlements"] = {f"seats{number}": seats for number in range(MOST_SIGNATURES + 1)}


def _nest(depth: int) -> bytes:
    """Return JSON that is deep."""
    return b"[" * depth + b"]" * depth


WRONG: list[Row] = [
    ("no signature", lambda signed, *_: signed["spec"].pop("signature"), State.UNSIGNED, "spec.signature is empty"),
    ("null", _set("signature", None), State.UNSIGNED, "spec.signature is empty"),
    ("empty", _set("signature", ""), State.UNSIGNED, "spec.signature is empty"),
    ("one space", _set("signature", " "), State.UNSIGNED, "spec.signature is empty"),
    ("a number", _set("signature", 5), State.INVALID, "spec.signature is no text"),
    ("a list", _set("signature", []), State.INVALID, "spec.signature is no text"),
    ("too long", _set("signature", "A" * (LONGEST_SIGNATURE + 1)), State.INVALID, f"{LONGEST_SIGNATURE} characters"),
    ("the most, of nothing", _set("signature", "A" * LONGEST_SIGNATURE), State.INVALID, "hold the JSON"),
    ("no base64", _set("signature", "%%%"), State.INVALID, "spec.signature is not base64"),
    ("beyond ASCII", _set("signature", "ÄÖÜ="), State.INVALID, "spec.signature is not base64"),
    ("padding after a whole group", _set("signature", "e30K=="), State.INVALID, "spec.signature is not base64"),
    ("base64url", _set("signature", "-_-_"), State.INVALID, "spec.signature is not base64"),
    ("no JSON", _set("signature", to_base64(b"hello")), State.INVALID, "spec.signature does not hold the JSON"),
    ("no UTF-8", _set("signature", to_base64(b'{"licenseData":"\xff"}')), State.INVALID, "does not hold the JSON"),
    ("no object", _set("signature", to_base64(b"[]")), State.INVALID, "spec.signature does not hold the JSON"),
    ("deep", _set("signature", to_base64(_nest(50_000))), State.INVALID, "does not hold the JSON"),
    ("deep beside", _set("signature", to_base64(b'{"x":%s}' % _nest(50_000))), State.INVALID, "not hold the JSON"),
    ("truncated by 4", _truncate(4), State.INVALID, "spec.signature does not hold the JSON"),
    ("truncated by 1", _truncate(1), State.INVALID, "spec.signature is not base64"),
    ("empty object", _set("signature", encode_layer({})), State.INVALID, "innerSignature in spec.signature is missing"),
    ("legacy", _legacy, State.LEGACY, "before 2021"),
    ("inner no base64", lambda s, *_: edit_outer(s, innerSignature="?"), State.INVALID, "innerSignature"),
    ("inner a number", lambda s, *_: edit_outer(s, innerSignature=5), State.INVALID, "does not hold the JSON"),
    ("data missing", lambda s, *_: edit_outer(s, licenseData=None), State.INVALID, "licenseData in spec.signature is"),
    (
        "data no base64",
        lambda s, *_: edit_outer(s, licenseData="?"),
        State.INVALID,
        "licenseData in spec.signature is",
    ),
    ("unknown key", lambda s, _, o: s["spec"].update(signature=seal(b"{}", o)), State.UNKNOWN_KEY, "'strangers-key'"),
    (
        "no key ID",
        lambda s, *_: edit_inner(s, keySignature=encode_layer({"signature": "AAAA"})),
        State.UNKNOWN_KEY,
        "global key ''",
    ),
    (
        "wrong global key",
        lambda s, k, o: edit_inner(
            s,
            keySignature=encode_layer(
                {"signature": sign(o.global_key, k.app_pem.encode(), "md5"), "globalKeyId": k.global_key_id}
            ),
        ),
        State.INVALID,
        "global key's signature",
    ),
    ("wrong app key", lambda s, _, o: edit_inner(s, publicKey=o.app_pem), State.INVALID, "global key's signature"),
    ("no app key", lambda s, *_: edit_inner(s, publicKey=None), State.INVALID, "global key's signature"),
    (
        "signed by another app",
        lambda s, _, o: edit_inner(s, licenseSignature=sign(o.app_key, b"{}", "md5")),
        State.INVALID,
        "license signature",
    ),
    (
        "key unsigned",
        lambda s, *_: edit_inner(s, keySignature=None),
        State.INVALID,
        "keySignature in spec.signature is",
    ),
    (
        "key no object",
        lambda s, *_: edit_inner(s, keySignature="W10="),
        State.INVALID,
        "keySignature in spec.signature",
    ),
    ("no license signature", lambda s, *_: edit_inner(s, licenseSignature=""), State.INVALID, "licenseSignature in"),
    ("short license signature", lambda s, *_: edit_inner(s, licenseSignature="AAAA"), State.INVALID, "license signat"),
    ("re-ordered", _reorder, State.INVALID, "the license signature does not fit"),
    ("other data", lambda s, *_: edit_outer(s, licenseData="e30="), State.INVALID, "the license signature does not"),
    ("changed entitlement", _entitle("seats", value=99), State.INVALID, "signature of entitlement 'seats'"),
    ("text for number", _entitle("beta", value="False"), State.INVALID, "signature of entitlement 'beta'"),
    ("value added", _entitle("plan", value=""), State.INVALID, "signature of entitlement 'plan'"),
    ("value taken", _entitle("expires_at", value=None), State.INVALID, "signature of entitlement 'expires_at'"),
    ("swapped entitlements", _swap_entitlements, State.INVALID, "signature of entitlement 'seats'"),
    (
        "entitlement base64",
        _entitle("seats", signature={"v1": "?"}),
        State.INVALID,
        "entitlement 'seats' is not base64",
    ),
    ("entitlement type", _entitle("seats", signature={"v1": [5]}), State.INVALID, "entitlement 'seats' is no text"),
    ("many entitlements", _many_signatures, State.INVALID, f"more than {MOST_SIGNATURES} signatures"),
    ("copy no JSON", _seal(b"hello"), State.INVALID, "the signed copy in spec.signature is not JSON"),
    ("copy deep", _seal(_nest(50_000)), State.INVALID, "the signed copy in spec.signature is not JSON"),
    ("copy empty", _seal(b"{}"), State.INVALID, "the signed copy in spec.signature has no spec.appSlug"),
    ("copy a list", _seal(b"[]"), State.INVALID, "the signed copy in spec.signature has no spec.appSlug"),
    (
        "copy without ID",
        _seal(b'{"spec":{"appSlug":"my-app"}}'),
        State.INVALID,
        "the signed copy in spec.signature has no spec.licenseID",
    ),
]


@pytest.mark.parametrize("row", WRONG, ids=ids(WRONG))
def test_every_way_of_being_wrong(
    verifier: SignatureVerifier, keys: SigningKeys, strangers: SigningKeys, body: Json, row: Row
) -> None:
    """What is wrong has its state, a detail that says which part, and the object's own spec beside it."""
    _, edit, state, detail = row
    wrong = sign_license(body, keys)
    edit(wrong, keys, strangers)

    found = verifier.verify(wrong)

    assert found.signature.state is state
    assert detail in found.signature.detail
    assert not found.signature.genuine
    assert found.spec == wrong["spec"]


SECRET = "a-value-that-nobody-may-read"


@pytest.mark.parametrize(
    "edit",
    [
        _set("signature", SECRET),
        _set("signature", encode_layer({"innerSignature": SECRET})),
        _set("licenseID", SECRET),
        _entitle("expires_at", value=SECRET),
        _entitle("seats", signature={"v1": SECRET}),
        _entitle("plan", signature={}, value=SECRET),
        _entitle("plan", value={SECRET: SECRET}),
        lambda s, *_: edit_inner(s, publicKey=SECRET),
        _seal(SECRET.encode()),
    ],
)
def test_details_hold_no_values(verifier: SignatureVerifier, keys: SigningKeys, body: Json, edit: Edit) -> None:
    """Whatever is edited, people are told where, and never what stands there."""
    wrong = sign_license(body, keys)
    edit(wrong, keys, keys)

    found = verifier.verify(wrong).signature

    assert found.detail
    assert SECRET not in found.detail
