"""Doing many requests, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def in_parallel(items: Iterable[Item], act: Callable[[Item], Awaitable[object]], workers: int = 16) -> None:
    """Act on every item, on so many at a time; the first failure ends it and is raised."""
    remaining = iter(items)

    async def work() -> None:
        """Take items until there are none."""
        for item in remaining:
            await act(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
