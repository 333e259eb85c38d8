"""AdmissionReview v1 as it goes out: a verdict to bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from replicated_proxy.core.admission import Verdict
from replicated_proxy.webhook.reviews import API_VERSION, KIND


class _Response(msgspec.Struct, omit_defaults=True, gc=False):
    uid: str
    allowed: bool
    patch: str | None = None
    patchType: Literal["JSONPatch"] | None = None  # noqa: N815
    warnings: tuple[str, ...] = ()
    auditAnnotations: Mapping[str, str] | None = None  # noqa: N815


class _Answer(msgspec.Struct, gc=False):
    apiVersion: str  # noqa: N815
    kind: str
    response: _Response


_encode: Final = msgspec.json.Encoder().encode
_UNCHANGED: Final = (
    b'{"apiVersion":"' + API_VERSION.encode() + b'","kind":"' + KIND.encode() + b'","response":{"uid":',
    b',"allowed":true}}',
)


def encode_unchanged(uid: str) -> bytes:
    """Answer "allowed" and nothing else."""
    return _UNCHANGED[0] + _encode(uid) + _UNCHANGED[1]


def encode_verdict(uid: str, verdict: Verdict) -> bytes:
    """Answer "allowed" with patch, warnings and audit annotations.

    `patchType` stands only beside a patch: alone the API server takes the answer for an error.
    """
    patch = verdict.patch
    response = _Response(
        uid=uid,
        allowed=True,
        patch=base64.b64encode(_encode(patch)).decode() if patch else None,
        patchType="JSONPatch" if patch else None,
        warnings=verdict.warnings,
        auditAnnotations=verdict.audit or None,
    )
    return _encode(_Answer(API_VERSION, KIND, response))


def encode_error(message: str) -> bytes:
    """Write the body of an error: short, since the API server may show it to the user."""
    return _encode({"error": message})
