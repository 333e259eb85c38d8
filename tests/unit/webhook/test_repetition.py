"""Pods that come again and again are noticed, scaling up is not, and memory stays bounded."""

from __future__ import annotations

from typing import Any

import pytest

from builders import ids
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook import repetition
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.repetition import Repetition
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, to_bytes

CLUSTER = "Cluster.postgresql.example.com"
STATEFUL = "StatefulSet.apps"


class Watched:
    """A count of repetitions with its metric."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self.repetition = Repetition(self._metrics.repeated_pods)

    def note(self, times: int, *, name: str = "db-1", owner: str = CLUSTER, now: float = 100.0) -> float:
        """Take note of a Pod several times; returns how many were counted so far."""
        for _ in range(times):
            self.repetition.note("app", name, owner, now)
        return self._metrics.registry.get_sample_value("replicated_proxy_repeated_pods_total") or 0.0


CASES: list[tuple[str, str, str, int, int]] = [
    ("same name, as often as is fine", CLUSTER, "db-1", 20, 0),
    ("same name, too often", CLUSTER, "db-1", 22, 2),
    ("same name behind a StatefulSet", STATEFUL, "db-1", 22, 2),
    ("names that are made up, as often as is fine", CLUSTER, "", 200, 0),
    ("names that are made up, too often", CLUSTER, "", 203, 3),
    ("a Deployment that scales up", "ReplicaSet.apps", "", 1000, 0),
    ("a Job's Pods", "Job.batch", "", 1000, 0),
    ("nobody's Pod", "", "db-1", 1000, 0),
]


@pytest.mark.parametrize(("owner", "name", "times", "counted"), [row[1:] for row in CASES], ids=ids(CASES))
def test_pod_that_comes_too_often_is_counted(owner: str, name: str, times: int, counted: int) -> None:
    """What is beyond the limit counts; what scaling up looks like, and what no controller makes, never does."""
    assert Watched().note(times, name=name, owner=owner) == counted


def test_other_pods_of_the_same_owner_are_counted_by_themselves() -> None:
    """A StatefulSet that starts a hundred Pods repeats none."""
    watched = Watched()

    assert [watched.note(1, name=f"db-{number}", owner=STATEFUL) for number in range(100)][-1] == 0


def test_every_ten_minutes_begin_anew() -> None:
    """A Pod that is made anew now and then is no loop."""
    watched = Watched()

    assert [watched.note(20, now=moment) for moment in (100.0, 700.0, 1300.0)] == [0, 0, 0]
    assert watched.note(1, now=1899.9) == 1


def test_log_names_the_owner_once(caplog: pytest.LogCaptureFixture) -> None:
    """The line says whose Pods they are and what to do, and is not repeated with each of them."""
    Watched().note(50)

    (record,) = caplog.records
    assert "rewrite.excludedOwners" in record.message
    assert (record.__dict__["namespace"], record.__dict__["owner"]) == ("app", CLUSTER)


def test_log_quotes_no_more_than_names_are_long(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks chooses the names: a line stays a line."""
    Watched().note(50, name="n" * 100_000, owner="o" * 100_000)

    (record,) = caplog.records
    assert (len(record.__dict__["pod"]), len(record.__dict__["owner"])) == (253, 253)


def test_memory_and_log_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """However many names somebody thinks up, no more are kept, and no more lines are written."""
    monkeypatch.setattr(repetition, "_MOST_KEYS", 20)
    watched = Watched()
    for number in range(100):
        counted = watched.note(21, name=f"db-{number}")

    assert counted == 20
    assert len(caplog.records) == 10


class Replica:
    """A handler with a table and its metrics."""

    def __init__(self) -> None:
        tables = TableHolder()
        tables.update(a_config_map())
        self._metrics = Metrics()
        self._handler = ReviewHandler(tables, RewritePolicy(), Known(), self._metrics)

    def counted_after(self, times: int, *, image: str = "quay.io/my-org/api:v1", **differs: Any) -> float:
        """Send the same review several times; returns how many repetitions were counted."""
        pod = a_pod_body(image)
        pod["metadata"]["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}]
        body = to_bytes(a_review(pod, **({"name": "db-0"} | differs)))
        for _ in range(times):
            self._handler.answer(body)
        return self._metrics.registry.get_sample_value("replicated_proxy_repeated_pods_total") or 0.0


def test_webhook_notices_a_pod_that_it_rewrites_again_and_again() -> None:
    """Whether its answer was decided or remembered, a rewritten Pod that comes too often counts."""
    assert Replica().counted_after(23) == 3


QUIET: list[tuple[str, dict[str, Any]]] = [
    ("dry run", {"dryRun": True}),
    ("nothing to rewrite", {"image": "localhost/api"}),
    ("another namespace", {"namespace": "elsewhere"}),
]


@pytest.mark.parametrize("differs", [row[1] for row in QUIET], ids=ids(QUIET))
def test_webhook_takes_no_note_of_pods_that_it_leaves_alone(differs: dict[str, Any]) -> None:
    """A Pod that is stored as it was sent gives no controller a reason to recreate it."""
    assert Replica().counted_after(50, **differs) == 0
