"""What is assumed of repositories, remembered."""

from __future__ import annotations

from typing import Final

from replicated_proxy.core.assumptions import Assumptions
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.visibility import Visibility

_MOST_ASSUMED: Final = 1000


class Assumed:
    """What is assumed of repositories; comparing with every pattern takes longer than all the rest of a look.

    Bounded, because whoever creates Pods chooses the names.
    """

    def __init__(self, assumptions: Assumptions) -> None:
        self._assumptions = assumptions
        self._known: dict[str, Visibility | None] = {}

    def of(self, reference: ImageReference) -> Visibility | None:
        """Return what is assumed of an image, if anything is."""
        repository = reference.repository
        if repository not in self._known:
            if len(self._known) >= _MOST_ASSUMED:
                self._known.clear()
            self._known[repository] = self._assumptions.of(reference)
        return self._known[repository]
