"""Makes metrics and keeps what they mean, for the registry, for `docs/metrics.md` and for whoever checks queries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

PREFIX: Final = "replicated_proxy"
# Combinations up to which a counter begins with all of them, at 0.
_MOST_AT_FIRST: Final = 16
# Else each counter has a second series, for when it began, which nothing asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Exporter(StrEnum):
    """Who exports a metric."""

    CONTROLLER = "controller"
    WEBHOOK = "webhook"


BOTH: Final = tuple(Exporter)


@dataclass(frozen=True, slots=True)
class Described:
    """What a metric is.

    Attributes:
        name: as it stands in queries, `_total` of counters included; for a histogram without `_bucket`.
        kind: `counter`, `gauge` or `histogram`.
        text: what it says.
        labels: each label with the words that it may have; `ANY` where they are the build's.
        roles: who exports it.
    """

    name: str
    kind: str
    text: str
    labels: Mapping[str, tuple[str, ...]]
    roles: tuple[Exporter, ...]


ANY: Final[tuple[str, ...]] = ()
"""In place of a label's words: one that only we choose, and that has one value for each process."""


class Maker:
    """Makes the metrics of some roles; what belongs to none of them counts too, but is not shown.

    Attributes:
        registry: that `/metrics` shows.
        described: every metric, shown or not, in the order of making.
    """

    def __init__(self, roles: Sequence[Exporter]) -> None:
        self._roles = frozenset(roles)
        self.registry = CollectorRegistry()
        self.described: list[Described] = []

    def counter(self, roles: Sequence[Exporter], name: str, text: str, **labels: tuple[str, ...]) -> Counter:
        """Make a counter; `_total` is appended to its name.

        With few combinations of words it begins with all of them: the first event is a rise then, not a new series.
        """
        made = Counter(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry(roles))
        self._describe(roles, f"{name}_total", "counter", text, labels)
        if labels and 0 < math.prod(map(len, labels.values())) <= _MOST_AT_FIRST:
            for words in itertools.product(*labels.values()):
                made.labels(*words)
        return made

    def gauge(self, roles: Sequence[Exporter], name: str, text: str, **labels: tuple[str, ...]) -> Gauge:
        """Make a gauge; with labels it has no value before somebody sets one."""
        self._describe(roles, name, "gauge", text, labels)
        return Gauge(f"{PREFIX}_{name}", text, tuple(labels), registry=self._registry(roles))

    def histogram(self, roles: Sequence[Exporter], name: str, text: str, edges: Sequence[float]) -> Histogram:
        """Make a histogram of seconds."""
        self._describe(roles, name, "histogram", text, {})
        return Histogram(f"{PREFIX}_{name}", text, registry=self._registry(roles), buckets=edges)

    def _registry(self, roles: Sequence[Exporter]) -> CollectorRegistry | None:
        """Return where to show a metric of these roles."""
        return None if self._roles.isdisjoint(roles) else self.registry

    def _describe(
        self, roles: Sequence[Exporter], name: str, kind: str, text: str, labels: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Keep what a metric is."""
        kept = MappingProxyType(dict(labels))
        self.described.append(Described(f"{PREFIX}_{name}", kind, text, kept, tuple(roles)))
