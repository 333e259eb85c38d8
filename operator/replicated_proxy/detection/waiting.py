"""How many reviews wait for registries: each keeps its Pod in memory and its connection open meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Gauge

from replicated_proxy.core.askers import is_unnamed

_MOST: Final = 256
_MOST_OF_NAMESPACE: Final = 64
_UNNAMED_SHARE: Final = 2


class WaitingRoom:
    """Lets in as many reviews as may wait, and not only those of one namespace."""

    def __init__(self, gauge: Gauge, most: int = _MOST, most_of_namespace: int = _MOST_OF_NAMESPACE) -> None:
        self._gauge = gauge
        self._most = most
        self._most_of_namespace = most_of_namespace
        self._inside: Counter[str] = Counter()

    @contextmanager
    def enter(self, namespace: str) -> Iterator[bool]:
        """Let a review in, which gives True, or tell it not to wait."""
        if self._is_full_for(namespace):
            yield False
            return
        self._inside[namespace] += 1
        self._gauge.inc()
        try:
            yield True
        finally:
            self._gauge.dec()
            self._inside[namespace] -= 1
            if not self._inside[namespace]:
                del self._inside[namespace]

    def _is_full_for(self, namespace: str) -> bool:
        """Tell whether no more may wait, of a namespace, of those that the table does not name, or of all."""
        if self._inside.total() >= self._most or self._inside[namespace] >= self._most_of_namespace:
            return True
        if not is_unnamed(namespace):
            return False
        unnamed = sum(number for each, number in self._inside.items() if is_unnamed(each))
        return unnamed >= max(1, self._most // _UNNAMED_SHARE)
