"""Every metric of both roles, in one object that is handed around.

Labels are words from fixed lists, never names of namespaces, images or Licenses: what an attacker can choose must not
make time series. There is no global registry, so that tests and two roles in one process do not meet in it.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from replicated_proxy.core.validity import ExpiryStanding

PREFIX: Final = "replicated_proxy"
# A review takes tenths of a millisecond; from 5 ms on the edges are those of the API server's own histogram.
# Those that wait for a registry take up to seconds.
_REVIEW_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
# The API server's words for what it refuses, and ours; whatever else a proxy before it says is `Other`.
FAILURE_REASONS: Final = (
    "Contended",
    "Forbidden",
    "InternalError",
    "Invalid",
    "ServiceUnavailable",
    "Timeout",
    "TooManyRequests",
    "Unreachable",
    "Other",
)
# A registry answers in tenths of a second, or not before its time is over.
_PROBE_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
DETECTION_ANSWERS: Final = ("hit", "stale", "assumed", "miss", "limited")


class Metrics:
    """The metrics and the registry that `/metrics` shows.

    Attributes:
        reviews: answered reviews; `outcome` is `patched`, `unchanged`, `left-alone`, `not-ours`, `failed` or
            `malformed`, `dry_run` `true` or `false`.
        images: images looked at; `outcome` and `reason` are the words of `core.reasons`, `reason` empty where
            something was done. Dry runs are not counted.
        pods_left_alone: Pods that no License decided, by reason. Dry runs are not counted.
        repeated_pods: rewritten Pods that one owner created again and again within ten minutes, as controllers do that
            compare images.
        review_seconds: time from the body's last byte to the answer, in this process.
        requests_refused: what got no answer to a review; `reason` is `path`, `method`, `media-type`, `too-large`,
            `slow`, `malformed-http`, `tls` (no handshake), `overloaded`, `connections` (too many) or `draining`.
        connections: open connections to the webhook's port, now.
        detection_answers: looks at what is known of an image; `answer` is `hit`, `stale` (used while it is asked anew),
            `assumed` (by `detection.assume`), `miss` (nobody knew) or `limited` (nobody knew, and its registry wants
            to be left alone).
        detection_probes: questions to registries; `outcome` is a word of `core.probes`, or `not-asked` where there was
            no room for one more; `cause` says why one `failed`.
        detection_probe_seconds: how long registries took.
        detection_verdicts: answers that are remembered, now.
        detection_waits: reviews that waited for registries; `result` is `answered`, `deadline`, or `crowded` where too
            many waited already.
        detection_waiting: reviews that wait for registries, now.
        verdict_collections: requests of the controller for a replica's verdicts; `result` is `changed`, `unchanged` or
            `failed`.
        secret_syncs: writes of pull secrets; `result` is `created`, `updated`, `replaced`, `deleted` or `failed`.
        conflicts: namespaces whose pull secret is not ours, now.
        failures: namespaces whose pull secret could not be written, now; `reason` is one of `FAILURE_REASONS`.
        sweep_corrections: copies that the sweep repaired, which means events missed them.
        queue_depth: keys that wait for a reconciliation, now.
        oldest_unsynced_seconds: for how long the oldest of them has been waiting or failing; 0 while there is none.
        watch_age: seconds since a kind's watch was last heard of; `kind` is its plural. A bookmark comes each minute.
        watch_restarts: fresh starts because of silence, or because the sweep found something; `pump` is `core`
            (namespaces, Secrets) or `kots` (Licenses, Applications).
        licenses: Licenses by how they stand to their end; `expiry` is a reason of the condition `Expired`.
        license_end: when the first of all Licenses ends or ended, seconds since 1970; 0 where none has an end.
        leader: 1 while this replica holds the controller's Lease, else 0.
        certificate_expiry: end of validity, seconds since 1970; `certificate` is `ca` or `serving`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reviews = self._counter("reviews", "Admission reviews answered.", "outcome", "dry_run")
        self.images = self._counter("images", "Images looked at in reviews.", "outcome", "reason")
        self.pods_left_alone = self._counter("pods_left_alone", "Pods left alone as a whole.", "reason")
        self.repeated_pods = self._counter("repeated_pods", "Rewritten Pods that are created again and again.")
        self.review_seconds = Histogram(
            f"{PREFIX}_review_seconds",
            "Time that a review took in this process.",
            registry=self.registry,
            buckets=_REVIEW_SECONDS,
        )
        self.requests_refused = self._counter("requests_refused", "Requests that got no answer to a review.", "reason")
        self.connections = self._gauge("connections", "Open connections to the webhook's port.")
        self.detection_answers = self._counter("detection_answers", "Looks at what is known of an image.", "answer")
        self.detection_probes = self._counter("detection_probes", "Questions to registries.", "outcome", "cause")
        self.detection_probe_seconds = Histogram(
            f"{PREFIX}_detection_probe_seconds",
            "Time that registries took.",
            registry=self.registry,
            buckets=_PROBE_SECONDS,
        )
        self.detection_verdicts = self._gauge("detection_verdicts", "Answers of registries that are remembered.")
        self.detection_waiting = self._gauge("detection_waiting", "Reviews that wait for registries.")
        self.detection_waits = self._counter("detection_waits", "Reviews that waited for registries.", "result")
        self.verdict_collections = self._counter("verdict_collections", "Replicas asked for verdicts.", "result")
        self.secret_syncs = self._counter("secret_syncs", "Writes of pull secrets.", "result")
        self.conflicts = self._gauge("conflicts", "Namespaces whose pull secret belongs to somebody else.")
        self.sweep_corrections = self._counter("sweep_corrections", "Copies that the sweep had to repair.")
        self.failures = self._gauge("failures", "Namespaces whose pull secret cannot be written.", "reason")
        self.queue_depth = self._gauge("queue_depth", "Keys that wait for a reconciliation.")
        self.oldest_unsynced_seconds = self._gauge(
            "oldest_unsynced_seconds", "Time since the oldest namespace that is not in line became due."
        )
        self.watch_age = self._gauge("watch_age_seconds", "Time since a watch was last heard of.", "kind")
        self.watch_restarts = self._counter("watch_restarts", "Watches started anew by the watchdog.", "pump")
        self.licenses = self._gauge("licenses", "Licenses by how they stand to their end.", "expiry")
        self.license_end = self._gauge(
            "license_not_after_timestamp_seconds", "End of the License that ends first, or ended."
        )
        self.leader = self._gauge("leader", "Whether this replica holds the controller's Lease.")
        self.certificate_expiry = self._gauge(
            "certificate_not_after_timestamp_seconds", "End of a certificate's validity.", "certificate"
        )

    def note_licenses(self, ends: Iterable[tuple[ExpiryStanding, datetime | None]]) -> None:
        """Set how many Licenses stand how to their end, and when the first one ends."""
        known = tuple(ends)
        found = Tally(standing for standing, _ in known)
        for standing in ExpiryStanding:
            self.licenses.labels(standing.value).set(found[standing])
        self.license_end.set(min((end.timestamp() for _, end in known if end), default=0.0))

    def note_failures(self, reasons: Iterable[str]) -> None:
        """Set how many namespaces fail, by reason."""
        found = Tally(reason if reason in FAILURE_REASONS else "Other" for reason in reasons)
        for word in FAILURE_REASONS:
            self.failures.labels(word).set(found[word])

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        """Make a counter; `_total` is appended to its name."""
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Make a gauge."""
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)
