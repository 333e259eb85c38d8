"""Laws on structures: Pods of hostile texts, and reviews with other types than a field has, anywhere in them."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from answering import a_handler, answer_of
from corpus.reviews.judging import Json, judge, operations_of, patch, read_request
from corpus.reviews.making import EPHEMERAL, ORDINARY
from replicated_proxy.core.admission import ORIGINAL_IMAGES_ANNOTATION
from serving import a_review, to_bytes

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Written by ASCII only, so a lone surrogate comes through as its escape.
ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IMAGES: Final = (
    TEXT
    | st.sampled_from(
        [
            "nginx",
            "auto",
            "quay.io/my-org/api:v1",
            "quay.io:5000/a\u202eb",
            "registry.replicated.com/my-app/api:1",
            "proxy.replicated.com/proxy/my-app/quay.io/a/b",
            "sha256:" + "0" * 64,
            "quay.io/a@sha256:" + "0" * 64,
            "%s\r\n\x1b[31m",
        ]
    )
    | st.builds(lambda host, path: f"{host}/{path}", TEXT, TEXT)
)
POLICIES: Final = st.sampled_from(["Never", "Always", "IfNotPresent", "never"])
NAMES: Final = TEXT | st.sampled_from(["a/b", "~0~1", "..", "-", "api"])


def optional(required: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object of which every field may be missing or null."""
    return st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in required.items()})


CONTAINERS: Final = st.lists(optional({"name": NAMES, "image": IMAGES, "imagePullPolicy": POLICIES}), max_size=4)
VOLUMES: Final = st.lists(
    optional({"name": NAMES, "image": optional({"reference": IMAGES, "pullPolicy": POLICIES})}), max_size=3
)
EARLIER: Final = TEXT | ANY_JSON.map(json.dumps) | st.dictionaries(NAMES, TEXT, max_size=3).map(json.dumps)
TEXTS: Final = st.dictionaries(NAMES, TEXT, max_size=3) | st.builds(
    lambda texts, earlier: {**texts, ORIGINAL_IMAGES_ANNOTATION: earlier},
    st.dictionaries(NAMES, TEXT, max_size=2),
    EARLIER,
)
SPECS: Final = optional(
    {
        "containers": CONTAINERS,
        "initContainers": CONTAINERS,
        "ephemeralContainers": CONTAINERS,
        "volumes": VOLUMES,
        "imagePullSecrets": st.lists(
            optional({"name": NAMES | st.just("replicated-proxy-registry")}),
            max_size=3,
        ),
    }
)
METADATA: Final = optional({"labels": st.dictionaries(NAMES, TEXT, max_size=3), "annotations": TEXTS})


HANDLER: Final = a_handler()


def check(review: Json) -> Json | None:
    """Check the answer to a review, that no other review changed it, and that a second one changes nothing."""
    body = to_bytes(review)
    answer = answer_of(HANDLER, body)
    assert answer == answer_of(a_handler(), body)
    if answer is None:
        return None
    response = judge(body, answer)
    if operations_of(response):
        request = read_request(body)
        assert request is not None
        second = to_bytes({**review, "request": {**request, "object": patch(request, response)}})
        answered = answer_of(HANDLER, second)
        assert answered is not None
        assert not operations_of(judge(second, answered))
    return response


def places(value: Any, *path: str | int) -> list[tuple[str | int, ...]]:
    """List the places in a value, the outermost first."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += places(item, *path, key)
    return found


REVIEWS: Final = (json.loads(ORDINARY), json.loads(EPHEMERAL))
PLACES: Final = tuple(places(review) for review in REVIEWS)


@st.composite
def spoiled(draw: st.DrawFn) -> Json:
    """Put any JSON at one to three places of a real review."""
    which = draw(st.sampled_from([0, 1]))
    review: Json = copy.deepcopy(REVIEWS[which])
    for _ in range(draw(st.integers(1, 3))):
        put(review, draw(st.sampled_from(PLACES[which])), draw(ANY_JSON))
    return review


def put(value: Any, path: tuple[str | int, ...], new: Any) -> None:
    """Set a place, unless what it lay in has been replaced."""
    for key in path[:-1]:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return
    with contextlib.suppress(IndexError, TypeError):
        value[path[-1]] = new


@given(SPECS, METADATA)
@settings(max_examples=400)
def test_pod_of_hostile_texts_is_answered_well(spec: Json, metadata: Json) -> None:
    """A Pod with the types of a Pod is always answered, whatever its texts say."""
    assert check(a_review({"metadata": metadata, "spec": spec})) is not None


@given(SPECS, METADATA, st.none() | optional({"spec": SPECS}))
def test_ephemeral_containers_of_hostile_texts_are_answered_well(spec: Json, metadata: Json, old: Json | None) -> None:
    """So is an update of ephemeral containers."""
    pod = {"metadata": metadata, "spec": spec}
    update = {"operation": "UPDATE", "subResource": "ephemeralcontainers", "oldObject": old}
    assert check(a_review(pod, **update)) is not None


@given(spoiled())
@settings(max_examples=600)
def test_review_with_other_types_is_malformed_or_answered_well(review: Json) -> None:
    """Any JSON anywhere in a real review, several times."""
    check(review)


@given(ANY_JSON, ANY_JSON)
def test_any_object_is_malformed_or_answered_well(pod: Any, old: Any) -> None:
    """Any JSON as the object, and as the old one."""
    check({**REVIEWS[0], "request": {**REVIEWS[0]["request"], "object": pod, "oldObject": old}})


@given(SPECS, METADATA, SPECS, METADATA)
@settings(max_examples=100)
def test_answers_do_not_depend_on_what_came_before(spec: Json, metadata: Json, other: Json, another: Json) -> None:
    """Of reviews that differ in one field each gets what it would from a handler that knows of no other."""
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "nginx"}], **spec}}
    differing: list[Json] = [
        *({"object": {**pod, "spec": {**pod["spec"], field: value}}} for field, value in other.items()),
        *({"object": {**pod, "metadata": {**metadata, field: value}}} for field, value in another.items()),
        *({"object": {**pod, "metadata": {**metadata, "annotations": marks}}} for marks in MARKS),
        *({"object": {**pod, "metadata": {**metadata, "labels": marks}}} for marks in MARKS),
        *({"object": pod, **differs} for differs in DIFFERENT),
    ]
    handler = a_handler()
    for differs in differing:
        body = to_bytes(a_review(**{"object": pod, **differs}))
        answer = handler.answer(body)
        assert isinstance(answer, bytes)
        judge(body, answer)
        assert answer == a_handler().answer(body)


MARKS: Final[list[Json | None]] = [
    None,
    {},
    {"a": "b"},
    {"proxy.kots.io/app": "my-app"},
    {"proxy.kots.io/app": "another"},
    {"kots.io/app-slug": "another"},
    {"proxy.kots.io/rewrite": "disabled"},
    {"kubernetes.io/config.mirror": ""},
    {ORIGINAL_IMAGES_ANNOTATION: '{"containers/z":"a"}'},
    {ORIGINAL_IMAGES_ANNOTATION: '{"containers/z":"b"}'},
]
DIFFERENT: Final[list[Json]] = [
    {"namespace": "elsewhere"},
    {"userInfo": {"groups": ["system:nodes"]}},
    {"dryRun": True},
    {"uid": "another"},
    {"operation": "DELETE"},
    {"operation": "UPDATE", "subResource": "ephemeralcontainers"},
    {"subResource": "status"},
    {"resource": {"group": "", "version": "v1", "resource": "services"}},
]
