"""Reviews that wait for silent registries: what they hold meanwhile is bounded, whoever sends how much of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest

from corpus.reviews.judging import judge, operations_of
from corpus.reviews.making import ORDINARY, annotation, containers, padded
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler, Undecided
from replicated_proxy.webhook.tables import TableHolder
from serving import a_config_map

SECONDS: Final = 2.5
MIB: Final = 1024 * 1024


class Silent:
    """A detector whose registries say nothing until told to."""

    revision = 0

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.images = 0
        self.called = asyncio.Event()
        self.end = asyncio.Event()
        self.fails = False

    def look_up(self, _reference: ImageReference, _namespace: str) -> Visibility | None:
        """Know nothing."""
        return None

    async def find_out(self, references: Sequence[ImageReference], _namespace: str, seconds: float) -> None:
        """Wait, if there is time to."""
        self.asked.append(seconds)
        self.images += len(references)
        self.called.set()
        if seconds:
            await self.end.wait()
        if self.fails:
            raise RuntimeError

    def settle(self, _reference: ImageReference, _namespace: str) -> Visibility:
        """Take it for private."""
        return Visibility.PRIVATE


class Waiting:
    """A handler, and the reviews that wait at it."""

    def __init__(self) -> None:
        tables = TableHolder()
        tables.update(a_config_map())
        self.detector = Silent()
        self.handler = ReviewHandler(tables, RewritePolicy(), self.detector, Metrics())

    async def begin(self, body: bytes) -> asyncio.Task[bytes]:
        """Have a review wait; returns once it does, or has its answer."""
        undecided = self.handler.answer(body)
        assert isinstance(undecided, Undecided)
        self.detector.called.clear()
        task = asyncio.ensure_future(undecided.answer_within(SECONDS))
        async with asyncio.timeout(60):
            await self.detector.called.wait()
        return task


@pytest.fixture
async def waiting() -> Waiting:
    """Return a handler whose registries are silent."""
    return Waiting()


async def test_ordinary_reviews_wait(waiting: Waiting) -> None:
    """A thousand reviews of ordinary size wait at the same time, and each is answered in the end."""
    tasks = [await waiting.begin(ORDINARY.encode()) for _ in range(1000)]
    assert set(waiting.detector.asked) == {SECONDS}

    waiting.detector.end.set()
    for answer in await asyncio.gather(*tasks):
        assert operations_of(judge(ORDINARY.encode(), answer))


async def test_large_review_has_its_images_asked_about_and_does_not_wait(waiting: Waiting) -> None:
    """One that is larger than all that may wait is answered at once by what is known, as any error would be."""
    body = padded(5 * MIB)
    answer = await (await waiting.begin(body))

    assert waiting.detector.asked == [0.0]
    assert operations_of(judge(body, answer))


async def test_reviews_that_wait_have_an_end_to_their_size(waiting: Waiting) -> None:
    """Of large ones as many wait as fit; the next are answered at once, until one of the first has gone."""
    body = annotation(MIB)
    tasks = [await waiting.begin(body) for _ in range(5)]
    assert waiting.detector.asked == [SECONDS] * 3 + [0.0] * 2
    assert [task.done() for task in tasks[:3]] == [False] * 3

    await asyncio.gather(*tasks[3:])
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    later = await waiting.begin(body)
    assert waiting.detector.asked[5:] == [SECONDS]

    waiting.detector.end.set()
    assert all(judge(body, answer) for answer in await asyncio.gather(*tasks[1:3], later))


async def test_failure_while_waiting_leaves_nothing_behind(waiting: Waiting) -> None:
    """A detector that fails costs the Pod its rewrite, and those after it nothing."""
    waiting.detector.fails = True
    waiting.detector.end.set()
    for _ in range(20):
        task = await waiting.begin(annotation(MIB))
        assert b"failed on this Pod" in await task

    assert waiting.detector.asked == [SECONDS] * 20


async def test_ten_thousand_unknown_images_are_one_question(waiting: Waiting) -> None:
    """A Pod of ten thousand images that nobody knows waits once, for all of them together."""
    body = containers(10_000, "quay.io/my-org/api", "a", 30)
    task = await waiting.begin(body)
    waiting.detector.end.set()

    # The images and the pull secret; the annotation would be too large.
    assert len(operations_of(judge(body, await task))) == 10_001
    assert waiting.detector.asked == [SECONDS]
    assert waiting.detector.images == 10_000
