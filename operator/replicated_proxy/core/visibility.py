"""Can anybody pull an image without a password? The words, and what to do while nobody knows.

Visibility is a property of the repository, not of a tag (reference/references.md 3.6). KOTS's rule: what cannot be
fetched anonymously goes through the proxy, whatever the error was.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from replicated_proxy.core.images import ImageReference


class Visibility(StrEnum):
    """Who can pull a repository's images."""

    PUBLIC = "Public"
    """Anybody."""
    PRIVATE = "Private"
    """Whoever has credentials, or nobody knows who."""
    INTERNAL = "Internal"
    """Whoever reaches the registry: it is on somebody's own network, where Replicated's service does not."""
    PRESUMED_PRIVATE = "PresumedPrivate"
    """Nobody knows: the registry gave no answer, or not yet, and what is not known counts as private."""
    PRESUMED_PUBLIC = "PresumedPublic"
    """Likewise where what is not known counts as public."""


SAID_BY_REGISTRIES: Final = frozenset({Visibility.PUBLIC, Visibility.PRIVATE, Visibility.INTERNAL})
PRESUMED: Final = frozenset({Visibility.PRESUMED_PRIVATE, Visibility.PRESUMED_PUBLIC})

VisibilityOf = Callable[[ImageReference], Visibility]


def assume_private(_reference: ImageReference) -> Visibility:
    """Take every image for private, where nobody asks registries."""
    return Visibility.PRIVATE


class OnError(StrEnum):
    """What an image counts as when its registry gave no answer."""

    PRIVATE = "Private"
    PUBLIC = "Public"

    @property
    def presumed(self) -> Visibility:
        """Return what an image is presumed to be."""
        return Visibility.PRESUMED_PUBLIC if self is OnError.PUBLIC else Visibility.PRESUMED_PRIVATE
