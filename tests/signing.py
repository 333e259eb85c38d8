"""Signing licenses as Replicated does, with keys made here: for tests of whatever reads signatures."""

from __future__ import annotations

import base64
import copy
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from builders import Json

_ALGORITHMS: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "md5": hashes.MD5(),  # noqa: S303 - the format's own digest.
    "sha256": hashes.SHA256(),
}
_VERSIONS: Final = {"md5": "v1", "sha256": "v2"}
_PREFIXES: Final = {"md5": ("licenseSignature", "keySignature"), "sha256": ("v2LicenseSignature", "v2KeySignature")}
_MISSING_VALUES: Final = {"md5": "<nil>", "sha256": "0"}
MD5: Final = ("md5",)
SHA256: Final = ("sha256",)
BOTH: Final = ("md5", "sha256")


@functools.cache
def _make_key(name: str) -> rsa.RSAPrivateKey:
    """Make an RSA key, once per name and session: making one takes long."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """Return the public half in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The private halves that Replicated holds.

    Attributes:
        global_key_id: under which name the global key is trusted.
        global_key: vouches for the application's key.
        app_key: signs the License and its entitlements.
    """

    global_key_id: str
    global_key: rsa.RSAPrivateKey
    app_key: rsa.RSAPrivateKey

    @classmethod
    def make(cls, global_key_id: str = "test-global-key") -> SigningKeys:
        """Make keys; the same ones for the same ID."""
        return cls(global_key_id, _make_key(f"global {global_key_id}"), _make_key(f"app of {global_key_id}"))

    @property
    def trusted(self) -> dict[str, str]:
        """What the setting `license.trustedKeys` says to trust them."""
        return {self.global_key_id: public_pem(self.global_key)}

    @property
    def app_pem(self) -> str:
        """The application's public key, as it is signed."""
        return public_pem(self.app_key)

    def with_app_of(self, other: SigningKeys) -> SigningKeys:
        """Return these keys with another application's key."""
        return replace(self, app_key=other.app_key)


def sign(key: rsa.RSAPrivateKey, message: bytes, digest: str) -> str:
    """Return the base64 of a signature."""
    algorithm = _ALGORITHMS[digest]
    pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.DIGEST_LENGTH)
    return to_base64(key.sign(message, pss, algorithm))


def to_base64(data: bytes) -> str:
    """Return the base64 of bytes."""
    return base64.b64encode(data).decode()


def sign_license(
    body: Json, keys: SigningKeys, *, digests: Sequence[str] = MD5, sign_entitlements: bool = True
) -> Json:
    """Return a License with its signature, signed with one digest (`MD5`, `SHA256`) or `BOTH`."""
    signed: Json = copy.deepcopy(body)
    entitlements = signed["spec"].get("entitlements", {}) if sign_entitlements else {}
    for entitlement in entitlements.values():
        entitlement["signature"] = {
            _VERSIONS[digest]: sign(keys.app_key, _signed_text(entitlement, digest), digest) for digest in digests
        }
    signed["spec"]["signature"] = seal(license_data(signed), keys, digests)
    return signed


def license_data(body: Json) -> bytes:
    """Return the copy of a License that is signed: JSON without status and signature."""
    spec = {name: value for name, value in body["spec"].items() if name != "signature"}
    metadata = {"name": body["metadata"]["name"]}
    document = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": spec}
    return json.dumps(document, separators=(",", ":")).encode()


def seal(data: bytes, keys: SigningKeys, digests: Sequence[str] = MD5) -> str:
    """Return a `spec.signature` over any data."""
    inner: Json = {"publicKey": keys.app_pem}
    for digest in digests:
        license_field, key_field = _PREFIXES[digest]
        key_signature = sign(keys.global_key, keys.app_pem.encode(), digest)
        inner[license_field] = sign(keys.app_key, data, digest)
        inner[key_field] = encode_layer({"signature": key_signature, "globalKeyId": keys.global_key_id})
    return encode_layer({"licenseData": to_base64(data), "innerSignature": encode_layer(inner)})


def encode_layer(content: object) -> str:
    """Return one layer of a signature: base64 of JSON."""
    return to_base64(json.dumps(content).encode())


def decode_layer(text: str) -> Json:
    """Return what one layer of a signature holds."""
    content: Json = json.loads(base64.b64decode(text))
    return content


def edit_outer(signed: Json, **fields: Any) -> Json:
    """Change fields of a signature's first layer."""
    spec = signed["spec"]
    spec["signature"] = encode_layer(decode_layer(spec["signature"]) | fields)
    return signed


def edit_inner(signed: Json, **fields: Any) -> Json:
    """Change fields of a signature's second layer."""
    inner = decode_layer(decode_layer(signed["spec"]["signature"])["innerSignature"])
    return edit_outer(signed, innerSignature=encode_layer(inner | fields))


def _signed_text(entitlement: Mapping[str, Any], digest: str) -> bytes:
    """Return what Go prints for an entitlement's value, by way of JSON, which says true and 10 as Go does."""
    if "value" not in entitlement:
        return _MISSING_VALUES[digest].encode()
    value = entitlement["value"]
    if isinstance(value, float):
        value = int(value)
    return (value if isinstance(value, str) else json.dumps(value)).encode()
