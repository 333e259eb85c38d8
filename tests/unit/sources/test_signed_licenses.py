"""Signed licenses in Secrets: what is read is what was signed, however the file spells it."""

from __future__ import annotations

import pytest
import yaml

from builders import a_license_body
from license_secrets import LICENSE_KEY, SDK_KEY, a_secret, a_source, sdk_config
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.verifying import SignatureVerifier
from replicated_proxy.sources.license_secrets import read_license_secret
from signing import MD5, SHA256, SigningKeys, sign_license

ENTITLEMENTS = {
    "expires_at": {"title": "Expiration", "value": "2030-07-27T00:00:00Z", "valueType": "String"},
    "limit": {"title": "Limit", "value": 1232435, "valueType": "Integer"},
    "seats": {"title": "Seats", "value": 10, "valueType": "Integer"},
    "empty": {"title": "Empty", "value": "", "valueType": "String"},
    "beta": {"title": "Beta", "value": True, "valueType": "Boolean"},
    "plan": {"title": "Plan", "value": "on", "valueType": "String"},
}
SPELLINGS = {
    "as written by a YAML library": {},
    "a date without quotes": {"'2030-07-27T00:00:00Z'": "2030-07-27T00:00:00Z"},
    "a number with an exponent": {"1232435": "1.232435e+06"},
    "a text that old readers take for true": {"'on'": "on"},
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("digests", [MD5, SHA256], ids=["v1beta1", "v1beta2"])
def test_signature_survives_the_secret(spelling: dict[str, str], digests: tuple[str, ...]) -> None:
    """A vendor's signature over values is genuine after the way through YAML, a Secret and back."""
    keys = SigningKeys.make()
    text = yaml.safe_dump(sign_license(a_license_body(entitlements=ENTITLEMENTS), keys, digests=digests))
    for written, instead in spelling.items():
        assert written in text
        text = text.replace(written, instead)
    secret = a_secret({LICENSE_KEY: text, SDK_KEY: sdk_config(text)})
    verifier = SignatureVerifier(keys.trusted)

    for key in (LICENSE_KEY, SDK_KEY):
        verified = verifier.verify(read_license_secret(secret, a_source(key)).body)

        assert (verified.signature.state, verified.signature.detail) == (SignatureState.VERIFIED, "")
