"""Contenders for the Lease of one API server, on one simulated clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contending import Contender, Join, LeaseServer, Link, Passage
from simulated_clock import SimulatedClock


@pytest.fixture
def clock() -> SimulatedClock:
    """Return the clock."""
    return SimulatedClock()


@pytest.fixture
def server() -> LeaseServer:
    """Return an API server without a Lease."""
    return LeaseServer()


@pytest.fixture
async def join(server: LeaseServer, clock: SimulatedClock) -> AsyncIterator[Join]:
    """Let contenders join: `join("a")`, with what happens to its first requests."""
    joined: list[Contender] = []

    def make(identity: str, *passages: Passage) -> Contender:
        joined.append(Contender(Link(server, clock, passages), clock, identity))
        return joined[-1]

    yield make
    for contender in joined:
        await contender.kill()
