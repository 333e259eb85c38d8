"""Remembered answers: the same bytes and counts as decided ones, for a while, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from builders import SECRET_NAME, Json, a_route, a_table
from replicated_proxy.core.admission import MARKS, NODES_GROUP
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook import memo
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.memo import AnswerMemo, key_of
from replicated_proxy.webhook.reviews import decode_review
from replicated_proxy.webhook.tables import TableHolder
from serving import a_config_map, a_pod_body, a_review, read_response, to_bytes

COUNTER: Final = Counter("counted", "Counted.", registry=CollectorRegistry())
TABLE: Final = a_table()
POLICY: Final = RewritePolicy(excluded_owners=frozenset({"Cluster.postgresql.cnpg.io"}))


class Learning:
    """A detector that learns: what it is told, and nothing else."""

    def __init__(self) -> None:
        self.revision = 0
        self.known: dict[str, Visibility] = {}

    def learn(self, repository: str, visibility: Visibility) -> None:
        """Know something new."""
        self.known[repository] = visibility
        self.revision += 1

    def look_up(self, reference: ImageReference, _namespace: str) -> Visibility:
        """Return what is known."""
        return self.known.get(reference.repository, Visibility.PRIVATE)

    async def find_out(self, references: Sequence[ImageReference], _namespace: str, _seconds: float) -> None:
        """Never have to."""
        raise AssertionError(f"asked about {references}")

    settle = look_up


@dataclass
class Side:
    """A handler with counts of its own."""

    tables: TableHolder
    detector: Learning
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        """Make the handler."""
        self.renew()

    def renew(self) -> None:
        """Begin with a handler that remembers nothing."""
        self.handler = ReviewHandler(self.tables, POLICY, self.detector, self.metrics)

    def answer(self, body: bytes) -> bytes:
        """Answer at once."""
        answer = self.handler.answer(body)
        assert isinstance(answer, bytes)
        return answer

    def counts(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return everything that was counted."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in self.metrics.registry.collect()
            if metric.name
            in {"replicated_proxy_reviews", "replicated_proxy_images", "replicated_proxy_pods_left_alone"}
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }


IMAGES: Final = st.sampled_from(
    ["nginx", "quay.io/a/b:v1", "auto", "", "localhost/x", "proxy.replicated.com/proxy/a/b"]
)
WORDS: Final = st.sampled_from(["disabled", "my-app", "other", "", '{"containers/c":"nginx"}', "no json"])
TEXTS: Final = st.none() | st.dictionaries(st.sampled_from([*sorted(MARKS), "a", "b"]), WORDS, max_size=3)
NAMES: Final = st.none() | st.sampled_from(["c", "d", ""])
CONTAINERS: Final = st.none() | st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "image": st.none() | IMAGES}, optional={"imagePullPolicy": st.sampled_from(["Never", "Always"])}
    ),
    max_size=2,
)
SOURCES: Final = st.fixed_dictionaries({"reference": IMAGES}, optional={"pullPolicy": st.just("Never")})
VOLUMES: Final = st.none() | st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": st.none() | SOURCES, "emptyDir": st.just({})}), max_size=3
)
OWNERS: Final = st.none() | st.lists(
    st.sampled_from(
        [
            {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a"},
            {"kind": None},
        ]
    ),
    max_size=1,
)
OLD: Final = st.none() | st.fixed_dictionaries({"spec": st.fixed_dictionaries({"ephemeralContainers": CONTAINERS})})
METADATA: Final[dict[str, st.SearchStrategy[Any]]] = {
    "name": NAMES,
    "labels": TEXTS,
    "annotations": TEXTS,
    "ownerReferences": OWNERS,
}
SPEC: Final[dict[str, st.SearchStrategy[Any]]] = {
    "containers": CONTAINERS,
    "initContainers": CONTAINERS,
    "ephemeralContainers": CONTAINERS,
    "volumes": VOLUMES,
    "imagePullSecrets": st.none() | st.lists(st.fixed_dictionaries({"name": NAMES | st.just(SECRET_NAME)}), max_size=2),
}
REQUEST: Final[dict[str, st.SearchStrategy[Any]]] = {
    "uid": st.sampled_from(["one", "two"]),
    "namespace": st.sampled_from(["app", "other", None]),
    "dryRun": st.booleans(),
    "oldObject": OLD,
    "userInfo": st.fixed_dictionaries({"groups": st.sampled_from([None, [], [NODES_GROUP]])}),
}
CHANGES: Final[st.SearchStrategy[tuple[str, Any]]] = st.sampled_from([METADATA, SPEC, REQUEST]).flatmap(
    lambda fields: st.sampled_from(sorted(fields)).flatmap(lambda name: st.tuples(st.just(name), fields[name]))
)


@st.composite
def reviews(draw: st.DrawFn) -> bytes:
    """Return a review that differs little from others, so that some ask the same, and others nearly."""
    changed = dict(draw(st.lists(CHANGES, max_size=2)))
    ephemeral = draw(st.booleans())
    pod = a_pod_body("nginx")
    if ephemeral:
        pod["spec"] |= {
            "ephemeralContainers": [{"name": "c", "image": "nginx"}],
            "imagePullSecrets": [{"name": SECRET_NAME}],
        }
    for part, names in ((pod["metadata"], METADATA), (pod["spec"], SPEC)):
        part.update({name: value for name, value in changed.items() if name in names})
    kind = {"operation": "UPDATE", "subResource": "ephemeralcontainers"} if ephemeral else {}
    return to_bytes(a_review(pod, **kind, **{name: value for name, value in changed.items() if name in REQUEST}))


TABLES: Final = st.sampled_from(
    [
        a_table(),
        a_table(a_route(namespace="elsewhere")),
        a_table(a_route(namespace="elsewhere", every_namespace=True), claims={"app": "my-app"}),
        a_table(a_route(retained=True)),
        a_table(a_route(), a_route("other")),
    ]
)
LESSONS: Final = st.tuples(
    st.sampled_from(["docker.io/library/nginx", "quay.io/a/b"]), st.sampled_from(list(Visibility))
)


@given(
    st.lists(reviews(), min_size=2, max_size=8),
    st.lists(st.integers(0, 7) | TABLES | LESSONS, max_size=12),
)
def test_remembered_answers_are_those_that_would_be_decided(questions: list[bytes], steps: list[Any]) -> None:
    """For any sequence of reviews, tables and lessons, remembering changes no byte of an answer and no count."""
    tables, detector = TableHolder(), Learning()
    tables.update(a_config_map())
    remembering, forgetful = Side(tables, detector), Side(tables, detector)
    for step in (*range(len(questions)), *steps):
        if isinstance(step, int):
            body = questions[step % len(questions)]
            forgetful.renew()
            assert remembering.answer(body) == forgetful.answer(body)
        elif isinstance(step, tuple):
            detector.learn(*step)
        else:
            tables.update(a_config_map(step))
    assert remembering.counts() == forgetful.counts()


def key(pod: Json | None = None, **differs: Any) -> Any:
    """Return the key of a review."""
    return key_of(decode_review(to_bytes(a_review(pod, **differs))))


def a_replica(suffix: str, **metadata: Any) -> Json:
    """Return one of a Deployment's Pods, as the API server completes it."""
    return a_pod_body(
        "nginx",
        metadata={"name": f"api-{suffix}", "labels": {"app": "api"}, **metadata},
        volumes=[{"name": f"kube-api-access-{suffix}", "projected": {}}],
    )


def test_pods_of_one_owner_ask_the_same() -> None:
    """Names of Pod and token volume, and labels and annotations that decide nothing, make no other question."""
    first = key(a_replica("aaaaa", annotations={"note": "1"}), uid="one")
    assert key(a_replica("bbbbb", annotations={"note": "2"}, labels={"app": "web"}), uid="two") == first


@pytest.mark.parametrize("mark", sorted(MARKS))
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_marks_make_another_question(where: str, mark: str) -> None:
    """Whatever a decision may read of labels and annotations is part of the question, with its value."""
    marks: list[Json] = [{}, {mark: "x"}, {mark: "y"}]
    keys = [key(a_replica("a", **({"annotations": {}} | {where: each}))) for each in marks]
    assert len(set(keys)) == 3


OTHER_POD: Final = {"metadata": {}, "spec": {"ephemeralContainers": [{"name": "c"}]}}
OTHERS: Final[list[tuple[str, Json, Json]]] = [
    ("namespace", {}, {"namespace": "other"}),
    ("operation", {}, {"operation": "UPDATE", "subResource": "ephemeralcontainers"}),
    ("dry run", {}, {"dryRun": True}),
    ("a node's", {}, {"userInfo": {"groups": [NODES_GROUP]}}),
    ("old ephemeral containers", {}, {"oldObject": OTHER_POD}),
    ("image", {"containers": [{"name": "c0", "image": "redis"}]}, {}),
    ("init container", {"initContainers": [{"name": "i", "image": "nginx"}]}, {}),
    ("ephemeral container", {"ephemeralContainers": [{"name": "e", "image": "nginx"}]}, {}),
    ("image volume", {"volumes": [{"name": "v", "image": {"reference": "nginx"}}]}, {}),
    ("its place", {"volumes": [{"name": "s"}, {"name": "v", "image": {"reference": "nginx"}}]}, {}),
    ("no pull secrets", {"imagePullSecrets": []}, {}),
    ("pull secret", {"imagePullSecrets": [{"name": SECRET_NAME}]}, {}),
]


def test_whatever_decides_makes_another_question() -> None:
    """Every field that a decision looks at is part of the question."""
    keys = {key(a_pod_body("nginx")): "plain"} | {
        key(a_pod_body("nginx", **spec), **request): name for name, spec, request in OTHERS
    }
    owned = [{"apiVersion": "apps/v1", "kind": "ReplicaSet"}]
    keys[key(a_pod_body("nginx", metadata={"ownerReferences": owned}))] = "owner"
    assert list(keys.values()) == ["plain", *(name for name, *_ in OTHERS), "owner"]


def test_large_reviews_are_decided_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit nothing is remembered: there the size of all annotations may decide."""
    tables = TableHolder()
    tables.update(a_config_map())
    side = Side(tables, Learning())
    remembered: list[object] = []
    monkeypatch.setattr(AnswerMemo, "remember", lambda *arguments: remembered.append(arguments))
    large = to_bytes(a_review(a_pod_body("nginx", metadata={"annotations": {"a": "x" * memo.LARGEST_BODY}})))
    assert b'"patch"' in side.answer(large)
    assert not remembered
    side.answer(to_bytes(a_review()))
    assert len(remembered) == 1


def test_failures_are_not_remembered() -> None:
    """A review that failed is decided anew when it comes again."""
    calls: list[object] = []

    def fail(*_arguments: object) -> Any:
        calls.append(1)
        raise RuntimeError

    tables = TableHolder()
    tables.update(a_config_map())
    handler = ReviewHandler(tables, POLICY, Learning(), Metrics(), decide=fail)
    for _ in range(2):
        assert read_response(handler.answer(to_bytes(a_review())))["allowed"] is True
    assert len(calls) == 2


def test_answers_grow_old() -> None:
    """An answer is given for five seconds, then decided anew: verdicts are refreshed because images are looked at."""
    remembered = AnswerMemo()
    remembered.hold_to(TABLE, 1)
    remembered.remember("key", b"tail", {COUNTER: 1}, 100.0)
    found = remembered.recall("key", 104.9)
    assert found is not None
    assert (found.tail, found.counters) == (b"tail", ((COUNTER, 1),))
    assert remembered.recall("key", 105.0) is None


def test_other_table_or_revision_forgets() -> None:
    """What another table or other knowledge decided is not given, and takes no memory."""
    for table, revision in ((a_table(), 1), (TABLE, 2)):
        remembered = AnswerMemo()
        remembered.hold_to(TABLE, 1)
        remembered.remember("key", b"tail", {}, 100.0)
        remembered.hold_to(table, revision)
        assert remembered.recall("key", 100.0) is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 400)), max_size=60))
def test_memory_is_bounded(answers: list[tuple[int, int]]) -> None:
    """Whatever is remembered, the number of answers and their bytes stay within bounds, and the newest is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memo, "_MOST_ANSWERS", 5)
        patch.setattr(memo, "_MOST_BYTES", 1000)
        remembered = AnswerMemo()
        for number, size in answers:
            remembered.remember(f"{number}", b"x" * size, {}, 100.0)
            kept = [found for each in range(9) if (found := remembered.recall(f"{each}", 100.0)) is not None]
            assert len(kept) <= 5
            assert sum(found.size for found in kept) <= 1000
            assert remembered.recall(f"{number}", 100.0) in kept
