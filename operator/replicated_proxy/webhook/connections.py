"""Connections: how many, for how long, and who has to make room.

aiohttp sees a connection once its handshake is done, which is the dearest part of it, and takes any number. Here
handshakes are paced, so that reviews on open connections get their turn, and who would wait for too long is told at
once; a client has to finish its handshake and each head of a request in time; and where all room is taken, the
connection goes that has been idle the longest, so that nobody can keep others out by holding on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from replicated_proxy.webhook.overload import handshakes_allowed
from replicated_proxy.webhook.responses import error_response

MOST_CONNECTIONS: Final = (
    512  # Each takes 40 KB. The API server keeps 25 idle ones, and opens more when it has more to ask.
)
_MOST_HANDSHAKES: Final = 128
_ACCEPTED_AT_ONCE: Final = 64
_MOST_QUEUED: Final = 512
_QUEUED_SECONDS: Final = 2.5  # The API server waits for 5 s by default, and its review is still to come.
_QUEUE_LOOK_SECONDS: Final = 0.01
_IDLE_SECONDS: Final = 2.0  # A connection that was used a moment ago will be used again: ending it costs a handshake.
_HANDSHAKE_SECONDS: Final = 5.0
_HEAD_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 2.0  # For the other end's part of the end of TLS.
_SWEEP_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.5  # When this process has no file descriptor left.

_log = logging.getLogger(__name__)
Count = Callable[[str], None]


class Connection(web.RequestHandler):
    """aiohttp's connection, with what aiohttp does not tell.

    Attributes:
        arrived: when the last bytes came.
        begun: when the first bytes came that no request was made of yet; 0 while there are none.
        asked: whether there ever was a request.
    """

    __slots__ = ("_book", "arrived", "asked", "begun")

    def __init__(self, server: web.Server, book: ConnectionBook, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._book = book
        self.arrived = self.begun = 0.0
        self.asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._book.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._book.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take the time."""
        self.arrived = time.monotonic()
        if not self.begun:
            self.begun = self.arrived
        super().data_received(data)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP; aiohttp's own answer and its log quote the request."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= 500:
            _log.error("a request failed", extra={"kind": type(exc).__name__})
            return error_response(500, "this request failed", Connection="close")
        self._book.count("malformed-http")
        return error_response(400, "this is not HTTP/1.1", Connection="close")

    def is_late(self, since: float, now: float) -> bool:
        """Tell whether a client that is not being answered since then takes too long over something."""
        if not self.asked:
            return now - since > _HEAD_SECONDS
        transport = self.transport
        if self.begun:
            return now - self.begun > _HEAD_SECONDS
        unread = transport is not None and transport.get_write_buffer_size() > 0
        return unread and now - since > _HEAD_SECONDS

    def abort(self) -> None:
        """End at once, without a word."""
        if self.transport is not None:
            self.transport.abort()


class ConnectionBook:
    """Keeps account of open connections.

    Attributes:
        count: counts what was refused, by reason.
    """

    def __init__(self, count: Count) -> None:
        self.count = count
        self._open: set[Connection] = set()
        self._quiet: dict[Connection, float] = {}  # Those that nothing is done for, and since when; the oldest first.

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        """Take in a connection, after its handshake; another one may have to go."""
        self._open.add(connection)
        self._quiet[connection] = time.monotonic()
        if len(self._open) > MOST_CONNECTIONS:
            self._drop(next(iter(self._quiet)), "connections")

    def has_room(self, coming: int, now: float) -> bool:
        """Tell whether one more connection is of use, beside so many that are on their way: one may have to go."""
        if len(self._open) + coming < MOST_CONNECTIONS:
            return True
        idlest = next(iter(self._quiet.values()), now)
        return now - idlest > _IDLE_SECONDS

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._quiet.pop(connection, None)

    def busy(self, connection: Connection) -> None:
        """Note that a request has begun."""
        self._quiet.pop(connection, None)
        connection.asked = True
        connection.begun = 0.0

    def quiet(self, connection: Connection) -> None:
        """Note that it has been answered."""
        if connection in self._open:
            self._quiet[connection] = time.monotonic()
            connection.begun = 0.0

    def sweep(self, now: float) -> None:
        """End the connections of clients that take too long."""
        late = [connection for connection, since in self._quiet.items() if connection.is_late(since, now)]
        for connection in late:
            self._drop(connection, "slow")

    def _drop(self, connection: Connection, reason: str) -> None:
        """End a connection; it counts as closed from now on."""
        self.count(reason)
        self.closed(connection)
        connection.abort()


class Acceptor:
    """Accepts connections on a listening socket and has TLS done on them."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], Connection],
        book: ConnectionBook,
    ) -> None:
        self._listener = listener
        self._context = context
        self._make = make
        self._book = book
        self._queue: deque[tuple[socket.socket, float]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._open = False

    def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)  # noqa: FBT003 - its only form.
        self._open = True
        self._loop.add_reader(self._listener, self._accept)
        self._plan_sweep()

    async def stop(self) -> None:
        """Accept nobody any more; handshakes end. Slow clients are still put up with no longer than otherwise."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)
            self._listener.close()
        while self._queue:
            self._queue.popleft()[0].close()
        await asyncio.sleep(0)  # A handshake that has not begun would leave its socket open.
        for task in list(self._handshakes):
            task.cancel()
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def end(self) -> None:
        """Sweep no more."""
        for timer in (self._sweep, self._look):
            if timer is not None:
                timer.cancel()

    def _accept(self) -> None:
        """Accept who has come, as many as one turn allows."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connected, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                _log.error("no connection can be accepted", extra={"kind": type(error).__name__})
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_SECONDS, self._accept_again)
                break  # Those who are in go on: they hold what is missing.
            self._enqueue(connected, time.monotonic())
        if self._look is None:
            self._begin(time.monotonic())

    def _enqueue(self, connected: socket.socket, now: float) -> None:
        """Let somebody wait for the handshake, or end the connection while that costs next to nothing."""
        coming = len(self._queue) + len(self._handshakes)
        if len(self._queue) >= _MOST_QUEUED or not self._book.has_room(coming, now):
            self._refuse(connected)
        else:
            self._queue.append((connected, now))

    def _begin(self, planned: float) -> None:
        """Begin as many handshakes as there is time for, and come back for the others."""
        self._look = None
        now = time.monotonic()
        while self._queue and now - self._queue[0][1] > _QUEUED_SECONDS:
            self._refuse(self._queue.popleft()[0])
        for _ in range(min(len(self._queue), handshakes_allowed(now - planned))):
            self._shake_hands(self._queue.popleft()[0])
        if self._queue:
            planned = now + _QUEUE_LOOK_SECONDS
            self._look = self._loop.call_later(_QUEUE_LOOK_SECONDS, self._begin, planned)

    def _shake_hands(self, connected: socket.socket) -> None:
        """Begin a handshake; of too many the oldest ends."""
        if len(self._handshakes) >= _MOST_HANDSHAKES:
            self._book.count("connections")
            oldest = next(iter(self._handshakes))
            self._forget(oldest)  # It ends in a later turn, and the next one in this turn is to end another.
            oldest.cancel()
        task = self._loop.create_task(self._welcome(connected))
        self._handshakes[task] = None
        task.add_done_callback(self._forget)

    def _refuse(self, connected: socket.socket) -> None:
        """End a connection before anything was done for it."""
        self._book.count("connections")
        connected.close()

    def _accept_again(self) -> None:
        """Go on after a pause."""
        if self._open:
            self._loop.add_reader(self._listener, self._accept)

    async def _welcome(self, connected: socket.socket) -> None:
        """Shake hands; from then on the connection takes care of itself."""
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                connected,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
        except OSError:
            self._book.count("tls")

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Forget a handshake that is over."""
        self._handshakes.pop(task, None)

    def _plan_sweep(self) -> None:
        """Look after slow clients, now and then."""
        self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        """Look after slow clients."""
        self._book.sweep(time.monotonic())
        self._plan_sweep()
