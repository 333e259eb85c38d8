"""A namespace as far as the product cares, and what labels say on it and on Pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

APP_LABEL: Final = "proxy.kots.io/app"
REWRITE_LABEL: Final = "proxy.kots.io/rewrite"
SYNC_LABEL: Final = "proxy.kots.io/sync"
DISABLED: Final = "disabled"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as far as coverage cares.

    Attributes:
        name: its name.
        uid: told apart from an earlier namespace of the same name.
        labels: as on the object.
        terminating: being deleted; nothing can be created in it.
    """

    name: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    terminating: bool = False

    @property
    def opted_out(self) -> bool:
        """Tell whether the namespace itself asks to be left out."""
        return self.labels.get(SYNC_LABEL) == DISABLED
