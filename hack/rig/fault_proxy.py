"""A proxy in front of the API server that makes it fail as a test wants: refuse, hang, cut, fall silent, go away.

Plain HTTP on loopback towards the client, whose bearer token is passed on, TLS towards the API server. It runs in a
thread of its own, so that a test can change the rules while a role works, and it counts what passes.
"""

import asyncio
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from rig.controlplane import ControlPlane
from rig.faults import (
    WRITES,
    Answer,
    Assassin,
    Cut,
    Delay,
    ErrorEvent,
    Fault,
    Freeze,
    Hang,
    Lose,
    Requests,
    Rule,
    Rules,
    is_watch,
    plural_of,
)
from rig.kubeconfig import redirect_kubeconfig

_HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "host", "transfer-encoding"})


class FaultProxy:
    """The proxy; a context manager.

    Attributes:
        seen: what passed or was broken, counted by method and plural; watches as `WATCH`.
        page: most objects in a page of a listing, whatever the client asks for; 0 leaves it alone.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._rules = Rules()
        self._assassin: Assassin | None = None
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._runner: web.ServerRunner | None = None
        self._upstream: aiohttp.ClientSession | None = None
        self.seen: Counter[tuple[str, str]] = Counter()
        self.port = 0
        self.page = 0
        self._last_request = time.monotonic()
        self._on_the_way = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, original: Path) -> Path:
        """Write a kubeconfig that leads here with the token of another."""
        return redirect_kubeconfig(original, self.url, original.with_suffix(".faults.kubeconfig"))

    def inject(self, requests: Requests, fault: Fault, times: int | None = 1) -> Rule:
        """Put a fault in force; on a watch's fault also for the watches that run."""
        rule = Rule(requests, fault, times)
        self._rules.add(rule)
        self._loop.call_soon_threadsafe(self._wake_streams)
        return rule

    def clear(self) -> None:
        """End every fault."""
        self._rules.clear()

    def kill_after(self, writes: int, pid: int) -> None:
        """Kill a process after so many applied writes; those of Leases are nobody's progress and count not."""
        self._assassin = Assassin(pid, writes)

    def disarm(self) -> list[str]:
        """Kill nobody any more; returns the writes that were counted (`METHOD path`)."""
        armed, self._assassin = self._assassin, None
        return armed.applied if armed else []

    @property
    def struck(self) -> bool:
        """Whether the process to be killed was killed."""
        return self._assassin is not None and self._assassin.done

    def quiet_for(self, seconds: float) -> bool:
        """Tell whether nobody has asked, or waited, for anything for so long; watches and Leases are never quiet."""
        return not self._on_the_way and time.monotonic() - self._last_request > seconds

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wake_streams(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._plane.certificate_authority))
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, force_close=True)  # The API server may be another by now.
        self._upstream = aiohttp.ClientSession(
            self._plane.url, connector=connector, timeout=timeout, read_bufsize=2**21
        )
        self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._upstream is not None:
            await self._upstream.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._note(request)
        lost = False
        for rule in self._rules.at_start(request):
            rule.claim()
            if isinstance(rule.fault, Delay):
                await asyncio.sleep(rule.fault.seconds)
            elif isinstance(rule.fault, Answer):
                return _status(rule.fault)
            elif isinstance(rule.fault, Hang):
                await asyncio.Event().wait()
            elif isinstance(rule.fault, Lose):
                lost = True
                break
            else:
                return _drop(request)
        try:
            answer = await (self._stream(request) if is_watch(request) else self._forward(request))
        except aiohttp.ClientError:
            return _drop(request)
        return _drop(request) if lost else answer

    def _note(self, request: web.BaseRequest) -> None:
        """Count a request."""
        kind = plural_of(request.path)
        self.seen["WATCH" if is_watch(request) else request.method, kind] += 1
        if kind != "leases" and not is_watch(request):
            self._last_request = time.monotonic()

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request and its answer on, if whoever sent it may still live."""
        assassin = self._assassin
        if assassin is None or request.method not in WRITES or plural_of(request.path) == "leases":
            return await self._ask(request)
        async with assassin.lock:
            if assassin.done:
                return _drop(request)
            answer = await asyncio.shield(self._ask(request))
            struck = answer.status < 300 and assassin.strike(f"{request.method} {request.path}")
            return _drop(request) if struck else answer

    async def _ask(self, request: web.BaseRequest) -> web.Response:
        counts = plural_of(request.path) != "leases"
        self._on_the_way += counts
        try:
            async with self._request(request, await request.read()) as answer:
                return web.Response(body=await answer.read(), status=answer.status, headers=_passed_on(answer.headers))
        finally:
            self._on_the_way -= counts
            self._last_request = time.monotonic() if counts else self._last_request

    def _request(self, request: web.BaseRequest, body: bytes) -> Any:
        assert self._upstream is not None  # noqa: S101 - it was started.
        url = request.rel_url
        if self.page and "limit" in url.query:
            url = url.update_query(limit=str(self.page))
        return self._upstream.request(request.method, url, headers=_passed_on(request.headers), data=body or None)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a watch on, line by line, until it ends or a fault ends it."""
        async with self._request(request, b"") as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            while True:
                line = await self._next_line(request, answer)
                if isinstance(line, Rule):
                    line.claim()
                    return await _break(request, response, line.fault)
                if not line:
                    return response
                await response.write(line)

    async def _next_line(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> bytes | Rule:
        """Wait for the next line or for a fault, whatever comes first."""
        reading = asyncio.ensure_future(answer.content.readuntil(b"\n"))
        waiting: set[asyncio.Future[Any]] = {reading}
        try:
            while not reading.done():
                if rule := self._rules.in_stream(request):
                    return rule
                changed = asyncio.ensure_future(self._changed.wait())
                waiting.add(changed)
                await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
            return reading.result()
        finally:
            for task in waiting:
                task.cancel()


async def _break(request: web.BaseRequest, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """Do to a stream what its fault says."""
    if isinstance(fault, Freeze):
        await asyncio.Event().wait()
    if isinstance(fault, ErrorEvent):
        await response.write(json.dumps({"type": "ERROR", "object": _body(fault.code, fault.reason)}).encode() + b"\n")
        return response
    if isinstance(fault, Cut):
        await response.write(b'{"type":"MODIFIED","object":{"metadata":{"na')
        if fault.clean:
            return response
    return _drop(request, response)


def _drop(request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502) if response is None else response


def _status(answer: Answer) -> web.Response:
    """Write a Status."""
    headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
    return web.json_response(_body(answer.status, answer.reason), status=answer.status, headers=headers)


def _body(code: int, reason: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "a fault that the test wanted",
        "reason": reason,
        "code": code,
    }


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
