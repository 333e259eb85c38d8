"""The routing table's ConfigMap, as the leader and as a standby see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from builders import SECRET_NAME, Json, a_route, a_table
from replicated_proxy.controller import publishing as module
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.routing_documents import DATA_KEY, encode_table
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import decode_verdicts, encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, NotFound
from simulated_clock import settle

EMPTY = RoutingTable(SECRET_NAME)
OLD, NEW = a_table(a_route()), a_table(a_route("other-app"))


class Api:
    """A ConfigMap, and a watch that tells of changes only when the test says so."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.verdicts = ""
        self.writes = 0
        self.failing = False
        self._events: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()

    def body(self) -> Json:
        """Return the ConfigMap."""
        if self.text is None:
            raise NotFound(404, "NotFound", "routes")
        verdicts = {VERDICTS_KEY: self.verdicts} if self.verdicts else {}
        return {"metadata": {"name": "routes", "resourceVersion": "5"}, "data": {DATA_KEY: self.text, **verdicts}}

    def tell(self) -> None:
        """Let the watch bring what stands there now."""
        self._events.put_nowait(("MODIFIED", self.body()))

    async def get(self, *_: object) -> Json:
        """Read it."""
        await asyncio.sleep(0)
        return self.body()

    async def list_all(self, *_: object) -> Listing:
        """List it."""
        await asyncio.sleep(0)
        return Listing(() if self.text is None else (self.body(),), "5")

    async def watch(self, *_: object, **__: object) -> AsyncIterator[tuple[str, Json]]:
        """Yield what the test tells."""
        while True:
            yield await self._events.get()

    async def merge(self, _: str, body: Json) -> Json:
        """Write it: what is not named stays."""
        self.body()
        if self.failing:
            raise ApiError(500, "InternalError", "no")
        return await self.create(None, body)

    async def create(self, _: object, body: Json, *__: object) -> Json:
        """Make it."""
        await asyncio.sleep(0)
        self.writes += 1
        self.text = body["data"].get(DATA_KEY, self.text)
        self.verdicts = body["data"].get(VERDICTS_KEY, self.verdicts)
        return self.body()


class Publishing:
    """A publisher that follows the ConfigMap."""

    def __init__(self, api: Api) -> None:
        self.publisher = TablePublisher(cast("KubeClient", api), "ns", "routes", EMPTY.secret_name)
        self.changes = 0
        self.task = asyncio.create_task(self.publisher.follow(self._change))

    def _change(self) -> None:
        """Count."""
        self.changes += 1


@pytest.fixture
def api() -> Api:
    """Return an API server without the ConfigMap."""
    return Api()


@pytest.fixture
async def publishing(api: Api) -> AsyncIterator[Publishing]:
    """Return a publisher on standby, which follows the ConfigMap."""
    made = Publishing(api)
    await settle()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_standby_knows_what_the_leader_publishes(api: Api, publishing: Publishing) -> None:
    """What another replica publishes is what this one would go on from; nothing may be concluded from it yet."""
    for table in (OLD, NEW):
        api.text = encode_table(table)
        api.tell()
        await settle()
        assert publishing.publisher.published == table

    assert not publishing.publisher.loaded.is_set()
    assert publishing.publisher.problems() == []
    assert api.writes == 0


async def test_new_leader_reads_anew(api: Api, publishing: Publishing) -> None:
    """A watch may lag: what stands there when a term begins is read, and counts."""
    publisher = publishing.publisher
    api.text = encode_table(OLD)
    api.tell()
    await settle()
    api.text = encode_table(NEW)

    await publisher.take_over()

    assert publisher.loaded.is_set()
    assert publisher.published == NEW
    await publisher.publish(NEW)
    assert api.writes == 0
    await publisher.publish(OLD)
    assert (api.writes, api.text) == (1, encode_table(OLD))


async def test_first_leader_finds_nothing(api: Api, publishing: Publishing) -> None:
    """Where there is no ConfigMap work begins with an empty table."""
    await publishing.publisher.take_over()

    assert publishing.publisher.loaded.is_set()
    assert publishing.publisher.published == EMPTY
    await publishing.publisher.publish(EMPTY)
    assert api.text == encode_table(EMPTY)


async def test_lost_table_is_remembered(api: Api, publishing: Publishing) -> None:
    """A ConfigMap that was deleted before the takeover takes nothing away from what was known."""
    api.text = encode_table(OLD)
    api.tell()
    await settle()
    api.text = None

    await publishing.publisher.take_over()

    assert publishing.publisher.published == OLD


async def test_end_of_a_term_ends_conclusions(api: Api, publishing: Publishing) -> None:
    """After a term what others publish counts again, and the next term begins with reading it."""
    publisher = publishing.publisher
    await publisher.take_over()
    await publisher.publish(OLD)
    publisher.hand_over()
    assert not publisher.loaded.is_set()

    api.text = encode_table(NEW)
    api.tell()
    await settle()

    assert publisher.published == NEW
    await publisher.take_over()
    assert publisher.loaded.is_set()


async def test_edit_is_written_over_by_the_leader(api: Api, publishing: Publishing) -> None:
    """An edit makes an overview due, which publishes the table again."""
    publisher = publishing.publisher
    await publisher.take_over()
    await publisher.publish(OLD)
    before = publishing.changes
    api.text = "edited"
    api.tell()
    await settle()

    assert publishing.changes > before
    assert publisher.published == OLD
    await publisher.publish(OLD)
    assert api.text == encode_table(OLD)


async def test_table_of_a_later_version_is_left_alone(api: Api, publishing: Publishing) -> None:
    """Leader or not, a replica that meets a later version's table says so; the leader works once it is gone."""
    publisher = publishing.publisher
    newer: dict[str, Any] = json.loads(encode_table(OLD)) | {"format": 10_000}
    api.text = json.dumps(newer)
    api.tell()
    await settle()
    assert "run that version" in publisher.problems()[0]

    await publisher.take_over()
    assert not publisher.loaded.is_set()
    assert "run that version" in publisher.problems()[0]

    api.text = encode_table(OLD)
    api.tell()
    await settle()
    assert publisher.loaded.is_set()
    assert publisher.problems() == []


def verdicts_of(count: int) -> str:
    """Write some verdicts."""
    said = datetime(2026, 9, 1, tzinfo=UTC)
    found = [RepositoryVerdict(f"quay.io/a/r{number}", Visibility.PUBLIC, said, "app") for number in range(count)]
    return encode_verdicts(found, 1_000_000)


async def test_table_and_verdicts_leave_each_other_alone(api: Api, publishing: Publishing) -> None:
    """Each is written by itself, and the same again is not written."""
    publisher = publishing.publisher
    await publisher.take_over()
    await publisher.publish(OLD)
    for _ in range(2):
        assert await publisher.publish_verdicts(verdicts_of(3))
    assert api.writes == 2
    await publisher.publish(NEW)
    assert (api.text, api.verdicts) == (encode_table(NEW), verdicts_of(3))
    assert await publisher.publish_verdicts(verdicts_of(4))
    assert (api.text, api.verdicts) == (encode_table(NEW), verdicts_of(4))


async def test_new_leader_knows_the_verdicts_of_the_last_one(api: Api, publishing: Publishing) -> None:
    """What stands in the ConfigMap when a term begins is there to go on from; what somebody deletes is not."""
    api.text, api.verdicts = encode_table(OLD), verdicts_of(2)
    await publishing.publisher.take_over()
    assert publishing.publisher.verdicts == verdicts_of(2)
    api.verdicts = ""
    api.tell()
    await settle()
    assert publishing.publisher.verdicts == ""


async def test_verdicts_wait_for_a_table(api: Api, publishing: Publishing) -> None:
    """Verdicts alone make no ConfigMap."""
    await publishing.publisher.take_over()
    assert not await publishing.publisher.publish_verdicts(verdicts_of(1))
    assert (api.text, publishing.publisher.verdicts) == (None, "")


async def test_verdicts_that_could_not_be_written_are_written_again(api: Api, publishing: Publishing) -> None:
    """A failed write leaves the publisher knowing that the old ones stand there."""
    publisher = publishing.publisher
    await publisher.take_over()
    await publisher.publish(OLD)
    await publisher.publish_verdicts(verdicts_of(1))
    api.failing = True
    with pytest.raises(ApiError):
        await publisher.publish_verdicts(verdicts_of(2))
    assert publisher.verdicts == verdicts_of(1)
    api.failing = False
    assert await publisher.publish_verdicts(verdicts_of(2))
    assert api.verdicts == verdicts_of(2)


async def test_table_takes_the_room_that_it_needs(
    api: Api, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table and verdicts fit into one ConfigMap together; a table that grows makes the verdicts shrink in one write."""
    publisher = publishing.publisher
    room = 300
    monkeypatch.setattr(module, "_MOST_BYTES", len(encode_table(OLD)) + room)
    await publisher.take_over()
    await publisher.publish(OLD)
    assert publisher.room_for_verdicts() == room
    assert not await publisher.publish_verdicts(verdicts_of(100))
    assert await publisher.publish_verdicts(verdicts_of(4))

    larger = a_table(
        a_route(), listed={"a-namespace-with-a-name-that-takes-some-room": (0,), "another-one-like-it": (0,)}
    )
    writes = api.writes
    await publisher.publish(larger)
    assert api.writes == writes + 1
    assert api.text == encode_table(larger)
    assert len(api.verdicts) <= publisher.room_for_verdicts()
    assert 0 < len(decode_verdicts(api.verdicts)) < 4


async def test_room_is_made_again_after_a_failed_write(
    api: Api, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that needs the verdicts' room and could not be written makes them shrink at the next try too."""
    publisher = publishing.publisher
    monkeypatch.setattr(module, "_MOST_BYTES", len(encode_table(OLD)) + 300)
    await publisher.take_over()
    await publisher.publish(OLD)
    assert await publisher.publish_verdicts(verdicts_of(4))

    larger = a_table(
        a_route(), listed={"a-namespace-with-a-name-that-takes-some-room": (0,), "another-one-like-it": (0,)}
    )
    api.failing = True
    with pytest.raises(ApiError):
        await publisher.publish(larger)
    api.failing = False
    await publisher.publish(larger)
    assert api.text == encode_table(larger)
    assert len(api.verdicts) <= publisher.room_for_verdicts()
    assert 0 < len(decode_verdicts(api.verdicts)) < 4
