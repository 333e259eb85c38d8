"""The queue of keys."""

from __future__ import annotations

import asyncio

import pytest

from replicated_proxy.controller.workqueue import WorkQueue


@pytest.fixture
def queue() -> WorkQueue:
    """Return a queue whose waits are spread by nothing."""
    return WorkQueue(1.0, 300.0, chance=lambda: 0.0)


async def fail(queue: WorkQueue, key: str, at_least: float = 0.0) -> float:
    """Let a key fail once; returns the wait."""
    queue.add(key)
    assert await queue.take() == key
    return queue.retry(key, at_least)


async def test_waits_double_up_to_the_longest(queue: WorkQueue) -> None:
    """Each failure of a key waits twice as long as the one before, and never longer than the longest wait."""
    waits = [await fail(queue, "a") for _ in range(11)]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_success_starts_anew(queue: WorkQueue) -> None:
    """What failed before a success does not count."""
    await fail(queue, "a")
    await fail(queue, "a")
    queue.add("a")
    await queue.take()
    queue.finish("a")

    assert await fail(queue, "a") == 1


@pytest.mark.parametrize(("asked", "wait"), [(0.5, 1.0), (60.0, 60.0)], ids=["less", "more"])
async def test_wait_is_as_long_as_was_asked(queue: WorkQueue, asked: float, wait: float) -> None:
    """A server that asks to be left alone for longer is."""
    assert await fail(queue, "a", asked) == wait


async def test_waits_are_spread() -> None:
    """What failed together does not come back together."""
    chances = iter((0.0, 0.5, 1.0))
    queue = WorkQueue(10.0, 300.0, chance=lambda: next(chances))
    waits = [await fail(queue, key) for key in "abc"]

    assert waits == [10.0, 11.0, 12.0]


async def test_failed_key_comes_again_by_itself() -> None:
    """Nobody has to add a key again that failed or was postponed."""
    queue = WorkQueue(0.01, 0.01)
    await fail(queue, "a")

    assert await queue.take() == "a"
    queue.postpone("a", 0.01)
    assert await queue.take() == "a"


async def test_postponing_is_no_failure(queue: WorkQueue) -> None:
    """A key that only had to wait its turn waits no longer for it when it fails."""
    queue.add("a")
    await queue.take()
    queue.postpone("a", 5.0)

    assert await fail(queue, "a") == 1


async def test_key_added_while_it_is_worked_on_comes_once_more(queue: WorkQueue) -> None:
    """What happens to a key during its turn is looked at in another turn, one for all of it."""
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.add("a")

    assert len(queue) == 1
    queue.finish("a")
    assert await queue.take() == "a"
    queue.finish("a")
    assert len(queue) == 0


async def test_keys_wait_once(queue: WorkQueue) -> None:
    """A key that waits is not queued twice, and none is lost."""
    queue.add_all("abab")
    taken = [await queue.take(), await queue.take()]

    assert taken == ["a", "b"]
    assert len(queue) == 2


async def test_oldest_is_that_of_the_key_longest_out_of_line(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that fails again and again grows old, also while it waits; those in line have no age."""
    now = 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    assert queue.oldest() == 0
    await fail(queue, "failing")
    now += 30
    await fail(queue, "failing")
    queue.add("new")
    assert queue.oldest() == 30

    now += 5
    queue.finish(await queue.take())
    assert queue.oldest() == 35

    queue.add("failing")
    queue.finish(await queue.take())
    assert queue.oldest() == 0
