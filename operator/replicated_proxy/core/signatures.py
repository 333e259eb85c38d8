"""What came of looking at a License's signature: values only, since the looking takes cryptography."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from replicated_proxy.core.objects import Body


class SignaturePolicy(StrEnum):
    """What a signature decides (setting `license.signature`)."""

    OFF = "Off"
    WARN = "Warn"
    ENFORCE = "Enforce"


class SignatureState(StrEnum):
    """What came of it; the words are reasons of the condition `SignatureVerified`."""

    VERIFIED = "Verified"
    MODIFIED = "ModifiedAfterSigning"
    UNSIGNED = "Unsigned"
    INVALID = "SignatureInvalid"
    UNKNOWN_KEY = "UnknownSigningKey"
    LEGACY = "LegacySignature"
    UNSUPPORTED = "DigestNotSupported"
    NOT_CHECKED = "NotChecked"


_GENUINE: Final = frozenset({SignatureState.VERIFIED, SignatureState.MODIFIED})


@dataclass(frozen=True, slots=True)
class Signature:
    """What a License's signature says.

    Attributes:
        state: what came of it.
        detail: for people: why it is not accepted, or which fields were edited after signing; never a field's value.
    """

    state: SignatureState = SignatureState.NOT_CHECKED
    detail: str = ""

    @property
    def genuine(self) -> bool:
        """Tell whether the vendor signed what counts: the signed copy, whatever was edited beside it."""
        return self.state in _GENUINE


@dataclass(frozen=True, slots=True)
class VerifiedSpec:
    """A License's `spec` as it counts.

    Attributes:
        spec: the signed copy where the signature is genuine, else the spec as it stands on the object.
        signature: what came of the signature.
    """

    spec: Body
    signature: Signature = Signature()
