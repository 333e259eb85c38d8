"""Whether the vendor signed a License, and what the signed copy says.

A chain of two: a global key, trusted by settings, signs the application's key, which signs a copy of the License
(replicated.md 1.6). Each key is read only after the signature over it was verified.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from replicated_proxy.core.objects import Body, mapping_at, quote, text_at
from replicated_proxy.core.signatures import Signature, SignatureState, VerifiedSpec
from replicated_proxy.signatures.comparing import name_edits
from replicated_proxy.signatures.entitlements import check_entitlements
from replicated_proxy.signatures.envelope import Envelope, open_envelope
from replicated_proxy.signatures.keys import load_global_keys, read_rsa_key
from replicated_proxy.signatures.refusal import Refused, invalid


class SignatureVerifier:
    """Looks at Licenses with a fixed set of trusted keys; without state, so any number of times."""

    def __init__(self, trusted_keys: Mapping[str, str]) -> None:
        """Read the trusted keys: ID to PEM; they are added to Replicated's production key, or replace it.

        Raises:
            InvalidTrustedKey: one of them is no RSA public key.
        """
        self._global_keys = load_global_keys(trusted_keys)

    def verify(self, body: Body) -> VerifiedSpec:
        """Say what came of a License's signature, and which spec counts; never raises, whatever the body is."""
        outer = mapping_at(body, "spec")
        try:
            signed = self._signed_spec(outer)
        except Refused as refused:
            return VerifiedSpec(outer, refused.signature)
        edits = name_edits(outer, signed)
        state = SignatureState.MODIFIED if edits else SignatureState.VERIFIED
        return VerifiedSpec({**signed, "signature": outer["signature"]}, Signature(state, edits))

    def _signed_spec(self, outer: Body) -> Body:
        """Return the spec of the signed copy once every signature was verified."""
        envelope = open_envelope(outer)
        app_key = self._app_key(envelope)
        digest = envelope.digest
        digest.check(app_key, envelope.license_signature, envelope.license_data, "license signature")
        check_entitlements(mapping_at(outer, "entitlements"), digest, app_key)
        return _read_copy(envelope.license_data)

    def _app_key(self, envelope: Envelope) -> RSAPublicKey:
        """Return the application's key once a trusted global key was seen to have signed it."""
        global_key = self._global_keys.get(envelope.global_key_id)
        if global_key is None:
            raise Refused(
                SignatureState.UNKNOWN_KEY,
                f"signed under the global key {quote(envelope.global_key_id)}, which is not trusted: ask the vendor "
                "for a license of Replicated's production, or add the key to license.trustedKeys",
            )
        envelope.digest.check(global_key, envelope.key_signature, envelope.public_key, "global key's signature")
        try:
            return read_rsa_key(envelope.public_key)
        except ValueError as error:
            raise invalid(f"publicKey in spec.signature is {error}") from error


def _read_copy(license_data: bytes) -> Body:
    """Read the spec of the signed copy.

    One without slug or ID vouches for no License, so it must not stand as genuine.
    """
    try:
        spec = mapping_at(msgspec.json.decode(license_data), "spec")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("the signed copy in spec.signature is not JSON") from error
    for name in ("appSlug", "licenseID"):
        if not text_at(spec, name):
            raise invalid(f"the signed copy in spec.signature has no spec.{name}")
    return spec
