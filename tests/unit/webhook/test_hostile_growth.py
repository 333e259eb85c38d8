"""How the work of a review grows with what a tenant chooses: counted in calls, not in time.

Python reports each call to a profiling function, so the count is the same on every machine. What it does not see, the
regular expressions, is bounded by the length of what they are given.
"""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType
from typing import Any, Final

import pytest

from builders import a_route, a_table, patterns, selectors
from replicated_proxy.core.images import InvalidImageReference, parse_image
from replicated_proxy.core.rewriting import Mode, RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, to_bytes

MANY: Final = 800


def calls_of(table: RoutingTable, policy: RewritePolicy, **pod: Any) -> int:
    """Count the calls, of Python's functions and of C's, that one review of a Pod takes."""
    tables = TableHolder()
    tables.update(a_config_map(table))
    handler = ReviewHandler(tables, policy, Known(), Metrics())
    handler.answer(to_bytes(a_review()))
    body = to_bytes(a_review(pod))
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        answer = handler.answer(body)
    finally:
        sys.setprofile(before)
    assert isinstance(answer, bytes)
    return counted


def an_application(entries: int) -> RoutingTable:
    """Return a table whose License's Application says much about images, none of which is ours."""
    images = selectors(*(f"quay.io/other/i{index}:v1" for index in range(entries)))
    upstreams = patterns(*(f"r{index}.example.com/a" for index in range(entries)))
    route = a_route(
        namespace="elsewhere",
        every_namespace=True,
        excluded_images=images,
        excluded_at_home=images,
        claimed_images=images,
        claimed_upstreams=upstreams,
    )
    return a_table(route)


def a_policy(entries: int) -> RewritePolicy:
    """Return a policy with many patterns."""
    many = patterns(*(f"*.p{index}.example.com" for index in range(entries)))
    return RewritePolicy(mode=Mode.ALL, include=many, exclude=many)


def a_large_pod(images: int) -> dict[str, Any]:
    """Return a Pod with many images on hosts with several parents."""
    return a_pod_body(*(f"a.b.c.example.com/i{index}" for index in range(images)))


def test_work_grows_with_images_in_proportion() -> None:
    """Twice the images take twice the calls."""
    once = calls_of(an_application(10), a_policy(10), **a_large_pod(MANY))
    twice = calls_of(an_application(10), a_policy(10), **a_large_pod(2 * MANY))

    assert once > MANY
    assert twice < 2.1 * once


def test_work_does_not_grow_with_what_applications_say() -> None:
    """Ten thousand entries in each list of an Application and of the settings take no more calls for a Pod than ten."""
    few = calls_of(an_application(10), a_policy(10), **a_large_pod(MANY))
    many = calls_of(an_application(10_000), a_policy(10_000), **a_large_pod(MANY))

    assert many < 1.1 * few


GROWING: Final[dict[str, Any]] = {
    "labels": lambda count: {"metadata": {"labels": {f"l{index}": "" for index in range(count)}}, "spec": {}},
    "annotations": lambda count: {"metadata": {"annotations": {f"l{index}": "" for index in range(count)}}, "spec": {}},
    "pull-secrets": lambda count: a_pod_body("a", imagePullSecrets=[{"name": f"s{index}"} for index in range(count)]),
    "volumes": lambda count: a_pod_body("a", volumes=[{"name": f"v{index}"} for index in range(count)]),
    "images-to-warn-about": lambda count: a_pod_body(*(f"a.b:1/c{index}" for index in range(count))),
    "owners": lambda count: {
        "metadata": {"ownerReferences": [{"apiVersion": "a/v1", "kind": f"K{index}"} for index in range(count)]},
        "spec": {},
    },
}


@pytest.mark.parametrize("pod", GROWING.values(), ids=GROWING.keys())
def test_work_grows_with_anything_else_in_proportion(pod: Any) -> None:
    """Twice the labels, annotations, secrets, volumes, warnings or owners take at most twice the calls."""
    once = calls_of(an_application(10), a_policy(10), **pod(5 * MANY))
    twice = calls_of(an_application(10), a_policy(10), **pod(10 * MANY))

    assert twice <= 2.1 * once


TEXTS: Final = {
    "dashes": "a-" * 2048,
    "dots": "a." * 2048,
    "segments": "a/" * 2048,
    "label": "a" * 4095 + "!",
    "underscores": "a" + "__a" * 1365,
    "run-of-dashes": "a" + "-" * 4094 + "!",
    "port": "a:" + "1" * 4093 + "/",
    "digest-algorithm": "a@" + "a+" * 2046 + ":0",
    "digest": "a@sha256:" + "0" * 4086 + "!",
    "tag": "a:" + "b" * 4093,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_matching_an_image_takes_little_memory(text: str) -> None:
    """The grammar's engine remembers a place for each repetition: bounded, since no longer text comes to it."""
    assert _memory_of(text) < 1024 * 1024


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_longer_images_are_not_matched_at_all(text: str) -> None:
    """An image of megabytes is refused by its length, before anything is made of it."""
    assert _memory_of(text * 500) < 2048


def _memory_of(text: str) -> int:
    """Return how much refusing an image takes at its peak."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidImageReference):
            parse_image(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
