"""One review: bytes in, bytes out.

A review waits for nothing but, for a bounded time, a registry that was never asked before (`Undecided`); whatever is
known already is answered without an `await`.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from prometheus_client import Counter

from replicated_proxy.core.admission import MARKS, PodReview, Verdict, review_pod
from replicated_proxy.core.askers import asker_of, is_unnamed
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.visibility import Visibility, VisibilityOf
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.answers import UNCHANGED_TAIL, encode_answer, encode_tail, is_patched
from replicated_proxy.webhook.memo import LARGEST_BODY, AnswerMemo, key_of
from replicated_proxy.webhook.repetition import Repetition
from replicated_proxy.webhook.reviews import MalformedReview, ReceivedReview, decode_review
from replicated_proxy.webhook.tables import TableHolder

_log = logging.getLogger(__name__)
# Bytes of reviews that wait for registries, all together. Each takes ten times as much of memory while it waits, and
# whoever calls chooses how large it is and how long its registry says nothing: one that does not fit does not wait.
# Namespaces that the table does not name have half of it.
_MOST_WAITING: Final = 4 * 1024 * 1024
_LONGEST_NAME: Final = 253  # Of a namespace or Pod in the log; the API server has none that is longer.
_FAILED_TAIL: Final = encode_tail(
    Verdict(warnings=("replicated-proxy-operator failed on this Pod; its images were not proxied",))
)

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
    key: Hashable
    begin: float
    size: int


class _Lookup:
    """Looks images up for one review and remembers which ones nobody knows.

    Attributes:
        asker: the namespace, as `core/askers.py` calls it.
        unknown: the images to ask about, in the order of the Pod.
        revision: the detector's, before anything was looked up.
    """

    def __init__(self, detector: Detector, asker: str) -> None:
        self._detector = detector
        self.asker = asker
        self.unknown: list[ImageReference] = []
        self.revision = detector.revision

    def visibility_of(self, reference: ImageReference) -> Visibility:
        """Return what is known; what is not stands in as private until the answer is there."""
        found = self._detector.look_up(reference, self.asker)
        if found is None:
            self.unknown.append(reference)
            return Visibility.PRIVATE
        return found

    def settle(self, reference: ImageReference) -> Visibility:
        """Return what an image counts as, known or not."""
        return self._detector.settle(reference, self.asker)


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
        self._memo = AnswerMemo()
        self._repetition = Repetition(metrics.repeated_pods)
        self._waiting = 0
        self._marks = MARKS | {key for key, _ in policy.excluded_labels}

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
        try:
            return self._recall_or_decide(received, begin, len(body))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not keep anybody's Pod from running.
            return self._fail(_Question(received, self._tables.table, None, begin, len(body)), error)

    def _recall_or_decide(self, received: ReceivedReview, begin: float, size: int) -> bytes | Undecided:
        """Give the answer that an equal review got a moment ago, or decide."""
        table = self._tables.table
        key = key_of(received, self._marks) if size <= LARGEST_BODY and table is not None else None
        if table is not None and key is not None:
            self._memo.hold_to(table, self._detector.revision)
            known = self._memo.recall(key, begin)
            if known is not None:
                for counter, amount in known.counters:
                    counter.inc(amount)
                return self._finish(received, known.tail, begin)
        question = _Question(received, table, key, begin, size)
        lookup = _Lookup(self._detector, asker_of(received.namespace, table.names) if table is not None else "")
        verdict = self._judge(question, lookup.visibility_of)
        if lookup.unknown:
            return Undecided(partial(self._answer_late, question, lookup))
        return self._conclude(question, verdict, lookup.revision)

    async def _answer_late(self, question: _Question, lookup: _Lookup, seconds: float) -> bytes:
        """Wait for registries, unless too much waits already, and decide anew by the same table."""
        self._waiting += question.size
        try:
            most = _MOST_WAITING // 2 if is_unnamed(lookup.asker) else _MOST_WAITING
            left = seconds if self._waiting <= most else 0.0
            await self._detector.find_out(lookup.unknown, lookup.asker, left)
            return self._conclude(question, self._judge(question, lookup.settle), None)
        except Exception as error:  # noqa: BLE001 - likewise.
            return self._fail(question, error)
        finally:
            self._waiting -= question.size

    def _judge(self, question: _Question, visibility_of: VisibilityOf) -> Verdict | None:
        """Convert and decide; None where it is not ours."""
        review = question.received.review
        if review is None or question.table is None:
            return None
        return self._decide(review, question.table, self._policy, visibility_of)

    def _conclude(self, question: _Question, verdict: Verdict | None, revision: int | None) -> bytes:
        """Encode, count, and remember what was decided by knowledge that still holds."""
        received = question.received
        if verdict is None:
            self._tally.count_review("not-ours", dry_run=received.dry_run)
            return self._finish(received, UNCHANGED_TAIL, question.begin)
        tail = encode_tail(verdict)
        counters = self._tally.count(verdict, dry_run=received.dry_run)
        if question.key is not None and revision == self._detector.revision:
            self._memo.remember(question.key, tail, counters, question.begin)
        return self._finish(received, tail, question.begin)

    def _finish(self, received: ReceivedReview, tail: bytes, begin: float) -> bytes:
        """Put the answer together, take note of whose Pod is changed, and take the time."""
        answer = encode_answer(received.uid, tail)
        if is_patched(tail) and not received.dry_run:
            self._repetition.note(received.namespace, received.name, received.creator, begin)
        self._metrics.review_seconds.observe(time.perf_counter() - begin)
        return answer

    def _fail(self, question: _Question, error: Exception) -> bytes:
        """Admit a Pod as it is, whatever went wrong."""
        self._report(question.received, error)
        return self._finish(question.received, _FAILED_TAIL, question.begin)

    def _report(self, received: ReceivedReview, error: Exception) -> None:
        """Log which review failed and where in the code; never the error's text, which may quote the Pod."""
        self._tally.count_review("failed", dry_run=received.dry_run)
        frames = traceback.extract_tb(error.__traceback__)
        _log.error(
            "review failed, the Pod was admitted unchanged",
            extra={
                "uid": received.uid[:_LONGEST_NAME],
                "namespace": received.namespace[:_LONGEST_NAME],
                "pod": received.name[:_LONGEST_NAME],
                "kind": type(error).__name__,
                "where": " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames),
            },
        )


class _Tally:
    """Counts, with the counters of each combination of labels kept: looking them up costs more than counting."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: dict[tuple[Counter, str, str], Counter] = {}

    def count(self, verdict: Verdict, *, dry_run: bool) -> Mapping[Counter, int]:
        """Count a decided review; its images only if something comes of them. Returns what was counted."""
        outcome = "left-alone" if verdict.reason is not None else "patched" if verdict.patch else "unchanged"
        counters = {self._get(self._metrics.reviews, outcome, "true" if dry_run else "false"): 1}
        if not dry_run:
            if verdict.reason is not None:
                counters[self._metrics.pods_left_alone.labels(verdict.reason)] = 1
            for decision in verdict.decisions:
                counter = self._get(self._metrics.images, decision.outcome, decision.reason or "")
                counters[counter] = counters.get(counter, 0) + 1
        for counter, amount in counters.items():
            counter.inc(amount)
        return counters

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
