"""AdmissionReview v1 as it goes out: a verdict to bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from replicated_proxy.core.admission import Verdict
from replicated_proxy.webhook.reviews import API_VERSION, KIND


class _Response(msgspec.Struct, omit_defaults=True, gc=False):
    """What follows the `uid`."""

    allowed: bool
    patch: str | None = None
    patchType: Literal["JSONPatch"] | None = None  # noqa: N815
    warnings: tuple[str, ...] = ()
    auditAnnotations: Mapping[str, str] | None = None  # noqa: N815


_encode: Final = msgspec.json.Encoder().encode
_HEAD: Final = b'{"apiVersion":"' + API_VERSION.encode() + b'","kind":"' + KIND.encode() + b'","response":{"uid":'
UNCHANGED_TAIL: Final = b',"allowed":true}}'
_PATCHED: Final = b',"allowed":true,"patch":'


def encode_answer(uid: str, tail: bytes) -> bytes:
    """Put an answer together: all but the `uid` may have been encoded for another review that asked the same."""
    return _HEAD + _encode(uid) + tail


def encode_tail(verdict: Verdict) -> bytes:
    """Encode "allowed" with patch, warnings and audit annotations: what follows the `uid`.

    `patchType` stands only beside a patch: alone the API server takes the answer for an error.
    """
    patch = verdict.patch
    response = _Response(
        allowed=True,
        patch=base64.b64encode(_encode(patch)).decode() if patch else None,
        patchType="JSONPatch" if patch else None,
        warnings=verdict.warnings,
        auditAnnotations=verdict.audit or None,
    )
    return b"," + _encode(response)[1:] + b"}"


def is_patched(tail: bytes) -> bool:
    """Tell whether an encoded answer changes the Pod."""
    return tail.startswith(_PATCHED)


def encode_unchanged(uid: str) -> bytes:
    """Answer "allowed" and nothing else."""
    return encode_answer(uid, UNCHANGED_TAIL)


def encode_verdict(uid: str, verdict: Verdict) -> bytes:
    """Answer "allowed" with patch, warnings and audit annotations."""
    return encode_answer(uid, encode_tail(verdict))


def encode_error(message: str) -> bytes:
    """Write the body of an error: short, since the API server may show it to the user."""
    return _encode({"error": message})
