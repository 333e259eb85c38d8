"""How many questions go on at a time, whose turn it is, and how many reviews may wait."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Gauge

from asking import ScriptedRegistries
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.detector import RegistryDetector
from replicated_proxy.detection.questions import Limits, Question, Questions
from replicated_proxy.detection.waiting import WaitingRoom
from replicated_proxy.settings.detecting import DetectionSettings
from replicated_proxy.telemetry.metrics import Metrics
from simulated_clock import SimulatedClock, settle

LIMITS = Limits(running=4, of_namespace=2, of_host=3, waiting=6, waiting_of_namespace=3)


@dataclass
class Asking:
    """Questions that go on until the test ends them."""

    started: list[str] = field(default_factory=list)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the queue."""
        self.questions = Questions(self._ask, lambda: 0.0, LIMITS)

    async def _ask(self, question: Question) -> None:
        """Go on until told to end."""
        self.started.append(question.repository)
        self.ends[question.repository] = asyncio.Event()
        await self.ends[question.repository].wait()

    def submit(self, repository: str, namespace: str = "app", *, urgent: bool = True) -> bool:
        """Ask about a repository."""
        host = repository.partition("/")[0]
        return self.questions.submit(Question(repository, host, namespace, urgent, 0.0))

    async def end(self, repository: str) -> None:
        """Answer a question."""
        self.ends[repository].set()
        await settle()


async def test_as_many_go_on_as_may() -> None:
    """All in all, of a namespace and to a host no more than the limits at a time; the others wait for their turn."""
    asking = Asking()
    for number in range(3):
        assert asking.submit(f"h{number}.example/x", "one")
    await settle()
    assert asking.started == ["h0.example/x", "h1.example/x"]
    for number in range(3):
        assert asking.submit(f"other.example/{number}", f"n{number}")
    await settle()
    assert len(asking.started) == 4
    await asking.end("h0.example/x")
    assert asking.started[4] in {"h2.example/x", "other.example/2"}
    await asking.questions.close()


async def test_host_does_not_take_all_the_room() -> None:
    """A registry that hangs holds its own questions up, and those to others go on."""
    asking = Asking()
    for number in range(5):
        assert asking.submit(f"slow.example/{number}", f"n{number}")
    assert asking.submit("quick.example/x", "app")
    await settle()
    assert asking.started == ["slow.example/0", "slow.example/1", "slow.example/2", "quick.example/x"]
    await asking.questions.close()


async def test_too_many_are_refused() -> None:
    """A namespace with enough questions in line gets no more, and others still do."""
    asking = Asking()
    taken = [asking.submit(f"h{number}.example/x", "hostile") for number in range(10)]
    assert sum(taken) == LIMITS.of_namespace + LIMITS.waiting_of_namespace
    assert asking.submit("victim.example/x", "victim")
    await settle()
    assert "victim.example/x" in asking.started
    await asking.questions.close()


async def test_first_come_what_reviews_wait_for_and_who_asks_least() -> None:
    """A refreshing waits for what is urgent; among those the namespace with fewest questions comes first."""
    asking = Asking()
    for number in range(2):
        asking.submit(f"a{number}.example/x", "one")
        asking.submit(f"b{number}.example/x", "two")
    asking.submit("later.example/x", "three", urgent=False)
    asking.submit("third.example/x", "one")
    asking.submit("urgent.example/x", "four")
    await settle()
    await asking.end("a0.example/x")
    assert asking.started[-1] == "urgent.example/x"
    await asking.end("a1.example/x")
    assert asking.started[-1] == "third.example/x"
    await asking.end("b0.example/x")
    assert asking.started[-1] == "later.example/x"
    await asking.questions.close()


async def test_question_in_line_becomes_that_of_whoever_asks_less() -> None:
    """Somebody's long line does not hold up others who want to know the same."""
    asking = Asking()
    for number in range(5):
        asking.submit(f"h{number}.example/x", "hostile")
    await settle()
    question = asking.questions.find("h4.example/x")
    assert question is not None
    asking.questions.join(question, parse_image("h4.example/x"), "victim", urgent=True)
    await settle()
    assert asking.started[-1] == "h4.example/x"
    await asking.questions.close()


async def test_mistake_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A question that fails in a way that nobody foresaw is logged, and the next one goes on."""

    async def fail(question: Question) -> None:
        raise RuntimeError(question.repository)

    questions = Questions(fail, lambda: 0.0, LIMITS)
    asked = [
        Question(f"h{number}.example/x", f"h{number}.example", "app", urgent=True, begun=0.0) for number in range(5)
    ]
    with caplog.at_level(logging.ERROR):
        assert all(questions.submit(each) for each in asked)
        await settle()
    assert all(each.done.is_set() for each in asked)
    assert len(caplog.records) == 5
    assert questions.find("h0.example/x") is None


async def test_question_without_room_is_no_answer() -> None:
    """What is not asked counts as unknown for this review alone; it is counted, and asked the next time."""
    metrics, registries, clock = Metrics(), ScriptedRegistries(), SimulatedClock()
    limits = Limits(running=1, of_namespace=1, waiting=1, waiting_of_namespace=1)
    detector = RegistryDetector(DetectionSettings(), registries, clock, metrics, limits)
    images = [parse_image(f"h{number}.example/x") for number in range(3)]
    registries.hanging = {"h0.example", "h1.example"}
    assert [detector.look_up(each, "app") for each in images] == [None] * 3
    review = asyncio.create_task(detector.find_out(images, "app", 2.5))
    await settle()
    sample = {"outcome": "not-asked", "cause": ""}
    assert metrics.registry.get_sample_value("replicated_proxy_detection_probes_total", sample) == 1
    assert detector.settle(images[2], "app") is Visibility.PRESUMED_PRIVATE

    registries.release("h0.example", "h1.example")
    await review
    assert detector.look_up(images[2], "app") is None
    await detector.find_out(images[2:], "app", 2.5)
    assert detector.look_up(images[2], "app") is Visibility.PUBLIC
    await detector.close()


async def test_waiting_room_has_room_for_others() -> None:
    """So many reviews may wait, and of one namespace so many; the rest is told not to."""
    gauge = Gauge("waiting", "For this test.", registry=None)
    room = WaitingRoom(gauge, most=3, most_of_namespace=2)
    with room.enter("one") as first, room.enter("one") as second, room.enter("one") as third:
        assert (first, second, third) == (True, True, False)
        with room.enter("two") as other, room.enter("three") as last:
            assert (other, last) == (True, False)
    with room.enter("one") as again:
        assert again


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_limits_hold_whatever_is_asked(asked: list[tuple[int, int, int]]) -> None:
    """No history of questions makes more go on than may, and each that was taken is answered in the end."""

    async def run() -> None:
        registries, metrics = ScriptedRegistries(), Metrics()
        detector = RegistryDetector(DetectionSettings(), registries, SimulatedClock(), metrics, LIMITS)
        for namespace, host, path in asked:
            await detector.find_out([parse_image(f"h{host}.example/p{path}")], f"n{namespace}", 0.0)
        await settle()
        assert registries.most_busy <= LIMITS.running
        assert registries.busy == 0
        refused = metrics.registry.get_sample_value(
            "replicated_proxy_detection_probes_total", {"outcome": "not-asked", "cause": ""}
        )
        assert len({(host, path) for _, host, path in asked}) <= len(registries.asked) + (refused or 0)
        await detector.close()

    asyncio.run(run())


async def test_invented_namespaces_take_half_of_the_room() -> None:
    """Questions of namespaces that nothing but `"*"` covers leave half of the places to others."""
    limits = Limits(running=4, of_namespace=4, of_host=4, waiting=8, of_unnamed=2, waiting_of_unnamed=4)
    asking = Asking()
    asking.questions = Questions(asking._ask, lambda: 0.0, limits)
    taken = [asking.submit(f"h{number}.example/x", f"*n{number}") for number in range(20)]
    await settle()

    assert (len(asking.started), sum(taken)) == (2, 6)
    assert asking.submit("mine.example/x", "app")
    await settle()
    assert asking.started[-1] == "mine.example/x"
    await asking.questions.close()


async def test_invented_namespace_cannot_make_a_question_its_own() -> None:
    """A question of a named namespace stays that, and one of an invented namespace becomes that of a named one."""
    limits = Limits(running=1, of_namespace=1, of_host=1, of_unnamed=1)
    asking = Asking()
    asking.questions = Questions(asking._ask, lambda: 0.0, limits)
    for name, namespace in (("first", "other"), ("mine", "app"), ("theirs", "*n")):
        asking.submit(f"{name}.example/x", namespace)
    for name, namespace in (("mine", "*n"), ("theirs", "app")):
        question = asking.questions.find(f"{name}.example/x")
        assert question is not None
        asking.questions.join(question, parse_image(f"{name}.example/x"), namespace, urgent=True)
        assert question.namespace == "app"
    await asking.questions.close()


async def test_invented_namespaces_do_not_fill_the_waiting_room() -> None:
    """Half of those who wait may be of namespaces that nothing but `"*"` covers."""
    room = WaitingRoom(Gauge("waiting", "For this test.", registry=None), most=4, most_of_namespace=2)
    with room.enter("*a") as first, room.enter("*b") as second, room.enter("*c") as third, room.enter("app") as named:
        assert (first, second, third, named) == (True, True, False, True)
