"""What the benches of the webhook read, hold against their bars, and write."""

from __future__ import annotations

import json
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.admission import report as admission
from bench.asking import AnswerReader, Target
from bench.bars import Bar
from bench.figures import median
from bench.load import Figures
from bench.overload import report as overload
from bench.overload.metrics import read_counts
from bench.pace import Pace, read_pace
from bench.review import NAMESPACE, bare_pod, distinct, replica, review_body
from bench.scale.sizes import InvalidSizes
from bench.storm import Outcome, StormFigures
from bench.webhook import report as webhook
from bench.webhook.plots import draw
from bench.webhook.serving import NAMES, OURS

PACE = Pace(2, 1.5)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


def some_figures(rate: float = 1000.0, latency: float = 1.0, **outcomes: int) -> Figures:
    """Make figures of a run."""
    return Figures(rate, latency, latency * 2, 50.0, 80.0, 0.5, outcomes or {"answered": 1000})


def some_throughput(rates: dict[str, float]) -> webhook.Throughput:
    """Make figures of every server; those that are not named answer 1,000 reviews a second."""
    found = {
        webhook.Key(name, connections, pods): some_figures(rates.get(name, 1000.0), 1000 / rates.get(name, 1000.0))
        for name in NAMES
        for connections in webhook.CONNECTIONS
        for pods in ("replicas", "distinct")
    }
    return webhook.Throughput(found, (some_figures(), some_figures(1500.0)))


def some_storm(**outcomes: int) -> StormFigures:
    """Make figures of a storm."""
    made = {word.replace("_", " "): Outcome(number, number // 2, 10.0, 90.0) for word, number in outcomes.items()}
    return StormFigures(sum(outcomes.values()), 2.0, 70, 0.4, 3.0, made)


@pytest.mark.parametrize(
    ("measured", "at_least", "met"), [(2.0, False, True), (2.1, False, False), (2.0, True, True), (1.9, True, False)]
)
def test_bar_has_a_side(measured: float, at_least: bool, met: bool) -> None:
    """A bar is met at its limit and on its good side."""
    bar = Bar("what", measured, 2.0, "x", at_least=at_least)

    assert bar.met is met
    assert ("| met |" in bar.row()) is met


@given(cuts=st.lists(st.integers(0, 60), max_size=5))
@pytest.mark.parametrize(("raw", "status"), [(OK, 200), (CHUNKED, 201)])
def test_answer_is_read_in_whatever_pieces_it_comes(raw: bytes, status: int, cuts: list[int]) -> None:
    """Only the last piece makes an answer."""
    reader = AnswerReader()
    edges = sorted({0, len(raw), *(min(cut, len(raw)) for cut in cuts)})
    answers = [reader.feed(raw[begin:end]) for begin, end in pairwise(edges)]

    assert [answer.status if answer else None for answer in answers] == [*[None] * (len(answers) - 1), status]


@pytest.mark.parametrize(
    ("head", "body", "outcome"),
    [
        (b"HTTP/1.1 200 OK", b"", "answered"),
        (b"HTTP/1.1 201 Created", b'{"image":"proxy.replicated.com/proxy/a/b"}', "rewritten"),
        (b"HTTP/1.1 201 Created", b'{"image":"nginx"}', "unrewritten"),
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1", b"", "shed"),
        (b"HTTP/1.1 503 Service Unavailable", b"", "status 503"),
        (b"HTTP/1.1 429 Too Many Requests", b"", "status 429"),
    ],
)
def test_outcome_is_read_from_the_answer(head: bytes, body: bytes, outcome: str) -> None:
    """A 503 that says when to come again was shed; a Pod was rewritten if its image says so."""
    answer = AnswerReader().feed(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    assert answer is not None
    assert answer.outcome == outcome


def test_reviews_differ_as_those_of_a_cluster() -> None:
    """No UID comes twice, and each request holds its own."""
    target = Target((1,), "webhook.bench.svc", "", NAMESPACE)
    sent = list(islice(target.requests(), 120))
    uids = [json.loads(request.partition(b"\r\n\r\n")[2])["request"]["uid"].encode() for request, _ in sent]

    assert uids == [expected for _, expected in sent]
    assert len(set(uids)) == len(uids)


def test_pods_differ_as_their_words_say() -> None:
    """Replicas have their images in common, distinct Pods have not; neither review is longer than 6 KB."""
    images = {make: {tuple(make(number).images) for number in range(20)} for make in (replica, distinct)}

    assert {make: len(found) for make, found in images.items()} == {replica: 1, distinct: 20}
    assert all(5000 < len(review_body(make(3))) <= 6144 for make in images)


def test_pod_for_the_api_server_belongs_to_nobody() -> None:
    """An owner that does not exist would have it collected."""
    assert set(bare_pod(replica(0), "a")["metadata"]) == {"generateName", "namespace", "labels", "annotations"}


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1e9"])
def test_senseless_seconds_are_refused(text: str) -> None:
    """The error names the variable and its value."""
    with pytest.raises(InvalidSizes, match=f"SECONDS={text} is no number"):
        read_pace({"SECONDS": text}, 3, 1.5)


def test_pace_has_defaults() -> None:
    """An empty variable is none."""
    assert read_pace({"SECONDS": "", "ROUNDS": "1"}, 3, 1.5) == Pace(1, 1.5)


def test_median_adds_outcomes_up() -> None:
    """Figures are those of the run in the middle, outcomes those of all."""
    found = median([some_figures(1.0, answered=1), some_figures(9.0, shed=2), some_figures(2.0, answered=4)])

    assert (found.rate, found.outcomes) == (2.0, {"answered": 5, "shed": 2})


@pytest.mark.parametrize(
    ("rates", "missed"),
    [
        ({OURS: 20_000.0}, 0),
        ({OURS: 20_000.0, "go-lean": 20_001.0}, 3),
        ({OURS: 6_000.0}, 2),
    ],
)
def test_bars_of_the_webhook_tell_what_was_missed(rates: dict[str, float], missed: int) -> None:
    """Against a faster lean handler both rates and p99 are missed; p50 may be a quarter above."""
    given = {**rates, "go-lean-fast": 1.0}

    assert sum(not bar.met for bar in webhook.bars(some_throughput(given))) == missed


def test_text_of_the_webhook_holds_every_server(tmp_path: Path) -> None:
    """Each is in the table of each number of connections, and the plot is written."""
    text = webhook.render(PACE, some_throughput({}))
    draw({(name, connections): 10.0 for name in NAMES for connections in webhook.CONNECTIONS}, tmp_path)

    assert all(text.count(f"| {title} | 1,000 |") == len(webhook.CONNECTIONS) for title in NAMES.values())
    assert (tmp_path / "webhook.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(("latency", "met"), [(1.25, True), (1.3, False)])
def test_bars_of_admission_compare_with_nothing_installed(latency: float, met: bool) -> None:
    """A Pod may take a quarter longer."""
    found = {
        admission.Key(situation, connections): some_figures(latency=latency if situation == "webhook" else 1.0)
        for situation in admission.SITUATIONS
        for connections in admission.CONNECTIONS
    }
    cost = admission.Cost(found)

    assert [bar.met for bar in admission.bars(cost)] == [met, met]
    assert f"| the webhook | 8 | {latency:.2f} | {latency:.2f}x |" in admission.render(PACE, cost, fsync=True)


def test_text_of_overload_adds_up() -> None:
    """Shares are those of what was due, and what is neither answered, shed nor timed out is told as well."""
    storm = some_storm(answered=40, shed=40, timed_out=10, connection_broken=10)
    through = overload.Through(some_figures(), 100.0, storm, some_storm(rewritten=6, unrewritten=4), {"a_total": 3.0})
    text = overload.render(PACE, overload.Overload((overload.Direct(3.0, 50.0, storm),), through))

    assert "| 3x | 50/s | 100 | 20.0% | 40.0% | 40.0% | 10.0% | 10.0% | 20 | 70 | 40% | 3 ms |" in text
    assert "| unrewritten | 4 | 40.0% | 10 | 90 |" in text
    assert "| `a_total` | 3 |" in text


METRICS = """
# TYPE apiserver_admission_webhook_fail_open_count counter
apiserver_admission_webhook_fail_open_count{name="pods.proxy.kots.io",type="admit"} 3
apiserver_admission_webhook_fail_open_count{name="others.example.com",type="admit"} 9
# TYPE apiserver_admission_webhook_request_total counter
apiserver_admission_webhook_request_total{code="200",name="pods.proxy.kots.io",operation="CREATE",rejected="false"} 5
apiserver_admission_webhook_request_total{code="200",name="pods.proxy.kots.io",operation="UPDATE",rejected="false"} 2
# TYPE apiserver_request_duration_seconds histogram
apiserver_request_duration_seconds_bucket{resource="pods",verb="POST",le="+Inf"} 4
apiserver_request_duration_seconds_sum{resource="pods",verb="POST"} 0.5
apiserver_request_duration_seconds_count{resource="pods",verb="POST"} 4
apiserver_request_duration_seconds_count{resource="pods",verb="LIST"} 7
"""


def test_metrics_of_others_are_left_out() -> None:
    """Counted is what is about our webhook or the creation of Pods, added up over labels that nobody asks for."""
    counts = {name.replace("_total", ""): value for name, value in read_counts(METRICS).items()}

    assert counts == {
        "apiserver_admission_webhook_fail_open_count{name=pods.proxy.kots.io}": 3,
        "apiserver_admission_webhook_request{code=200,rejected=false}": 7,
        "apiserver_request_duration_seconds_sum": 0.5,
        "apiserver_request_duration_seconds_count": 4,
    }
