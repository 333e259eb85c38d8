"""HTTP around the reviews: what is let in, and how the server comes and goes.

Anybody in the cluster can reach this port (CVE-2025-1974), so everything is checked and bounded before it is read, and
answers say nothing about rules, namespaces or the inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, cast

from aiohttp import hdrs, web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge
from aiohttp.web_protocol import RequestPayloadError

from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.listeners import open_listener
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.callers import caller_check
from replicated_proxy.webhook.connections import Acceptor, Connection, ConnectionBook
from replicated_proxy.webhook.handler import Undecided
from replicated_proxy.webhook.overload import DelayGate
from replicated_proxy.webhook.responses import JSON, Refused, Responses, error_response
from replicated_proxy.webhook.reviews import MalformedReview

PATH: Final = "/mutate"
_USUAL_PATH: Final = f"{PATH}?"
LARGEST_BODY: Final = 8 * 1024 * 1024  # Two objects of the API server's 3 MiB, and room (controller-runtime: 7 MiB).
_MOST_PENDING: Final = 32 * 1024 * 1024  # Bytes announced by bodies that are still on their way, all together.
# Bodies that wait for no room in it: one for each connection fits beside it, and otherwise four clients that announce
# much and send nothing would keep everybody's usual reviews out.
_SMALL_BODY: Final = 32 * 1024
_BODY_SECONDS: Final = 10.0
_LINGERING_SECONDS: Final = 1.0  # For the rest of a refused body: long enough for the error to be read.
# For answers that are on their way when the time for reviews is over, and again for what has to be cancelled. Not 0,
# which aiohttp takes for "however long it takes".
_ENDING_SECONDS: Final = 0.5
_KEEPALIVE_SECONDS: Final = 120.0  # The API server drops idle connections after 90 s; it has to be the first.

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REVIEW_SECONDS: Final = 10.0  # What the API server takes where nothing is said (admissionregistration.k8s.io/v1).
_TIMEOUT: Final = re.compile(r"[?&]timeout=([0-9]{1,3})s(?:&|$)", re.ASCII)

Answer = Callable[[bytes], bytes | Undecided]
# What else there is, for whoever may know of it; None where there is nothing for this request.
Extra = Callable[[web.BaseRequest], web.Response | None]


class ReviewServer:
    """The HTTPS server.

    Attributes:
        draining: every answer closes its connection, so that the API server's pool moves to other replicas.
        leaving: the drain is over; whoever still comes by an open connection is asked to come again, elsewhere.
        port: the real one once started, should 0 have been asked for.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        context: ssl.SSLContext,
        answer: Answer,
        metrics: Metrics,
        extras: Mapping[str, Extra] | None = None,
    ) -> None:
        self._settings = settings
        self._extras = extras or {}
        self._context = context
        self._answer = answer
        self._check_caller = caller_check(settings)
        self._refused = metrics.requests_refused
        self._book = ConnectionBook(self._count)
        metrics.connections.set_function(lambda: len(self._book))
        self._gate = DelayGate()
        self._responses = Responses()
        self._pending = 0
        self._running = 0
        self._quiet = asyncio.Event()
        self._server: web.Server | None = None
        self._acceptor: Acceptor | None = None
        self.draining = False
        self.leaving = False
        self.port = settings.port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        listener = open_listener(self._settings.bind, self.port)
        self.port = listener.getsockname()[1]
        make_request = partial(web.BaseRequest, loop=loop, client_max_size=LARGEST_BODY)
        self._server = web.Server(self._handle, request_factory=make_request)
        make_connection = partial(
            Connection,
            self._server,
            self._book,
            loop=loop,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            auto_decompress=False,  # The API server does not compress, and a small bomb would unpack to gigabytes.
            access_log=None,
            logger=_silent_log(),
        )
        self._acceptor = Acceptor(listener, self._context, make_connection, self._book)
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop listening and finish what is in flight; harmless when it never started.

        Takes `shutdown_seconds` and a second at most: what comes after has to fit into the Pod's grace period as well.
        aiohttp's own shutdown drops what arrives from then on, so reviews are waited for before it, those included
        whose bodies are on their way, and new requests get an answer that the API server repeats within its deadline: a
        reset it would not.
        """
        if self._server is None or self._acceptor is None:
            return
        self.draining = self.leaving = True
        await self._acceptor.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._finish()
        await asyncio.sleep(0)  # What has been read is handled first.
        self._server.pre_shutdown()
        await self._server.shutdown(_ENDING_SECONDS)
        self._acceptor.end()

    async def _finish(self) -> None:
        """Wait until nothing is in flight."""
        while self._running:
            self._quiet.clear()
            await self._quiet.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = cast("Connection", request.protocol)  # There are no others: `start` makes them.
        self._book.busy(connection)
        self._running += 1
        try:
            response = await self._respond(request, connection.arrived)
        except MalformedReview as error:
            response = error_response(400, str(error))
        except Refused as error:
            self._count(error.reason)
            response = error.response
        finally:
            self._book.quiet(connection)
            self._running -= 1
            if not self._running:
                self._quiet.set()
        if self.draining:
            response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest, arrived: float) -> web.StreamResponse:
        """Answer a review, or what else is served; the usual path is recognized without taking it apart."""
        if self.leaving:
            raise _come_again("draining", "this replica is about to end")
        if not request.raw_path.startswith(_USUAL_PATH):
            extra = self._extras.get(request.path)
            if extra is not None and (answer := extra(request)) is not None:
                return answer
            if request.path != PATH:
                raise Refused("path", 404, f"nothing here: send reviews to {PATH}")
        self._check_caller(request)
        _check(request)
        if self._gate.refuses(arrived, time.monotonic()):
            self._count("overloaded")
            return self._responses.busy(request, closing=self.draining)
        answer_of = self._answer(await self._read(request))
        if isinstance(answer_of, Undecided):
            answer_of = await answer_of.answer_within(_time_of(request) / 2)
        return self._responses.answer(request, answer_of, closing=self.draining)

    def _count(self, reason: str) -> None:
        """Count what gets no answer to a review."""
        self._refused.labels(reason).inc()

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Read the body.

        Most reviews have come with their headers already; only those that have not need a timeout and a budget.
        """
        content = request.content
        if not content.is_eof() or content.exception() is not None:
            return await self._read_slowly(request)
        return content.read_nowait()

    async def _read_slowly(self, request: web.BaseRequest) -> bytes:
        """Wait for a body, as long and as much as can be afforded."""
        announced = request.content_length if request.content_length is not None else LARGEST_BODY
        if announced > LARGEST_BODY:
            raise _too_large()
        if announced > _SMALL_BODY and self._pending + announced > _MOST_PENDING:
            raise _come_again("overloaded", "too many large reviews at once")
        connection = cast("Connection", request.protocol)
        self._book.quiet(connection)  # Whoever makes us wait makes room for others like one who asks nothing.
        self._pending += announced
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await _read_all(request)
        except TimeoutError:
            raise Refused("slow", 408, "the body did not arrive in time", Connection="close") from None
        finally:
            self._book.busy(connection)
            self._pending -= announced


async def _read_all(request: web.BaseRequest) -> bytes:
    """Read a body of bounded size, and ask for it where that is expected."""
    try:
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
        return await request.read()
    except HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (RequestPayloadError, ClientPayloadError, HttpProcessingError, ConnectionError):
        raise Refused("malformed-http", 400, "the body is not what its headers say", Connection="close") from None


def _check(request: web.BaseRequest) -> None:
    """Let nothing in but JSON by POST."""
    if request.method != "POST":
        raise Refused("method", 405, f"send reviews to {PATH} with POST", Allow="POST")
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    if kind != JSON and kind.partition(";")[0].strip().lower() != JSON:
        raise Refused("media-type", 415, f"send reviews as {JSON}")


def _time_of(request: web.BaseRequest) -> float:
    """Return how many seconds the API server waits for an answer (`?timeout=5s`, webhook/request in apiserver)."""
    told = _TIMEOUT.search(request.path_qs)
    return float(told[1]) if told else _REVIEW_SECONDS


def _come_again(reason: str, message: str) -> Refused:
    """Refuse for the moment; with Retry-After the API server asks again, by then perhaps another replica."""
    return Refused(reason, 503, message, **{"Retry-After": "1", "Connection": "close"})


def _too_large() -> Refused:
    """Refuse a body over the limit."""
    return Refused("too-large", 413, f"a review has at most {LARGEST_BODY} bytes", Connection="close")


def _silent_log() -> logging.Logger:
    """Return a logger for aiohttp that says nothing: it would log what it could not parse, tokens included."""
    log = logging.getLogger(f"{__name__}.protocol")
    log.disabled = True
    return log
