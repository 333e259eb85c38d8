"""How fast questions to registries may follow one another: of a replica, and of those who ask.

Limits on how many go on at a time do not bound how many there are in an hour: a registry that answers at once takes
hundreds in a second. Who asks is what a caller says it is, so the names are bounded too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from replicated_proxy.core.askers import is_unnamed

_WINDOW: Final = 30.0  # Seconds' worth that may come at once: a whole application's images when it is rolled out.
_NAMESPACES_SHARE: Final = 5
_UNNAMED_SHARE: Final = 2


class _Bucket:
    """A token bucket; full when it is made."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = self._most
        self._at = now

    @property
    def _most(self) -> float:
        """What it holds when it is full; never less than one, or it would give nothing ever."""
        return max(1.0, self._rate * _WINDOW)

    def has(self, now: float) -> bool:
        """Tell whether there is one."""
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._left >= 1.0

    def take(self) -> None:
        """Take one, which there has to be."""
        self._left -= 1.0

    def is_full(self, now: float) -> bool:
        """Tell whether it is as good as new."""
        return self.has(now) and self._left >= self._most


class Pace:
    """Says whether one more question may begin now."""

    def __init__(self, per_second: float, now: Callable[[], float]) -> None:
        self._now = now
        self._replica = _Bucket(per_second, now())
        self._unnamed = _Bucket(per_second / _UNNAMED_SHARE, now())
        self._namespaces_rate = per_second / _NAMESPACES_SHARE
        self._namespaces: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Return of how many namespaces something is remembered."""
        return len(self._namespaces)

    def take(self, asker: str) -> str:
        """Use up one question of an asker; returns whose limit is reached where that is not possible, or nothing.

        Memory is bounded by the replica's own limit: what is remembered of a namespace goes when its bucket is full
        again, and no more than some hundred can have taken something in that time.
        """
        now = self._now()
        namespace = self._namespaces.get(asker) or _Bucket(self._namespaces_rate, now)
        limits = {"namespace": namespace, "replica": self._replica}
        if is_unnamed(asker):
            limits = {"wildcard": self._unnamed, **limits}
        for word, bucket in limits.items():
            if not bucket.has(now):
                return word
        for bucket in limits.values():
            bucket.take()
        self._namespaces[asker] = namespace
        self._namespaces.move_to_end(asker)
        self._forget(now)
        return ""

    def _forget(self, now: float) -> None:
        """Forget namespaces that have not asked for so long that their buckets are full."""
        while self._namespaces:
            asker, bucket = next(iter(self._namespaces.items()))
            if not bucket.is_full(now):
                return
            del self._namespaces[asker]
