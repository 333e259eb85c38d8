"""The one place where everything is wired: settings and clock in, a running role out."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from replicated_proxy.controller.role import ControllerRole
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.health import HealthChecks, HealthServer
from replicated_proxy.telemetry.logs import configure_logs
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.role import WebhookRole

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """What a role needs to know of where it runs.

    Attributes:
        settings: everything an administrator can set.
        kubeconfig: how to reach the API server; None inside a Pod.
    """

    settings: Settings
    kubeconfig: Path | None


def utc_now() -> datetime:
    """Return the time; the only clock there is, handed to whoever needs it."""
    return datetime.now(UTC)


def run_controller(installation: Installation) -> None:
    """Run the controller until SIGTERM or SIGINT."""
    _run(_controller, installation)


def run_webhook(installation: Installation) -> None:
    """Run the webhook until SIGTERM or SIGINT, then drain."""
    _run(_webhook, installation)


def run_both(installation: Installation) -> None:
    """Run both roles in one process, for development."""
    _run(_both, installation)


Role = Callable[[Installation, asyncio.Event], Coroutine[Any, Any, None]]


def _run(role: Role, installation: Installation) -> None:
    """Run a role on uvloop, with signals turned into an event."""
    configure_logs(installation.settings.log_level)

    async def main() -> None:
        """Run until told to stop."""
        with _stop_on_signals() as stop:
            await role(installation, stop)

    uvloop.run(main())


@contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """Set an event on SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def _controller(installation: Installation, stop: asyncio.Event) -> None:
    """Run the controller with its health server."""
    settings, metrics = installation.settings, Metrics()
    client = await KubeClient.connect(installation.kubeconfig)
    role = ControllerRole(settings, client, metrics, utc_now)
    health = HealthServer(settings.controller.health_port, HealthChecks(ready=role.problems), metrics.registry)
    await health.start()
    try:
        await _until(stop, role.run())
    finally:
        await health.stop()
        await client.close()


async def _webhook(installation: Installation, stop: asyncio.Event) -> None:
    """Run the webhook; it brings its health server and drains by itself."""
    client = await KubeClient.connect(installation.kubeconfig)
    try:
        await WebhookRole(installation.settings, client, Metrics(), utc_now).run(stop)
    finally:
        await client.close()


async def _both(installation: Installation, stop: asyncio.Event) -> None:
    """Run both roles; the first that ends ends the other."""
    async with asyncio.TaskGroup() as group:
        roles: Sequence[Role] = (_controller, _webhook)
        for role in roles:
            group.create_task(role(installation, stop))


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until told to stop; what the work raises ends it as well."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        _log.info("stopping")
    stopping.cancel()
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    failure = results[0]
    if isinstance(failure, Exception):
        raise failure
