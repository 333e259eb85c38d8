"""Listings that fail."""

from __future__ import annotations

import pytest

from replicated_proxy.controller import listing
from replicated_proxy.controller.listing import until_listed
from replicated_proxy.kube.errors import ApiError, Unreachable


async def test_listing_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure costs a pause that grows, and the pause learns what the server asked for."""
    made: list[tuple[int, ApiError | None]] = []

    async def pause(attempt: int, error: ApiError | None = None) -> None:
        made.append((attempt, error))

    errors: list[ApiError] = [ApiError(429, "TooManyRequests", "busy"), Unreachable("refused")]
    waiting = list(errors)

    async def list_once() -> set[str]:
        if waiting:
            raise waiting.pop(0)
        return {"licenses app/my-app"}

    monkeypatch.setattr(listing, "retry_pause", pause)

    assert await until_listed(list_once) == {"licenses app/my-app"}
    assert made == [(0, errors[0]), (1, errors[1])]
