"""One review: bytes in, bytes out. Nothing is awaited here, so a review never waits on anything."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.answers import encode_unchanged, encode_verdict
from replicated_proxy.webhook.reviews import MalformedReview, ReceivedReview, decode_review
from replicated_proxy.webhook.tables import TableHolder

_log = logging.getLogger(__name__)
_FAILED: Final = Verdict(warnings=("replicated-proxy-operator failed on this Pod; its images were not proxied",))

Decide = Callable[[PodReview, RoutingTable, RewritePolicy], Verdict]


class ReviewHandler:
    """Answers reviews by the table of the moment, and counts them."""

    def __init__(
        self, tables: TableHolder, policy: RewritePolicy, metrics: Metrics, decide: Decide = review_pod
    ) -> None:
        self._tables = tables
        self._policy = policy
        self._metrics = metrics
        self._decide = decide
        self._tally = _Tally(metrics)

    def answer(self, body: bytes) -> bytes:
        """Answer a review; always "allowed".

        Raises:
            MalformedReview: the body is no review; to be answered with 400.
        """
        begin = time.perf_counter()
        try:
            received = decode_review(body)
        except MalformedReview:
            self._tally.count_review("malformed", dry_run=False)
            raise
        answer = self._answer(received)
        self._metrics.review_seconds.observe(time.perf_counter() - begin)
        return answer

    def _answer(self, received: ReceivedReview) -> bytes:
        """Convert, decide and encode; a mistake of ours must not keep anybody's Pod from running."""
        table = self._tables.table
        try:
            review = received.review
            if review is None or table is None:
                self._tally.count_review("not-ours", dry_run=received.dry_run)
                return encode_unchanged(received.uid)
            verdict = self._decide(review, table, self._policy)
            answer = encode_verdict(received.uid, verdict)
        except Exception as error:  # noqa: BLE001 - whatever it is, the Pod is admitted as it is.
            self._report(received, error)
            return encode_verdict(received.uid, _FAILED)
        self._tally.count(verdict, dry_run=received.dry_run)
        return answer

    def _report(self, received: ReceivedReview, error: Exception) -> None:
        """Log which review failed and where in the code; never the error's text, which may quote the Pod."""
        self._tally.count_review("failed", dry_run=received.dry_run)
        frames = traceback.extract_tb(error.__traceback__)
        _log.error(
            "review failed, the Pod was admitted unchanged",
            extra={
                "uid": received.uid,
                "namespace": received.namespace,
                "pod": received.name,
                "kind": type(error).__name__,
                "where": " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames),
            },
        )


class _Tally:
    """Counts, with the counters of each combination of labels kept: looking them up costs more than counting."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: dict[tuple[Counter, str, str], Counter] = {}

    def count(self, verdict: Verdict, *, dry_run: bool) -> None:
        """Count a decided review; its images only if something comes of them."""
        if verdict.reason is not None:
            self.count_review("left-alone", dry_run=dry_run)
        else:
            self.count_review("patched" if verdict.patch else "unchanged", dry_run=dry_run)
        if dry_run:
            return
        if verdict.reason is not None:
            self._metrics.pods_left_alone.labels(verdict.reason).inc()
        for decision in verdict.decisions:
            self._get(self._metrics.images, decision.outcome, decision.reason or "").inc()

    def count_review(self, outcome: str, *, dry_run: bool) -> None:
        """Count a review by what became of it."""
        self._get(self._metrics.reviews, outcome, "true" if dry_run else "false").inc()

    def _get(self, counter: Counter, first: str, second: str) -> Counter:
        """Return the counter of two labels."""
        key = (counter, first, second)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = counter.labels(first, second)
        return kept
