"""How many reviews wait for registries: each keeps its Pod in memory and its connection open meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Gauge

_MOST: Final = 256
_MOST_OF_NAMESPACE: Final = 64


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
        if self._inside.total() >= self._most or self._inside[namespace] >= self._most_of_namespace:
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
