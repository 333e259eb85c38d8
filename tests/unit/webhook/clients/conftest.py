"""A webhook on the product's event loop, whose TLS is its own: uvloop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop

from mistreating import Target


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let nothing be logged at all: what clients send is counted."""
    with caplog.at_level(logging.INFO):
        yield
    assert [record.getMessage() for record in caplog.records] == []


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """Return a webhook that serves."""
    made = Target()
    await made.server.start()
    yield made
    await made.close()
