"""Why a signature is not accepted: raised where it is seen, turned into a value by the verifier alone."""

from __future__ import annotations

from replicated_proxy.core.signatures import Signature, SignatureState


class Refused(Exception):
    """A signature that proves nothing. It holds names and reasons, never a value of the License."""

    def __init__(self, state: SignatureState, detail: str) -> None:
        super().__init__(detail)
        self.signature = Signature(state, detail)


def invalid(problem: str) -> Refused:
    """Return what is raised for a signature that is damaged, forged, or made for another License."""
    return Refused(SignatureState.INVALID, f"{problem}: apply the vendor portal's license.yaml unchanged")
