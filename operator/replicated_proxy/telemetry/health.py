"""`/livez`, `/readyz` and `/metrics` over plain HTTP, for the kubelet and Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from replicated_proxy.telemetry.listeners import EVERY_ADDRESS, open_listener

Check = Callable[[], list[str]]
"""Returns what is missing, in words for people; empty when all is well."""


def always_well() -> list[str]:
    """Report nothing: a process that answers at all is alive."""
    return []


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """The two questions of the kubelet.

    Attributes:
        ready: what keeps requests away; must not depend on a watch that is broken for a moment.
        live: what only a restart would heal; must not depend on the API server, or its trouble restarts everything.
    """

    ready: Check
    live: Check = always_well


class HealthServer:
    """The HTTP server of both roles; everything in it may be read by anybody who reaches the port."""

    def __init__(
        self, port: int, checks: HealthChecks, registry: CollectorRegistry, address: str = EVERY_ADDRESS
    ) -> None:
        self._listen = (address, port)
        self._checks = checks
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        """Listen; `port` is the real one from now on, should 0 have been asked for.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = open_listener(*self._listen)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Stop listening; harmless when it never started."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        """Answer the liveness probe."""
        return _report(self._checks.live())

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer the readiness probe."""
        return _report(self._checks.ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        """Show the metrics in Prometheus's text format."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _report(problems: list[str]) -> web.Response:
    """Write `ok`, or one line for each problem with status 503."""
    text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
    return web.Response(text=text, status=503 if problems else 200)
