"""Every body of the corpus at the handler: what it is counted as, what it costs, and that nothing stays of it."""

from __future__ import annotations

import faulthandler
import logging
import tracemalloc
from collections.abc import Iterator

import pytest

from corpus.reviews.judging import check_words, judge, operations_of, patch, read_request
from corpus.reviews.making import ORDINARY, long_namespace, long_uid
from corpus.reviews.reading import Case, read_cases
from replicated_proxy.core.admission import PodReview, Verdict
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.visibility import VisibilityOf
from replicated_proxy.telemetry.logs import JsonFormatter
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.reviews import MalformedReview
from replicated_proxy.webhook.tables import TableHolder
from serving import PROXY, Known, a_config_map, to_bytes

# A third of what the chart lets the webhook have (192 MiB): the rest is for the process and for bodies on their way.
MOST_MEMORY = 64 * 1024 * 1024
HANGS_AFTER = 300.0
CASES = [pytest.param(case, id=case.name) for case in read_cases() if case.outcome != "too-large"]
OUTCOMES = ("malformed", "patched", "unchanged", "left-alone", "not-ours", "failed")


class Handler:
    """A handler that has answered an ordinary review, with its metrics."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        tables = TableHolder()
        tables.update(a_config_map())
        self.handler = ReviewHandler(tables, RewritePolicy(), Known(), self.metrics)
        self.ordinary = self.answer(ORDINARY.encode())
        self.before = {outcome: self.count(outcome) for outcome in OUTCOMES}

    def answer(self, body: bytes) -> bytes:
        """Answer a body."""
        answer = self.handler.answer(body)
        assert isinstance(answer, bytes)
        return answer

    def count(self, outcome: str) -> float:
        """Return how many reviews came to an outcome."""
        labels = {"outcome": outcome, "dry_run": "false"}
        return self.metrics.registry.get_sample_value("replicated_proxy_reviews_total", labels) or 0

    def counted(self) -> dict[str, float]:
        """Return what has been counted since the ordinary review."""
        return {outcome: new for outcome in OUTCOMES if (new := self.count(outcome) - self.before[outcome])}

    def images(self) -> dict[str, float]:
        """Return how many images came to which outcome and reason, the ordinary review's not among them."""
        found: dict[str, float] = {"rewritten ": -1}
        for metric in self.metrics.images.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    key = f"{sample.labels['outcome']} {sample.labels['reason']}"
                    found[key] = found.get(key, 0) + sample.value
        return {key: count for key, count in found.items() if count}


@pytest.fixture(autouse=True)
def _hang_is_shown() -> Iterator[None]:
    """End the run with a traceback should one body take minutes: no measurement, only the difference to never."""
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def handler() -> Handler:
    """Return a handler that is at work."""
    return Handler()


def try_body(handler: Handler, body: bytes) -> bytes | None:
    """Answer a body; None where it is malformed."""
    try:
        return handler.answer(body)
    except MalformedReview:
        return None


@pytest.mark.parametrize("case", CASES)
def test_body_gets_what_the_corpus_says(case: Case, handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    """Each body is counted once, under its word, with its images; an answer is one that the API server takes."""
    body = case.body()
    with caplog.at_level(logging.DEBUG):
        answer = try_body(handler, body)

    assert handler.counted() == {case.outcome: 1}
    assert (answer is None) == (case.outcome == "malformed")
    if case.images:
        assert handler.images() == dict(case.images)
    if answer is not None:
        assert bool(operations_of(judge(body, answer))) == (case.outcome == "patched")
    assert not caplog.records
    assert handler.answer(ORDINARY.encode()) == handler.ordinary


@pytest.mark.parametrize("case", CASES)
def test_body_takes_bounded_memory_and_leaves_none(case: Case, handler: Handler) -> None:
    """A review holds a third of what the Pod may have at the most, and afterwards nothing of the body."""
    body = case.body()
    tracemalloc.start()
    try:
        try_body(handler, body)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MOST_MEMORY
    assert held < 256 * 1024


ANSWERED = [pytest.param(case, id=case.name) for case in read_cases() if case.outcome == "patched"]


@pytest.mark.parametrize("case", ANSWERED)
def test_second_review_of_what_was_made_of_it_changes_nothing(case: Case, handler: Handler) -> None:
    """Whatever was patched is left as it is when it comes again."""
    body = case.body()
    request = read_request(body)
    if request is None:  # Numbers that Python does not read; the API server would not either.
        return
    answer = judge(body, handler.answer(body))
    again = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    second = to_bytes({**again, "request": {**request, "object": patch(request, answer)}})
    answered = try_body(handler, second)

    assert answered is None or not operations_of(judge(second, answered))


def test_log_of_a_mistake_of_ours_quotes_nothing_at_length(caplog: pytest.LogCaptureFixture) -> None:
    """Should a decision fail, the log names the Pod in a few hundred characters, and nothing that stands in it."""

    def fail(review: PodReview, table: RoutingTable, policy: RewritePolicy, see: VisibilityOf) -> Verdict:
        del table, policy, see
        raise RuntimeError(f"planted {review.pod.slots}")

    tables = TableHolder()
    tables.update(a_config_map())
    failing = ReviewHandler(tables, RewritePolicy(), Known(), Metrics(), decide=fail)
    with caplog.at_level(logging.DEBUG):
        failing.answer(long_namespace(1_000_000))
        failing.answer(long_uid(253))

    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert len(lines) == 2
    assert all(len(line) < 2000 and "planted" not in line and "my-org" not in line for line in lines)


def test_warnings_say_how_many_more_there_are(handler: Handler) -> None:
    """Of ten thousand images that cannot go through the proxy four are named, and the others are counted."""
    (case,) = (case for case in read_cases() if case.name == "images-10000-to-warn-about")
    warnings = judge(case.body(), handler.answer(case.body()))["warnings"]

    assert [text.partition(":")[0] for text in warnings[:4]] == [f"containers/c{index}" for index in range(4)]
    assert warnings[4:] == ["and 9996 more images were not proxied"]


def test_words_hold_nothing_that_steers_a_terminal(handler: Handler) -> None:
    """Escapes, line breaks and marks that turn text around stand as spaces in warnings and audit annotations."""
    (case,) = (case for case in read_cases() if case.name == "terminal-escapes-in-a-name")
    response = judge(case.body(), handler.answer(case.body()))

    check_words(response)
    assert response["warnings"] == [
        "containers/c [31m     : cannot go through the proxy (port): quay.io:5000/my-org/api:v1"
    ]
    assert response["auditAnnotations"]["images"] == "containers/c [31m     =port"


def test_names_with_slashes_and_tildes_do_not_reach_pointers(handler: Handler) -> None:
    """A container's name stands in the annotation as it is; pointers are made of positions."""
    (case,) = (case for case in read_cases() if case.name == "names-with-slashes-and-tildes")
    body = case.body()
    request = read_request(body)
    assert request is not None
    pod = patch(request, judge(body, handler.answer(body)))

    assert pod["spec"]["containers"][0]["image"] == f"{PROXY}/quay.io/my-org/api:v1"
    annotation = pod["metadata"]["annotations"]["proxy.kots.io/original-images"]
    assert annotation == '{"containers/~0~1/a~/../-":"quay.io/my-org/api:v1"}'
