"""Our own watches: what is handed over, and how they go on after each kind of end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from builders import Json
from replicated_proxy.controller import watch_pump
from replicated_proxy.controller.pumping import Pumped, WatchedKind
from replicated_proxy.controller.watch_pump import WatchPump
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Gone, NotFound, Unreachable
from replicated_proxy.kube.resources import SECRETS, Resource

Event = tuple[str, Json]
GONE = Gone(410, "Expired", "too old")
LOST = Unreachable("reset")


def an_object(version: str) -> Json:
    """Return an object."""
    return {"metadata": {"name": "it", "resourceVersion": version}}


class Server:
    """A client whose listings and watches are given: events, and an error at their end or none."""

    def __init__(self) -> None:
        self.listings: list[ApiError | None] = []
        self.watches: list[tuple[list[Event], Exception | None]] = []
        self.asked: list[str] = []
        self.used_up = asyncio.Event()

    async def list_all(self, _resource: Resource, field_selector: str) -> Listing:
        """List one object, or fail as told."""
        self.asked.append(f"list {field_selector}")
        error = self.listings.pop(0) if self.listings else None
        if error is not None:
            raise error
        return Listing((an_object("1"),), "1")

    async def watch(self, _resource: Resource, since: str, **_: object) -> AsyncIterator[Event]:
        """Yield a watch's events; after the last watch nothing more comes."""
        self.asked.append(f"watch {since}")
        if not self.watches:
            self.used_up.set()
            await asyncio.Event().wait()
        events, error = self.watches.pop(0)
        for event in events:
            yield event
        if error is not None:
            raise error


class Running:
    """A pump on such a server, and what came of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.delivered: list[tuple[str | None, str]] = []
        self.listed = 0
        pumped = Pumped("core", (WatchedKind(SECRETS, "metadata.name=it"),))
        self.pump = WatchPump(pumped, cast("KubeClient", server), self._deliver, self._note_listing)

    def _deliver(self, _resource: Resource, kind: str | None, body: Json) -> None:
        self.delivered.append((kind, body["metadata"]["resourceVersion"]))

    def _note_listing(self, _resource: Resource) -> None:
        self.listed += 1

    async def until_used_up(self) -> None:
        """Run until the server has nothing more to say."""
        running = asyncio.ensure_future(self.pump.run())
        used_up = asyncio.ensure_future(self.server.used_up.wait())
        await asyncio.wait({running, used_up}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        used_up.cancel()
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        if not isinstance(outcome, asyncio.CancelledError):
            raise cast("Exception", outcome)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the attempts that were paused after; -1 for a pause between two watches."""
    made: list[int] = []

    async def retry(attempt: int, _error: ApiError | None = None) -> None:
        made.append(attempt)

    async def between() -> None:
        made.append(-1)

    monkeypatch.setattr(watch_pump, "retry_pause", retry)
    monkeypatch.setattr(watch_pump, "_pause_between", between)
    return made


@pytest.fixture
def running() -> Running:
    """Return a pump that runs once the test has said what the server does."""
    return Running(Server())


async def test_listing_and_events_are_handed_over(running: Running, pauses: list[int]) -> None:
    """What is there comes without a type, then each change with its own; bookmarks only move the version."""
    running.server.watches = [
        ([("ADDED", an_object("2")), ("BOOKMARK", an_object("9")), ("DELETED", an_object("10"))], None)
    ]
    await running.until_used_up()

    assert running.delivered == [(None, "1"), ("ADDED", "2"), ("DELETED", "10")]
    assert running.server.asked == ["list metadata.name=it", "watch 1", "watch 10"]
    assert (running.listed, pauses) == (1, [-1])


@pytest.mark.parametrize(
    ("watches", "asked"),
    [
        ([([("ADDED", an_object("5"))], LOST)], ["watch 1", "watch 5"]),
        ([([("BOOKMARK", an_object("7"))], LOST), ([], LOST)], ["watch 1", "watch 7", "watch 7"]),
        ([([("ADDED", an_object("5"))], GONE)], ["watch 1", "list metadata.name=it", "watch 1"]),
        ([([], NotFound(404, "NotFound", "no such kind"))], ["watch 1", "list metadata.name=it", "watch 1"]),
    ],
    ids=["interrupted", "interrupted twice", "history gone", "kind gone"],
)
async def test_watch_goes_on_where_it_can(
    running: Running, watches: list[tuple[list[Event], Exception | None]], asked: list[str]
) -> None:
    """An interruption costs no listing; a history or a kind that is gone does."""
    running.server.watches = watches
    await running.until_used_up()

    assert running.server.asked[1:] == asked
    assert running.listed == running.server.asked.count("list metadata.name=it")


@pytest.mark.parametrize(("failures", "problems"), [(2, []), (4, ["no watch holds for core"])])
async def test_failures_in_a_row_are_a_problem(
    running: Running, pauses: list[int], failures: int, problems: list[str]
) -> None:
    """Once or twice is an accident; again and again is said, and each pause is longer."""
    running.server.listings = [LOST] * failures
    await running.until_used_up()

    assert running.pump.problems() == problems
    assert pauses == list(range(failures))


async def test_restart_lists_anew(running: Running) -> None:
    """A pump that is told to start anew lists and watches again."""
    task = asyncio.ensure_future(running.pump.run())
    await running.server.used_up.wait()
    running.server.used_up.clear()
    began = running.pump.began
    running.pump.restart()
    await running.server.used_up.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert running.listed == 2
    assert running.pump.began > began


async def test_mistake_of_ours_ends_the_pump(running: Running) -> None:
    """An error that no API server makes is not watched away in silence."""
    running.server.watches = [([], RuntimeError("ours"))]

    with pytest.raises(RuntimeError, match="ours"):
        await running.until_used_up()


async def test_listings_that_hang_are_failures_in_a_row(
    running: Running, pauses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that passed before anything was watched is no steadiness: pauses grow, and failures count."""
    passed = 0.0
    list_at_once = running.server.list_all

    async def hang(resource: Resource, field_selector: str) -> Listing:
        nonlocal passed
        passed += 30.0
        return await list_at_once(resource, field_selector)

    monkeypatch.setattr(running.server, "list_all", hang)
    monkeypatch.setattr(watch_pump, "time", SimpleNamespace(monotonic=lambda: passed))
    running.server.listings = [LOST] * 4 + [None]
    await running.until_used_up()

    assert pauses == [0, 1, 2, 3]
    assert running.pump.failures == 4
