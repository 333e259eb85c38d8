"""Every metric of both roles, in one object that is handed around.

Labels are words from fixed lists, never names of namespaces, images or Licenses: what an attacker can choose must not
make time series. There is no global registry, so that tests and two roles in one process do not meet in it.

What each metric means stands where it is made; `make docs` writes `docs/metrics.md` from it.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib.metadata import version
from typing import Final

from prometheus_client import ProcessCollector

from replicated_proxy.core.probes import ProbeOutcome
from replicated_proxy.core.reasons import OF_PODS, Outcome, Reason
from replicated_proxy.core.validity import ExpiryStanding
from replicated_proxy.telemetry.making import ANY, BOTH, Exporter, Maker

# A review takes tenths of a millisecond; from 5 ms on the edges are those of the API server's own histogram.
# Those that wait for a registry take up to seconds.
_REVIEW_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
# A registry answers in tenths of a second, or not before its time is over.
_PROBE_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REVIEW_OUTCOMES: Final = ("patched", "unchanged", "left-alone", "not-ours", "failed", "malformed")
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
REFUSALS: Final = (
    "path",
    "method",
    "media-type",
    "too-large",
    "slow",
    "malformed-http",
    "tls",
    "overloaded",
    "connections",
    "draining",
    "caller",
)
DETECTION_ANSWERS: Final = ("hit", "stale", "assumed", "miss", "limited")
_PROBE_CAUSES: Final = ("", "name", "connection", "certificate", "timeout", "answer", "redirect")
_PROBE_LIMITS: Final = ("wildcard", "namespace", "replica")
_KINDS: Final = ("namespaces", "secrets", "licenses", "applications")
_CERTIFICATES: Final = ("ca", "serving")
_WEBHOOK: Final = (Exporter.WEBHOOK,)
_CONTROLLER: Final = (Exporter.CONTROLLER,)


class Metrics:
    """The metrics of one role, or of all, and the registry that `/metrics` shows.

    A metric of another role may be counted with as well; it is not shown.
    """

    def __init__(self, *roles: Exporter) -> None:
        self._roles = roles or BOTH
        make = Maker(self._roles)
        self.registry = make.registry
        ProcessCollector(registry=self.registry)
        self._make_general(make)
        self._make_reviews(make)
        self._make_detection(make)
        self._make_syncs(make)
        self._make_watches(make)
        self._make_licenses(make)
        self.described = tuple(make.described)

    def _make_general(self, make: Maker) -> None:
        """Make what both roles export."""
        build = make.gauge(BOTH, "build_info", "1 for each process, with its role and version.", role=BOTH, version=ANY)
        for role in self._roles:
            build.labels(role, version("replicated-proxy-operator")).set(1)
        self.ready = make.gauge(
            BOTH, "ready", "1 while this replica is ready, else 0: /readyz says what is missing.", role=BOTH
        )
        self.certificate_begin = make.gauge(
            BOTH,
            "certificate_not_before_timestamp_seconds",
            "Begin of a certificate's validity, in seconds since 1970.",
            certificate=_CERTIFICATES,
        )
        self.certificate_expiry = make.gauge(
            BOTH,
            "certificate_not_after_timestamp_seconds",
            "End of a certificate's validity, in seconds since 1970; the controller tells that of the authority, each "
            "replica of the webhook that of the certificate it serves.",
            certificate=_CERTIFICATES,
        )
        self.bundle_out_of_sync = make.gauge(
            _CONTROLLER,
            "ca_bundle_out_of_sync",
            "1 while the webhook configuration has another caBundle than it should.",
        )
        self.serving_refused = make.gauge(
            _WEBHOOK,
            "serving_secret_refused",
            "1 while the serving Secret is missing or holds what cannot be served: the certificate in use stays.",
        )

    def _make_reviews(self, make: Maker) -> None:
        """Make what tells of reviews."""
        self.reviews = make.counter(
            _WEBHOOK,
            "reviews",
            "Admission reviews answered; failed means a mistake of ours, after which the Pod was admitted as it was.",
            outcome=REVIEW_OUTCOMES,
            dry_run=("true", "false"),
        )
        self.images = make.counter(
            _WEBHOOK,
            "images",
            "Images looked at in reviews, dry runs left out; the reason is empty where something was done.",
            outcome=tuple(Outcome),
            reason=("", *(reason for reason in Reason if reason not in OF_PODS)),
        )
        self.pods_left_alone = make.counter(
            _WEBHOOK, "pods_left_alone", "Pods that no License decided, dry runs left out.", reason=OF_PODS
        )
        self.repeated_pods = make.counter(
            _WEBHOOK,
            "repeated_pods",
            "Rewritten Pods that one owner created again and again within ten minutes, as controllers do that compare "
            "images.",
        )
        self.review_seconds = make.histogram(
            _WEBHOOK,
            "review_seconds",
            "Time from the body's last byte to the answer, in this process.",
            _REVIEW_SECONDS,
        )
        self.requests_refused = make.counter(
            _WEBHOOK,
            "requests_refused",
            "What got no answer to a review: tls is no handshake, connections are too many of them, and caller is "
            "somebody else than the API server, where it shows a certificate.",
            reason=REFUSALS,
        )
        self.connections = make.gauge(_WEBHOOK, "connections", "Open connections to the webhook's port, now.")
        self.table_outdated = make.gauge(
            _WEBHOOK,
            "routing_table_outdated",
            "1 while reviews are decided by an older routing table than the published one, which is missing or cannot "
            "be read.",
        )

    def _make_detection(self, make: Maker) -> None:
        """Make what tells of asking registries."""
        self.detection_answers = make.counter(
            _WEBHOOK,
            "detection_answers",
            "Looks at what is known of an image: stale is used while it is asked anew, assumed comes from "
            "detection.assume, miss is known to nobody, limited likewise and its registry wants to be left alone.",
            answer=DETECTION_ANSWERS,
        )
        self.detection_probes = make.counter(
            _WEBHOOK,
            "detection_probes",
            "Questions to registries; not-asked where too many waited, held-back where too many were asked lately. The "
            "cause says why one failed, or by whose limit it was held back: wildcard is that of all namespaces "
            "together which only a wildcard covers.",
            outcome=(*ProbeOutcome, "not-asked", "held-back"),
            cause=(*_PROBE_CAUSES, *_PROBE_LIMITS),
        )
        self.detection_probe_seconds = make.histogram(
            _WEBHOOK, "detection_probe_seconds", "Time that registries took.", _PROBE_SECONDS
        )
        self.detection_verdicts = make.gauge(
            _WEBHOOK, "detection_verdicts", "Answers of registries that are remembered, now."
        )
        self.detection_waits = make.counter(
            _WEBHOOK,
            "detection_waits",
            "Reviews that waited for registries: deadline is no answer in time, crowded means that too many waited.",
            result=("answered", "deadline", "crowded"),
        )
        self.detection_waiting = make.gauge(_WEBHOOK, "detection_waiting", "Reviews that wait for registries, now.")
        self.verdict_collections = make.counter(
            _CONTROLLER,
            "verdict_collections",
            "Requests of the controller for a replica's verdicts.",
            result=("changed", "unchanged", "failed"),
        )

    def _make_syncs(self, make: Maker) -> None:
        """Make what tells of pull secrets."""
        self.secret_syncs = make.counter(
            _CONTROLLER,
            "secret_syncs",
            "Writes of pull secrets.",
            result=("created", "updated", "replaced", "deleted", "failed"),
        )
        self.conflicts = make.gauge(_CONTROLLER, "conflicts", "Namespaces whose pull secret is not ours, now.")
        self.failures = make.gauge(
            _CONTROLLER,
            "failures",
            "Namespaces whose pull secret could not be written, now, by the API server's word for it.",
            reason=FAILURE_REASONS,
        )
        self.queue_depth = make.gauge(_CONTROLLER, "queue_depth", "Keys that wait for a reconciliation, now.")
        self.oldest_unsynced_seconds = make.gauge(
            _CONTROLLER,
            "oldest_unsynced_seconds",
            "For how long the oldest of them has been waiting or failing; 0 while there is none.",
        )
        self.leader = make.gauge(
            _CONTROLLER, "leader", "1 while this replica holds the controller's Lease, else 0; only the holder writes."
        )

    def _make_watches(self, make: Maker) -> None:
        """Make what tells whether events arrive."""
        self.sweep_corrections = make.counter(
            _CONTROLLER,
            "sweep_corrections",
            "Objects that a complete listing found otherwise than events had told: they missed something.",
        )
        self.watch_age = make.gauge(
            _CONTROLLER,
            "watch_age_seconds",
            "Time since the watch of a kind was last heard of; a bookmark comes each minute.",
            kind=_KINDS,
        )
        self.watch_restarts = make.counter(
            _CONTROLLER,
            "watch_restarts",
            "Fresh starts because of silence, or because the sweep found something: core are namespaces and Secrets, "
            "kots are Licenses and Applications.",
            pump=("core", "kots"),
        )

    def _make_licenses(self, make: Maker) -> None:
        """Make what tells of Licenses and their ends."""
        self.licenses = make.gauge(
            _CONTROLLER,
            "licenses",
            "Licenses by how they stand to their end, in the words of the condition Expired.",
            expiry=tuple(ExpiryStanding),
        )
        self.license_end = make.gauge(
            _CONTROLLER,
            "license_not_after_timestamp_seconds",
            "When the first of all Licenses ends or ended, in seconds since 1970; 0 where none has an end.",
        )

    def note_ready(self, problems: Callable[[], list[str]]) -> None:
        """Show from now on whether there are problems, as `/readyz` does."""
        for role in self._roles:
            self.ready.labels(role).set_function(lambda: 0.0 if problems() else 1.0)

    def note_certificate(self, word: str, begin: datetime, end: datetime) -> None:
        """Set from when until when a certificate is valid, `ca` or `serving`."""
        self.certificate_begin.labels(word).set(begin.timestamp())
        self.certificate_expiry.labels(word).set(end.timestamp())

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
