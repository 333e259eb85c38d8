"""Every metric of both roles, in one object that is handed around.

Labels are words from fixed lists, never names of namespaces, images or Licenses: what an attacker can choose must not
make time series. There is no global registry, so that tests and two roles in one process do not meet in it.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX: Final = "replicated_proxy"
# A review takes tenths of a millisecond; from 5 ms on the edges are those of the API server's own histogram.
_REVIEW_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5)


class Metrics:
    """The metrics and the registry that `/metrics` shows.

    Attributes:
        reviews: answered reviews; `outcome` is `patched`, `unchanged`, `left-alone`, `not-ours`, `failed` or
            `malformed`, `dry_run` `true` or `false`.
        images: images looked at; `outcome` and `reason` are the words of `core.reasons`, `reason` empty where
            something was done. Dry runs are not counted.
        pods_left_alone: Pods that no License decided, by reason. Dry runs are not counted.
        review_seconds: time from the body's last byte to the answer, in this process.
        secret_syncs: writes of pull secrets; `result` is `created`, `updated`, `replaced`, `deleted` or `failed`.
        conflicts: namespaces whose pull secret is not ours, now.
        sweep_corrections: copies that the sweep repaired, which means events missed them.
        queue_depth: keys that wait for a reconciliation, now.
        certificate_expiry: end of validity, seconds since 1970; `certificate` is `ca` or `serving`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reviews = self._counter("reviews", "Admission reviews answered.", "outcome", "dry_run")
        self.images = self._counter("images", "Images looked at in reviews.", "outcome", "reason")
        self.pods_left_alone = self._counter("pods_left_alone", "Pods left alone as a whole.", "reason")
        self.review_seconds = Histogram(
            f"{PREFIX}_review_seconds",
            "Time that a review took in this process.",
            registry=self.registry,
            buckets=_REVIEW_SECONDS,
        )
        self.secret_syncs = self._counter("secret_syncs", "Writes of pull secrets.", "result")
        self.conflicts = self._gauge("conflicts", "Namespaces whose pull secret belongs to somebody else.")
        self.sweep_corrections = self._counter("sweep_corrections", "Copies that the sweep had to repair.")
        self.queue_depth = self._gauge("queue_depth", "Keys that wait for a reconciliation.")
        self.certificate_expiry = self._gauge(
            "certificate_not_after_timestamp_seconds", "End of a certificate's validity.", "certificate"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        """Make a counter; `_total` is appended to its name."""
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Make a gauge."""
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)
