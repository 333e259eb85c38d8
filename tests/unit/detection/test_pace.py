"""How many questions to registries there are in a time, whoever asks and whatever they call themselves."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import MISSING
from builders import a_route, a_table
from detecting import Detection
from replicated_proxy.core.askers import asker_of, is_unnamed, namespace_of
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.pace import Pace
from simulated_clock import SimulatedClock, settle

RATE = 10.0
WINDOW = 30


def taken(pace: Pace, *askers: str) -> int:
    """Return how many of these may ask, one after the other."""
    return sum(not pace.take(asker) for asker in askers)


@pytest.mark.parametrize(
    ("askers", "at_once", "limit"),
    [
        (["one"] * 1000, RATE * WINDOW / 5, "namespace"),
        ([f"n{number}" for number in range(1000)], RATE * WINDOW, "replica"),
        ([f"*n{number}" for number in range(1000)], RATE * WINDOW / 2, "wildcard"),
        (["*one"] * 1000, RATE * WINDOW / 5, "namespace"),
    ],
    ids=["one namespace", "many that are named", "many that are invented", "one of those"],
)
def test_so_many_may_come_at_once(askers: list[str], at_once: float, limit: str) -> None:
    """Half a minute's worth, and then as many as the rate says; who has no share left is told whose limit it was."""
    clock = SimulatedClock()
    pace = Pace(RATE, clock.monotonic)

    assert taken(pace, *askers) == at_once
    assert pace.take(askers[0] if limit == "namespace" else askers[-1]) == limit
    clock.jump(WINDOW)
    assert taken(pace, *askers) == at_once


def test_invented_namespaces_leave_half_to_others() -> None:
    """However many names somebody makes up, those that the table names ask as if there were half the rate."""
    clock = SimulatedClock()
    pace = Pace(RATE, clock.monotonic)
    taken(pace, *(f"*invented-{number}" for number in range(1000)))

    assert taken(pace, *(f"n{number % 5}" for number in range(1000))) == RATE * WINDOW / 2


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "*c", "*d", "*e"]), st.floats(0, 5)), max_size=200))
def test_no_more_than_the_rate_whatever_is_asked(asked: list[tuple[str, float]]) -> None:
    """In any history, all together and each asker stay within their rate and half a minute's worth."""
    clock = SimulatedClock()
    pace = Pace(1.0, clock.monotonic)
    allowed: list[str] = []
    for asker, seconds in asked:
        clock.jump(seconds)
        if not pace.take(asker):
            allowed.append(asker)
    most = clock.monotonic() + WINDOW

    assert len(allowed) <= most + 1e-6
    assert sum(map(is_unnamed, allowed)) <= most / 2 + 1e-6
    assert all(allowed.count(asker) <= most / 5 + 1e-6 for asker in set(allowed))


def test_memory_is_bounded_by_the_rate() -> None:
    """Of those who asked, only what took something in the last half minute is remembered, whatever their number."""
    clock = SimulatedClock()
    pace = Pace(RATE, clock.monotonic)
    for number in range(20_000):
        pace.take(f"n{number}")
        clock.jump(0.01)

    assert 0 < len(pace) <= 2 * RATE * WINDOW


def test_slow_rate_asks_nevertheless() -> None:
    """A rate of which half a minute's worth is less than one question gives one, in time."""
    clock = SimulatedClock()
    pace = Pace(0.01, clock.monotonic)

    assert taken(pace, "one", "one") == 1
    clock.jump(500)
    assert taken(pace, "one", "one") == 1


def test_table_says_who_is_named() -> None:
    """A License's own namespace, a listed one and one that claims an application are named; under `"*"` none is."""
    table = a_table(
        a_route(namespace="home", every_namespace=True),
        listed={"listed": (0,)},
        claims={"claiming": "my-app"},
        excluded=frozenset({"gone"}),
    )
    askers = [asker_of(namespace, table.names) for namespace in ("home", "listed", "claiming", "any", "gone")]

    assert askers == ["home", "listed", "claiming", "*any", "*gone"]
    assert [namespace_of(asker) for asker in askers] == ["home", "listed", "claiming", "any", "gone"]


async def test_held_back_question_is_presumed_and_asked_later() -> None:
    """A Pod beyond the rate waits for nothing and counts as `onError` says; the metric names whose limit it was."""
    detection = Detection(questions_per_second=0.1)
    assert await detection.know("a.example/x") == [Visibility.PUBLIC]
    assert await detection.know("b.example/x") == [Visibility.PRESUMED_PRIVATE]
    assert detection.registries.asked == ["a.example/x:latest"]
    assert detection.count("probes_total", outcome="held-back", cause="namespace") == 1

    await detection.pass_seconds(60)
    assert await detection.know("b.example/x") == [Visibility.PUBLIC]


async def test_what_is_known_costs_nothing() -> None:
    """Only questions that go out count: what is known is answered as before when the rate is used up."""
    detection = Detection(questions_per_second=0.1)
    await detection.know("a.example/x")

    for number in range(100):
        assert detection.look_up("a.example/x", f"n{number}") is Visibility.PUBLIC


async def test_tags_of_one_repository_count_each() -> None:
    """A registry that knows none of the tags is asked about each, so each is one of the rate."""
    detection = Detection(questions_per_second=0.1)
    detection.registries.answers["a.example/x"] = MISSING
    detection.registries.hanging.add("a.example")
    reviews = [detection.review(f"a.example/x:v{number}") for number in range(5)]
    await settle()
    detection.registries.release("a.example")
    for review in reviews:
        await review

    assert len(detection.registries.asked) == 1
    assert detection.count("probes_total", outcome="held-back", cause="namespace") > 0


async def test_invented_namespaces_do_not_keep_others_from_asking() -> None:
    """While thousands of invented namespaces ask, one that the table names gets its answers."""
    detection = Detection(questions_per_second=1.0)
    numbers = count()
    for _ in range(3):
        reviews = [detection.review(f"h{next(numbers)}.example/x", namespace=f"*n{next(numbers)}") for _ in range(100)]
        await settle()
        for review in reviews:
            await review
        assert await detection.know(f"mine-{next(numbers)}.example/x", namespace="app") == [Visibility.PUBLIC]

    assert len([name for name in detection.registries.asked if not name.startswith("mine")]) <= WINDOW / 2
    assert detection.count("probes_total", outcome="held-back", cause="wildcard") > 0


async def test_reported_is_the_namespace_that_is_named() -> None:
    """Other replicas are told of a holder that the table names before one that may be made up."""
    detection = Detection()
    await detection.know("a.example/x", namespace="*invented")
    (only,) = detection.detector.verdicts()
    await detection.know("a.example/x", namespace="app")
    (both,) = detection.detector.verdicts()

    assert (only.namespace, both.namespace) == ("*invented", "app")
    detection.detector.adopt([RepositoryVerdict("b.example/x", Visibility.PUBLIC, detection.clock.now(), "*other")])
    assert {each.namespace for each in detection.detector.verdicts()} == {"app", "*other"}
