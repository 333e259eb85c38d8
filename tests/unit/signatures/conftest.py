"""Keys for the tests of signatures: making them takes long, so each is made once."""

from __future__ import annotations

import pytest

from builders import Json, a_license_body
from replicated_proxy.signatures.verifying import SignatureVerifier
from signing import SigningKeys


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    """Return the keys that the verifier trusts."""
    return SigningKeys.make()


@pytest.fixture(scope="session")
def strangers() -> SigningKeys:
    """Return keys that nobody trusts."""
    return SigningKeys.make("strangers-key")


@pytest.fixture(scope="session")
def verifier(keys: SigningKeys) -> SignatureVerifier:
    """Return a verifier that trusts the keys beside Replicated's own."""
    return SignatureVerifier(keys.trusted)


@pytest.fixture
def body() -> Json:
    """Return a License as a vendor portal hands it out, before it is signed."""
    return a_license_body(
        channels=[
            {"channelID": "c1", "channelName": "Stable", "isDefault": True, "replicatedProxyDomain": "images.acme.com"},
            {"channelID": "c2", "channelName": "Beta", "endpoint": "https://updates.acme.com"},
        ],
        customerName="Customer",
        endpoint="https://updates.acme.com",
        licenseSequence=7,
        isAirgapSupported=True,
        isNewKotsUiEnabled=True,
        entitlements={
            "expires_at": {"title": "Expiration", "value": "2030-07-27T00:00:00Z", "valueType": "String"},
            "seats": {"title": "Seats", "value": 10, "valueType": "Integer"},
            "beta": {"title": "Beta", "value": False, "valueType": "Boolean"},
            "plan": {"title": "Plan", "valueType": "Enum"},
        },
    )
