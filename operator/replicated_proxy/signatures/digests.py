"""RSA-PSS with the two digests that licenses are signed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.refusal import Refused, invalid


@dataclass(frozen=True, slots=True)
class Digest:
    """One of the two ways of signing.

    Attributes:
        name: for people.
        version: the key under an entitlement's `signature`.
        missing_value: what Go prints, and so what is signed, for an entitlement without a value.
        algorithm: the digest of the message and of the mask (MGF1).
        padding: PSS; verifying takes any length of salt, as Go's `PSSSaltLengthAuto`.
    """

    name: str
    version: str
    missing_value: bytes
    algorithm: hashes.HashAlgorithm
    padding: padding.PSS

    def check(self, key: RSAPublicKey, signature: bytes, message: bytes, part: str) -> None:
        """Verify a signature; `part` names it for people.

        Raises:
            Refused: it is not this key's over this message, or OpenSSL refuses the digest.
        """
        try:
            key.verify(signature, message, self.padding, self.algorithm)
        except (InvalidSignature, ValueError) as error:
            raise invalid(f"the {part} does not fit what it signs") from error
        except (UnsupportedAlgorithm, InternalError) as error:
            raise Refused(
                SignatureState.UNSUPPORTED,
                f"the {part} cannot be verified: OpenSSL here refuses {self.name}, as it does in FIPS mode; ask "
                "the vendor for a license of kots.io/v1beta2, which is signed with SHA-256, or run the controller "
                f"where {self.name} may be used",
            ) from error


def _digest(name: str, version: str, missing_value: bytes, algorithm: hashes.HashAlgorithm) -> Digest:
    """Return a way of signing whose mask is made with its own digest."""
    pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)
    return Digest(name, version, missing_value, algorithm, pss)


# MD5 is what Replicated signs kots.io/v1beta1 with; nothing of ours is signed or named by it.
MD5: Final = _digest("MD5", "v1", b"<nil>", hashes.MD5())  # noqa: S303 - the format's own digest.
SHA256: Final = _digest("SHA-256", "v2", b"0", hashes.SHA256())
