"""The signatures of single entitlements, which let an application check one field alone."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from replicated_proxy.core.objects import Body, mapping_at, quote
from replicated_proxy.signatures.digests import Digest
from replicated_proxy.signatures.envelope import from_base64
from replicated_proxy.signatures.refusal import invalid

MOST_SIGNATURES: Final = 500
_INT64_END: Final = 2**63


def check_entitlements(entitlements: Body, digest: Digest, key: RSAPublicKey) -> None:
    """Verify the signature of every entitlement that has one of this digest.

    Raises:
        Refused: one does not fit the entitlement's value, or there are too many to verify them all.
    """
    found = {name: mapping_at(it, "signature").get(digest.version) for name, it in entitlements.items()}
    signatures = {name: text for name, text in found.items() if text is not None and text != ""}
    if len(signatures) > MOST_SIGNATURES:
        raise invalid(f"spec.entitlements has more than {MOST_SIGNATURES} signatures, the most that are verified")
    for name, text in signatures.items():
        part = f"signature of entitlement {quote(name)}"
        message = _message(mapping_at(entitlements, name), digest, name)
        digest.check(key, from_base64(text, part), message, part)


def _message(entitlement: Body, digest: Digest, name: str) -> bytes:
    """Return the text that was signed for a value: what Go prints for it."""
    value = entitlement.get("value")
    if value is None:
        return digest.missing_value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    # YAML's 1.232435e+06 arrives as a float, and was signed as the integer that it is. Go reads 64 bits at most.
    if isinstance(value, int | float) and -_INT64_END <= value < _INT64_END and value == int(value):
        return b"%d" % value
    raise invalid(f"the value of entitlement {quote(name)} is no text, integer or boolean, and those alone are signed")
