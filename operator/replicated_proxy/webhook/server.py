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
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge
from aiohttp.web_protocol import RequestPayloadError

from replicated_proxy.settings import WebhookSettings
from replicated_proxy.telemetry.listeners import open_listener
from replicated_proxy.webhook.answers import encode_error
from replicated_proxy.webhook.handler import Undecided
from replicated_proxy.webhook.reviews import MalformedReview

PATH: Final = "/mutate"
LARGEST_BODY: Final = 8 * 1024 * 1024  # Two objects of the API server's 3 MiB, and room (controller-runtime: 7 MiB).
_MOST_PENDING: Final = 64 * 1024 * 1024  # Bytes announced by bodies that are still on their way, all together.
_BODY_SECONDS: Final = 10.0
_LINGERING_SECONDS: Final = 1.0  # For the rest of a refused body: long enough for the error to be read.
_KEEPALIVE_SECONDS: Final = 120.0  # The API server drops idle connections after 90 s; it has to be the first.
_JSON: Final = "application/json"

_REVIEW_SECONDS: Final = 10.0  # What the API server takes where nothing is said (admissionregistration.k8s.io/v1).
_TIMEOUT: Final = re.compile(r"[?&]timeout=([0-9]{1,3})s(?:&|$)", re.ASCII)

Answer = Callable[[bytes], bytes | Undecided]


class _Refused(Exception):
    """A request that gets an error; carries what to answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.response = web.Response(
            status=status, body=encode_error(message), headers={"Content-Type": _JSON, **headers}
        )


class ReviewServer:
    """The HTTPS server.

    Attributes:
        draining: every answer closes its connection, so that the API server's pool moves to other replicas.
        leaving: the drain is over; whoever still comes by an open connection is asked to come again, elsewhere.
        port: the real one once started, should 0 have been asked for.
    """

    def __init__(self, settings: WebhookSettings, context: ssl.SSLContext, answer: Answer) -> None:
        self._settings = settings
        self._context = context
        self._answer = answer
        self._pending = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._runner: web.ServerRunner | None = None
        self.draining = False
        self.leaving = False
        self.port = settings.port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        server = web.Server(
            self._handle,
            request_factory=_make_request,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            auto_decompress=False,  # The API server does not compress, and a small bomb would unpack to gigabytes.
            access_log=None,
            logger=_silent_log(),
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._settings.shutdown_seconds)
        await self._runner.setup()
        listener = open_listener(self._settings.bind, self.port)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener, ssl_context=self._context).start()

    async def stop(self) -> None:
        """Stop listening and finish what is in flight, in bounded time; harmless when it never started.

        aiohttp's own shutdown drops what arrives from then on, so bodies on their way are waited for before it, and new
        requests get an answer that the API server repeats within its deadline: a reset it would not.
        """
        if self._runner is None:
            return
        self.draining = self.leaving = True
        for site in list(self._runner.sites):
            await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._quiet.wait()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        try:
            if self.leaving:
                raise _come_again("this replica is about to end")
            _check(request)
            body = await self._read(request)
            answer = self._answer(body)
            if isinstance(answer, Undecided):
                answer = await answer.answer_within(_time_of(request) / 2)
            response = web.Response(body=answer, content_type=_JSON)
        except MalformedReview as error:
            response = _Refused(400, str(error)).response
        except _Refused as error:
            response = error.response
        if self.draining:
            response.force_close()
        return response

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Read the body.

        Most reviews have come with their headers already; only those that have not need a timeout and a budget.
        """
        if not request.content.is_eof():
            return await self._read_slowly(request)
        return await _read_all(request)

    async def _read_slowly(self, request: web.BaseRequest) -> bytes:
        """Wait for a body, as long and as much as can be afforded."""
        announced = request.content_length if request.content_length is not None else LARGEST_BODY
        if announced > LARGEST_BODY:
            raise _too_large()
        if self._pending + announced > _MOST_PENDING:
            raise _come_again("too many large reviews at once")
        self._pending += announced
        self._quiet.clear()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await _read_all(request)
        except TimeoutError:
            raise _Refused(408, "the body did not arrive in time", Connection="close") from None
        finally:
            self._pending -= announced
            if not self._pending:
                self._quiet.set()


async def _read_all(request: web.BaseRequest) -> bytes:
    """Read a body of bounded size."""
    try:
        return await request.read()
    except HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (RequestPayloadError, ClientPayloadError, HttpProcessingError):
        raise _Refused(400, "the body is not what its headers say", Connection="close") from None


def _check(request: web.BaseRequest) -> None:
    """Let nothing in but `POST /mutate` with JSON; the query (`timeout=5s`) is the API server's business."""
    if request.path != PATH:
        raise _Refused(404, f"nothing here: send reviews to {PATH}")
    if request.method != "POST":
        raise _Refused(405, f"send reviews to {PATH} with POST", Allow="POST")
    kind = request.headers.get("Content-Type", "")
    if kind != _JSON and kind.partition(";")[0].strip().lower() != _JSON:
        raise _Refused(415, f"send reviews as {_JSON}")


def _time_of(request: web.BaseRequest) -> float:
    """Return how many seconds the API server waits for an answer (`?timeout=5s`, webhook/request in apiserver)."""
    told = _TIMEOUT.search(request.path_qs)
    return float(told[1]) if told else _REVIEW_SECONDS


def _come_again(message: str) -> _Refused:
    """Refuse for the moment; with Retry-After the API server asks again, by then perhaps another replica."""
    return _Refused(503, message, **{"Retry-After": "1", "Connection": "close"})


def _too_large() -> _Refused:
    """Refuse a body over the limit."""
    return _Refused(413, f"a review has at most {LARGEST_BODY} bytes", Connection="close")


def _make_request(*args: Any) -> web.BaseRequest:
    """Make aiohttp's request with our limit instead of its 1 MiB."""
    message, payload, protocol, writer, task = args
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)


def _silent_log() -> logging.Logger:
    """Return a logger for aiohttp that says nothing: it would log what it could not parse, tokens included."""
    log = logging.getLogger(f"{__name__}.protocol")
    log.disabled = True
    return log
