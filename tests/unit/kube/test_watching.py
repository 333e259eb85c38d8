"""Following one object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from builders import Json
from replicated_proxy.kube import watching
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Unreachable
from replicated_proxy.kube.resources import SECRETS
from replicated_proxy.kube.watching import follow_object

Event = tuple[str, Json]


def an_object(version: str) -> Json:
    """Return an object."""
    return {"metadata": {"name": "it", "resourceVersion": version}}


class Objects:
    """A client of one object: what each watch says, an error at its end or none."""

    def __init__(self, *watches: tuple[list[Event], ApiError | None]) -> None:
        self._watches = list(watches)
        self.listings = 0
        self.since: list[str] = []
        self.stopped = asyncio.Event()

    async def list_all(self, *_: object) -> Listing:
        """List the object."""
        self.listings += 1
        return Listing((an_object("1"),), "1")

    async def watch(self, _: object, since: str, **__: object) -> AsyncIterator[Event]:
        """Yield a watch's events; after the last watch nothing more comes."""
        self.since.append(since)
        if not self._watches:
            self.stopped.set()
            await asyncio.Event().wait()
        events, error = self._watches.pop(0)
        for event in events:
            yield event
        if error is not None:
            raise error


class Pauses:
    """What was paused for, without waiting."""

    def __init__(self) -> None:
        self.between_watches = 0
        self.attempts: list[int] = []
        self.errors: list[ApiError | None] = []

    async def pause(self) -> None:
        """Note a pause between two watches."""
        self.between_watches += 1

    async def retry(self, attempt: int, error: ApiError | None = None) -> None:
        """Note a pause after an error."""
        self.attempts.append(attempt)
        self.errors.append(error)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """Return the pauses made."""
    pauses = Pauses()
    monkeypatch.setattr(watching, "_pause", pauses.pause)
    monkeypatch.setattr(watching, "retry_pause", pauses.retry)
    return pauses


async def follow(objects: Objects, failed: Callable[[ApiError], None] | None = None) -> list[Json | None]:
    """Follow until the last watch has been used up; returns what was seen."""
    seen: list[Json | None] = []

    async def take() -> None:
        async for body in follow_object(cast("KubeClient", objects), SECRETS, "it", "ns", failed):
            seen.append(body)  # noqa: PERF401 - it never ends by itself.

    task = asyncio.create_task(take())
    await objects.stopped.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return seen


async def test_changes_are_yielded(pauses: Pauses) -> None:
    """The state now, each change, None once it is deleted; bookmarks are nobody's business."""
    events: list[Event] = [
        ("MODIFIED", an_object("2")),
        ("BOOKMARK", an_object("3")),
        ("DELETED", an_object("4")),
    ]
    objects = Objects((events, None))

    assert await follow(objects) == [an_object("1"), an_object("2"), None]
    assert objects.since == ["1", "4"]
    assert not pauses.attempts


async def test_watches_that_end_at_once_are_paused_between(pauses: Pauses) -> None:
    """A server that ends each watch at once is not asked again without a pause."""
    objects = Objects(([], None), ([], None), ([], None))

    await follow(objects)

    assert pauses.between_watches == 3
    assert objects.listings == 1


async def test_pauses_grow_though_each_listing_succeeds(pauses: Pauses) -> None:
    """Where only the watch fails, the listing before it does not make the pauses short again."""
    error = Unreachable("refused")
    objects = Objects(([], error), ([("MODIFIED", an_object("2"))], error), ([], error))

    await follow(objects)

    assert pauses.attempts == [0, 1, 2]
    assert pauses.errors == [error, error, error]
    assert objects.listings == 4


async def test_error_that_stays_the_same_is_logged_once(pauses: Pauses, caplog: pytest.LogCaptureFixture) -> None:
    """A permission that is missing does not fill the log, and whoever asked is told each time."""
    refused, away = Unreachable("refused"), Unreachable("away")
    told: list[ApiError] = []
    objects = Objects(([], refused), ([], refused), ([], away), ([], away))

    await follow(objects, told.append)

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"watch of secrets it interrupted: {error}" for error in (refused, away)]
    assert told == pauses.errors == [refused, refused, away, away]
