"""Opening `spec.signature`: base64 and JSON, three layers deep. Nothing in it is believed here."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from replicated_proxy.core.objects import Body
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.digests import MD5, SHA256, Digest
from replicated_proxy.signatures.refusal import Refused, invalid

LONGEST_SIGNATURE: Final = 512 * 1024
_SPACE: Final = b" \t\r\n"
# Python's strict mode passes over padding that follows a whole group; Go refuses it.
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_T = TypeVar("_T")


class _Outer(msgspec.Struct, frozen=True, rename="camel"):
    """The first layer; of a signature from before 2021 its own fields instead, which are the inner layer's."""

    license_data: str | None = None
    inner_signature: str | None = None
    license_signature: str | None = None
    public_key: str | None = None


class _Inner(msgspec.Struct, frozen=True, rename="camel"):
    """The second layer: the application's key and what was signed with which digest."""

    public_key: str | None = None
    license_signature: str | None = None
    key_signature: str | None = None
    v2_license_signature: str | None = None
    v2_key_signature: str | None = None


class _KeySignature(msgspec.Struct, frozen=True, rename="camel"):
    """The third layer: a global key's signature over the application's key."""

    signature: str | None = None
    global_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What `spec.signature` holds.

    Attributes:
        digest: what it was signed with: SHA-256 where such signatures are present, else MD5.
        license_data: the signed copy of the License, JSON.
        license_signature: the application key's signature over it.
        public_key: the application's key, PEM, byte for byte as signed.
        key_signature: the global key's signature over that.
        global_key_id: which global key.
    """

    digest: Digest
    license_data: bytes
    license_signature: bytes
    public_key: bytes
    key_signature: bytes
    global_key_id: str


def open_envelope(spec: Body) -> Envelope:
    """Open the signature of a License's spec.

    Raises:
        Refused: there is none, it has the legacy form, or it is damaged.
    """
    outer = _decode(_Outer, _signature_text(spec), "spec.signature")
    if not outer.inner_signature and outer.public_key and outer.license_signature:
        raise Refused(
            SignatureState.LEGACY,
            "spec.signature has the form from before 2021, which nobody verifies any more: download the license anew",
        )
    inner = _decode(_Inner, outer.inner_signature, "innerSignature in spec.signature")
    if inner.v2_key_signature or inner.v2_license_signature:
        digest, names = SHA256, ("v2LicenseSignature", "v2KeySignature")
        license_signature, key_signature = inner.v2_license_signature, inner.v2_key_signature
    else:
        digest, names = MD5, ("licenseSignature", "keySignature")
        license_signature, key_signature = inner.license_signature, inner.key_signature
    key = _decode(_KeySignature, key_signature, f"{names[1]} in spec.signature")
    return Envelope(
        digest=digest,
        license_data=from_base64(outer.license_data, "licenseData in spec.signature"),
        license_signature=from_base64(license_signature, f"{names[0]} in spec.signature"),
        public_key=(inner.public_key or "").encode(),
        key_signature=from_base64(key.signature, f"signature in {names[1]} in spec.signature"),
        global_key_id=key.global_key_id or "",
    )


def from_base64(text: object, part: str) -> bytes:
    """Decode standard base64; white space is tolerated, since YAML folds long lines.

    Raises:
        Refused: it is missing, empty, or something else.
    """
    if text is None or text == "":
        raise invalid(f"{part} is missing")
    if not isinstance(text, str):
        raise invalid(f"{part} is no text")
    packed = text.encode(errors="replace").translate(None, _SPACE)
    if not _BASE64.fullmatch(packed):
        raise invalid(f"{part} is not base64")
    return binascii.a2b_base64(packed)


def _signature_text(spec: Body) -> object:
    """Return `spec.signature` as it stands, unless it is none or too long to look at."""
    text = spec.get("signature")
    if text is None or (isinstance(text, str) and not text.strip()):
        raise Refused(
            SignatureState.UNSIGNED, "spec.signature is empty: apply the vendor portal's license.yaml unchanged"
        )
    if isinstance(text, str) and len(text) > LONGEST_SIGNATURE:
        raise invalid(f"spec.signature is longer than {LONGEST_SIGNATURE} characters")
    return text


def _decode(kind: type[_T], text: object, part: str) -> _T:
    """Decode one layer: base64 of a JSON object; fields that it does not name are passed over."""
    data = from_base64(text, part)
    try:
        return msgspec.json.decode(data, type=kind)
    except _UNREADABLE as error:
        raise invalid(f"{part} does not hold the JSON of a signature") from error
