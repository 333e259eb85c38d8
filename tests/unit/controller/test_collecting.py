"""What the controller collects from the webhook's replicas, and when it writes that down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final, cast

import pytest

from builders import Json
from replicated_proxy.controller import collecting
from replicated_proxy.controller.collecting import Reach, VerdictCollector, resolve_name
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.core.rewriting import Mode
from replicated_proxy.core.verdict_documents import decode_verdicts, encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.sharing import Access
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.settings import DetectionSettings, RewriteSettings, Settings
from replicated_proxy.telemetry.metrics import Metrics
from serving import NAMESPACE, NOW, a_serving_secret
from simulated_clock import SimulatedClock, settle

SERVICE: Final = "replicas.operator-system.svc"
EVERY: Final = 15.0


class Publisher:
    """Who writes, as the collector sees it.

    Attributes:
        verdicts: what stands in the ConfigMap.
        written: every text that was written.
        room: how many bytes there are.
        failing: writes fail.
    """

    def __init__(self) -> None:
        self.verdicts = ""
        self.written: list[str] = []
        self.room = 10_000
        self.failing = False

    def room_for_verdicts(self) -> int:
        """Return how many bytes there are."""
        return self.room

    async def publish_verdicts(self, text: str) -> bool:
        """Write."""
        if self.failing:
            raise ApiError(500, "InternalError", "no")
        self.verdicts = text
        self.written.append(text)
        return True


class Fleet:
    """Replicas, by address.

    Attributes:
        texts: what each says; None where it does not answer.
        entrances: how the controller came, each time anew.
        closed: how many ways in were closed.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str | None] = {}
        self.entrances: list[Access] = []
        self.asked: list[str] = []
        self.closed = 0
        self._told: dict[str, str] = {}

    def __call__(self, access: Access) -> Fleet:
        """Let the controller in."""
        self.entrances.append(access)
        self._told.clear()
        return self

    async def resolve(self, name: str) -> set[str]:
        """Return the addresses."""
        assert name == SERVICE
        return set(self.texts)

    async def fetch(self, address: str) -> str | None:
        """Answer as a replica does."""
        self.asked.append(address)
        text = self.texts[address]
        if text is None:
            raise OSError("gone")
        if self._told.get(address) == text:
            return None
        self._told[address] = text
        return text

    def forget(self, addresses: set[str]) -> None:
        """Forget others."""
        self._told = {address: text for address, text in self._told.items() if address in addresses}

    async def close(self) -> None:
        """Close."""
        self.closed += 1


class Collecting:
    """A collector at work."""

    def __init__(self, fleet: Fleet, mode: Mode = Mode.PRIVATE) -> None:
        self.fleet = fleet
        self.publisher = Publisher()
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        self.secret: Json | None = a_serving_secret(now=NOW)
        detection = DetectionSettings(replicas_service=SERVICE, collect_seconds=EVERY)
        self._settings = Settings(namespace=NAMESPACE, rewrite=RewriteSettings(mode=mode), detection=detection)
        self.collector = self._wire()
        self.task: asyncio.Task[None] | None = None

    def _wire(self) -> VerdictCollector:
        """Make the collector of a new term."""
        reach = Reach(lambda: self.secret, self.fleet.resolve)
        publisher = cast("TablePublisher", self.publisher)
        return VerdictCollector(self._settings, publisher, reach, self.clock, self.metrics)

    async def begin(self) -> None:
        """Begin a term, with the first collection."""
        self.task = asyncio.create_task(self.collector.run())
        await settle()

    async def collect(self, times: int = 1) -> None:
        """Let the next collections happen."""
        for _ in range(times):
            await self.clock.advance(EVERY)

    async def end(self) -> None:
        """End the term."""
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.collector = self._wire()

    def said(self, path: str, visibility: Visibility = Visibility.PRIVATE, *, ago: float = 0.0) -> RepositoryVerdict:
        """Make a verdict of some seconds ago."""
        checked = self.clock.now() - timedelta(seconds=ago)
        return RepositoryVerdict(f"quay.io/a/{path}", visibility, checked, "app")

    def published(self) -> dict[str, Visibility]:
        """Return what stands in the ConfigMap."""
        return {verdict.repository[-1]: verdict.visibility for verdict in decode_verdicts(self.publisher.verdicts)}


@pytest.fixture
async def collecting_(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collecting]:
    """Return a collector that has not begun."""
    fleet = Fleet()
    monkeypatch.setattr(collecting, "Replicas", fleet)
    made = Collecting(fleet)
    yield made
    await made.end()


def document(*verdicts: RepositoryVerdict) -> str:
    """Write what a replica says."""
    return encode_verdicts(verdicts, 100_000)


async def test_words_of_all_replicas_are_joined_and_written(collecting_: Collecting) -> None:
    """Of each repository the newest word counts; the first ones are written at once."""
    made = collecting_
    made.fleet.texts = {
        "10.0.0.1": document(made.said("x", ago=120), made.said("y")),
        "10.0.0.2": document(made.said("x", Visibility.PUBLIC, ago=60)),
    }
    await made.begin()
    assert made.published() == {"x": Visibility.PUBLIC, "y": Visibility.PRIVATE}
    assert len(made.publisher.written) == 1


async def test_same_words_again_are_not_written(collecting_: Collecting) -> None:
    """That a registry said the same again is no reason to write; that it says something else is."""
    made = collecting_
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    for _ in range(10):
        await made.collect()
        made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    assert len(made.publisher.written) == 1
    made.fleet.texts = {"10.0.0.1": document(made.said("x", Visibility.PUBLIC))}
    await made.clock.advance(60)
    made.fleet.texts = {"10.0.0.1": document(made.said("x", Visibility.PUBLIC))}
    await made.collect()
    assert made.published() == {"x": Visibility.PUBLIC}
    assert len(made.publisher.written) == 2


async def test_writes_keep_their_distance(collecting_: Collecting) -> None:
    """However much is learned, a minute lies between two writes."""
    made = collecting_
    await made.begin()
    for number in range(9):
        made.fleet.texts["10.0.0.1"] = document(*(made.said(name) for name in "abcdefghi"[: number + 1]))
        await made.collect()
    assert len(made.publisher.written) == 3
    await made.collect(4)
    assert len(made.published()) == 9


async def test_words_outlive_replicas_and_leaders(collecting_: Collecting) -> None:
    """A term goes on from what stands in the ConfigMap, and replicas that are gone or new take nothing away."""
    made = collecting_
    made.publisher.verdicts = document(made.said("x", ago=3600))
    made.fleet.texts = {"10.0.0.1": None, "10.0.0.2": document(made.said("y")), "10.0.0.3": document()}
    await made.begin()
    assert made.published() == {"x": Visibility.PRIVATE, "y": Visibility.PRIVATE}
    made.fleet.texts = {}
    await made.collect(20)
    assert made.published() == {"x": Visibility.PRIVATE, "y": Visibility.PRIVATE}


async def test_deleted_words_are_written_again(collecting_: Collecting) -> None:
    """Somebody who empties the ConfigMap does not make the controller forget."""
    made = collecting_
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    made.publisher.verdicts = ""
    await made.collect(4)
    assert made.published() == {"x": Visibility.PRIVATE}


async def test_what_finds_no_room_is_given_up_quietly(collecting_: Collecting) -> None:
    """More words than fit are no reason to write again and again."""
    made = collecting_
    made.publisher.room = 300
    made.fleet.texts = {"10.0.0.1": document(*(made.said(name) for name in "abcdefghi"))}
    await made.begin()
    kept = made.published()
    assert 0 < len(kept) < 9
    for _ in range(20):
        await made.collect()
        made.fleet.texts = {"10.0.0.1": document(*(made.said(name) for name in "ihgfedcba"))}
    assert made.published() == kept
    assert len(made.publisher.written) == 1
    assert len(made.collector._known) == len(kept)


async def test_failed_write_is_tried_again(collecting_: Collecting) -> None:
    """An API server that is away costs nothing but time."""
    made = collecting_
    made.publisher.failing = True
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    await made.collect(3)
    made.publisher.failing = False
    await made.collect()
    assert made.published() == {"x": Visibility.PRIVATE}


@pytest.mark.parametrize("text", ["{", "[]", '{"format":9}', '{"format":1,"verdicts":{"x":["Private",1,2]}}', "\x00"])
async def test_nonsense_of_one_replica_costs_nobody_the_others(collecting_: Collecting, text: str) -> None:
    """What cannot be read is none, and the others' words count."""
    made = collecting_
    made.fleet.texts = {"10.0.0.1": text, "10.0.0.2": document(made.said("x"))}
    await made.begin()
    assert made.published() == {"x": Visibility.PRIVATE}


async def test_results_are_counted_and_silence_is_logged_once(
    collecting_: Collecting, caplog: pytest.LogCaptureFixture
) -> None:
    """A line says how many replicas there are, when that changes; each request is counted."""
    made = collecting_
    made.fleet.texts = {"10.0.0.1": document(made.said("x")), "10.0.0.2": None}
    with caplog.at_level(logging.INFO):
        await made.begin()
        await made.collect(4)
        made.fleet.texts = {}
        await made.collect(4)
    lines = [record.getMessage() for record in caplog.records if SERVICE in record.getMessage()]
    assert lines == [
        f"collecting verdicts from {SERVICE}: 2 addresses, 1 of them without an answer",
        f"collecting verdicts from {SERVICE}: 0 addresses, 0 of them without an answer",
    ]
    counted = {
        word: made.metrics.registry.get_sample_value("replicated_proxy_verdict_collections_total", {"result": word})
        for word in ("changed", "unchanged", "failed")
    }
    assert counted == {"changed": 1, "unchanged": 4, "failed": 5}


async def test_new_certificate_is_a_new_way_in(collecting_: Collecting) -> None:
    """Token and authorities are those of the Secret of the moment; without a usable one nobody is asked."""
    made = collecting_
    made.secret = None
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    made.secret = {"metadata": {"name": "serving"}, "data": {}}
    await made.collect()
    assert made.fleet.asked == []
    first, second = a_serving_secret(now=NOW), a_serving_secret(now=NOW)
    for made.secret in (first, first, second):
        await made.collect()
    tokens = [access.token for access in made.fleet.entrances]
    assert len(set(tokens)) == len(tokens) == 2
    assert {access.server_name for access in made.fleet.entrances} == {
        "replicated-proxy-operator-webhook.operator-system.svc"
    }
    await made.end()
    assert made.fleet.closed == 2


async def test_mistake_does_not_end_the_term(collecting_: Collecting, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong here, the leader goes on, and so does the collecting."""
    made = collecting_
    made.fleet.texts = cast("dict[str, str | None]", None)
    with caplog.at_level(logging.ERROR):
        await made.begin()
    assert "TypeError" in caplog.text
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.collect()
    assert made.published() == {"x": Visibility.PRIVATE}


@pytest.mark.parametrize("mode", [Mode.ALL, Mode.LISTED, Mode.OFF])
async def test_modes_that_ask_nobody_collect_nothing(monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """Only mode `private` asks registries, so only then there is something to collect."""
    fleet = Fleet()
    monkeypatch.setattr(collecting, "Replicas", fleet)
    made = Collecting(fleet, mode)
    fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    assert made.task
    assert made.task.done()
    assert made.fleet.asked == []


async def test_number_of_replicas_is_bounded(collecting_: Collecting) -> None:
    """A name with very many addresses does not make the controller ask all of them."""
    made = collecting_
    made.fleet.texts = {f"10.0.0.{number}": None for number in range(200)}
    await made.begin()
    assert len(made.fleet.asked) == 64


async def test_names_are_looked_up() -> None:
    """A name has its addresses, and one that nobody knows or that is none has none."""
    assert await resolve_name("localhost") & {"127.0.0.1", "::1"}
    assert await resolve_name("name.invalid") == set()
    assert await resolve_name("a" * 300) == set()


def test_name_of_the_service_is_a_full_one() -> None:
    """The setting holds a full name, so that nothing depends on where the controller runs."""
    assert Settings().detection.replicas_service.endswith(".replicated-proxy-operator.svc")


async def test_words_that_are_heard_again_and_again_do_not_grow_old(collecting_: Collecting) -> None:
    """In a cluster where nothing changes for weeks, a new leader whom no replica answers yet takes nothing away."""
    made, day = collecting_, 24 * 3600.0
    made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
    await made.begin()
    for _ in range(15):
        made.clock.jump(day)
        made.fleet.texts = {"10.0.0.1": document(made.said("x"))}
        await made.collect()
    assert len(made.publisher.written) <= 5
    await made.end()
    made.fleet.texts = {}
    await made.begin()
    assert made.published() == {"x": Visibility.PRIVATE}
