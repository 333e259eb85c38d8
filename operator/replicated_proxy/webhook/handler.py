"""One review: bytes in, bytes out.

A review waits for nothing but, for a bounded time, a registry that was never asked before (`Undecided`); whatever is
known already is answered without an `await`.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from prometheus_client import Counter

from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.visibility import Visibility, VisibilityOf
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.answers import encode_unchanged, encode_verdict
from replicated_proxy.webhook.reviews import MalformedReview, ReceivedReview, decode_review
from replicated_proxy.webhook.tables import TableHolder

_log = logging.getLogger(__name__)
_FAILED: Final = Verdict(warnings=("replicated-proxy-operator failed on this Pod; its images were not proxied",))

Decide = Callable[[PodReview, RoutingTable, RewritePolicy, VisibilityOf], Verdict]


class Detector(Protocol):
    """Who knows the visibility of images, and asks registries about those that it does not know.

    Attributes:
        revision: another number whenever `look_up` may answer something else than before, time aside.
    """

    revision: int

    def look_up(self, reference: ImageReference, namespace: str) -> Visibility | None:
        """Return what is known, or None where a registry has to be asked and the review may wait for it."""
        ...

    async def find_out(self, references: Sequence[ImageReference], namespace: str, seconds: float) -> None:
        """Ask about images that `look_up` knew nothing of, until all are known or the time is over; never raises."""
        ...

    def settle(self, reference: ImageReference, namespace: str) -> Visibility:
        """Return what an image counts as now, known or not."""
        ...


@dataclass(frozen=True, slots=True)
class Undecided:
    """A review whose answer depends on registries that were never asked before.

    Attributes:
        answer_within: waits for them, at most this many seconds, and returns the answer.
    """

    answer_within: Callable[[float], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Question:
    """A review with the table that decides it, however long that takes."""

    received: ReceivedReview
    table: RoutingTable | None
    begin: float


class _Lookup:
    """Looks images up for one review and remembers which ones nobody knows.

    Attributes:
        unknown: the images to ask about, in the order of the Pod.
    """

    def __init__(self, detector: Detector, namespace: str) -> None:
        self._detector = detector
        self._namespace = namespace
        self.unknown: list[ImageReference] = []

    def visibility_of(self, reference: ImageReference) -> Visibility:
        """Return what is known; what is not stands in as private until the answer is there."""
        found = self._detector.look_up(reference, self._namespace)
        if found is None:
            self.unknown.append(reference)
            return Visibility.PRIVATE
        return found

    def settle(self, reference: ImageReference) -> Visibility:
        """Return what an image counts as, known or not."""
        return self._detector.settle(reference, self._namespace)


class ReviewHandler:
    """Answers reviews by the table of the moment, and counts them."""

    def __init__(
        self,
        tables: TableHolder,
        policy: RewritePolicy,
        detector: Detector,
        metrics: Metrics,
        decide: Decide = review_pod,
    ) -> None:
        self._tables = tables
        self._policy = policy
        self._detector = detector
        self._metrics = metrics
        self._decide = decide
        self._tally = _Tally(metrics)

    def answer(self, body: bytes) -> bytes | Undecided:
        """Answer a review, always "allowed"; or hand over one that has to wait for registries.

        Raises:
            MalformedReview: the body is no review; to be answered with 400.
        """
        begin = time.perf_counter()
        try:
            received = decode_review(body)
        except MalformedReview:
            self._tally.count_review("malformed", dry_run=False)
            raise
        question = _Question(received, self._tables.table, begin)
        lookup = _Lookup(self._detector, received.namespace)
        verdict = self._judge(question, lookup.visibility_of)
        if lookup.unknown and verdict is not _FAILED:
            return Undecided(partial(self._answer_late, question, lookup))
        return self._conclude(question, verdict)

    async def _answer_late(self, question: _Question, lookup: _Lookup, seconds: float) -> bytes:
        """Wait for registries, and decide anew by the same table."""
        try:
            await self._detector.find_out(lookup.unknown, question.received.namespace, seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the Pod is admitted as it is.
            self._report(question.received, error)
            return self._conclude(question, _FAILED)
        return self._conclude(question, self._judge(question, lookup.settle))

    def _judge(self, question: _Question, visibility_of: VisibilityOf) -> Verdict | None:
        """Convert and decide, None where it is not ours; a mistake of ours must not keep anybody's Pod from running."""
        try:
            review = question.received.review
            if review is None or question.table is None:
                return None
            return self._decide(review, question.table, self._policy, visibility_of)
        except Exception as error:  # noqa: BLE001 - whatever it is, the Pod is admitted as it is.
            self._report(question.received, error)
            return _FAILED

    def _conclude(self, question: _Question, verdict: Verdict | None) -> bytes:
        """Encode and count."""
        received = question.received
        if verdict is None:
            self._tally.count_review("not-ours", dry_run=received.dry_run)
            answer = encode_unchanged(received.uid)
        else:
            try:
                answer = encode_verdict(received.uid, verdict)
            except Exception as error:  # noqa: BLE001 - likewise.
                self._report(received, error)
                verdict, answer = _FAILED, encode_verdict(received.uid, _FAILED)
            if verdict is not _FAILED:
                self._tally.count(verdict, dry_run=received.dry_run)
        self._metrics.review_seconds.observe(time.perf_counter() - question.begin)
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
