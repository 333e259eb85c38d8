"""A connector whose connections end when a server says too much.

aiohttp bounds single headers, but not how many interim answers (`100 Continue`) come before the real one, nor what is
said between the chunks of a body: a server that goes on without end keeps a core busy. The bounds are on bytes as they
arrive, so they hold for whatever else there is to say.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

# Several times what registries send.
LONGEST_HEAD: Final = 32_768
# What is read of a body is its reader's to bound, to less than this.
LONGEST_ANSWER: Final = 2 << 20


class _BoundedHandler(ResponseHandler):
    """Counts the bytes since a request."""

    _left = LONGEST_HEAD
    _answered = False
    """Whether the head of the answer is there."""

    def set_response_params(self, **parameters: Any) -> None:
        """Begin to count: a request is about to be sent."""
        self._left = LONGEST_HEAD
        self._answered = False
        super().set_response_params(**parameters)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed message; an interim one is no answer."""
        if not self._answered and data[0].code >= 200:
            self._answered = True
            self._left += LONGEST_ANSWER - LONGEST_HEAD
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what came, no further than allowed."""
        while data and self._left:
            taken, data = data[: self._left], data[self._left :]
            self._left -= len(taken)
            super().data_received(taken)
        if data:
            self._refuse()

    def _refuse(self) -> None:
        """End the connection; whoever waits for the answer is told."""
        if self.transport is not None:
            self.transport.abort()
        self.set_exception(HttpProcessingError(code=400, message="more was sent than an answer may be long"))


class BoundedConnector(aiohttp.TCPConnector):
    """Makes such connections."""

    def __init__(self, resolver: AbstractResolver, **parameters: Any) -> None:
        super().__init__(resolver=resolver, **parameters)
        # Private, and the only place where a connection's protocol is chosen; tests flood it.
        handler: type[ResponseHandler] = _BoundedHandler
        self._factory = partial(handler, loop=self._loop)
