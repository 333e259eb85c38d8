"""What probes of these tests meet, and a net below them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from detecting import Detection
from probing import Surroundings


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """Return names, addresses on the loopback interface and an authority, all of this test's own."""
    return Surroundings.make(tmp_path)


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return every address that something connects to; whatever is not loopback is refused before a packet leaves."""
    seen: list[str] = []
    original = asyncio.SelectorEventLoop.sock_connect

    async def guarded(loop: asyncio.SelectorEventLoop, sock: socket.socket, address: tuple[str, int]) -> None:
        seen.append(address[0])
        if not address[0].startswith("127."):
            raise AssertionError(f"a connection to {address[0]} was tried")
        await original(loop, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", guarded)
    return seen


@pytest.fixture
async def detection() -> AsyncIterator[Detection]:
    """Return a detector that knows nothing yet."""
    made = Detection()
    yield made
    await made.detector.close()
