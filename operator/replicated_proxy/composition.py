"""The one place where everything is wired: settings and clock in, a running role out."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from replicated_proxy.cleanup.cleaning import Cleaner
from replicated_proxy.clock import SystemClock
from replicated_proxy.controller.role import ControllerRole
from replicated_proxy.detection.asking import Prober
from replicated_proxy.detection.trust import InvalidCaFile
from replicated_proxy.kube.answers import can_read_depth
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import NoCluster
from replicated_proxy.settings import InvalidSettings, Settings
from replicated_proxy.signatures.keys import InvalidTrustedKey
from replicated_proxy.signatures.verifying import SignatureVerifier
from replicated_proxy.telemetry.health import HealthChecks, HealthServer
from replicated_proxy.telemetry.logs import configure_logs
from replicated_proxy.telemetry.making import Exporter
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.trial.admission import AdmissionCheck
from replicated_proxy.webhook.role import WebhookRole

_log = logging.getLogger(__name__)
_FAILED: Final = 1
_HIGHEST_PORT: Final = 65535
# The API server takes objects nested 10,000 deep (Go's encoding/json). One of those must not keep a listing from being
# read, and with Python's own limit of 1,000 it would.
_DEEPEST_OBJECT: Final = 10_000
_ROOM: Final = 2_000  # For the calls that lead to the decoder.


@dataclass(frozen=True, slots=True)
class Installation:
    """What a role needs to know of where it runs.

    Attributes:
        settings: everything an administrator can set.
        kubeconfig: how to reach the API server; None inside a Pod.
    """

    settings: Settings
    kubeconfig: Path | None


@functools.cache
def own_identity() -> str:
    """Return what this process is called in the Lease and in the API server's audit log.

    A Pod's name is unique and outlives a crash of its container, which so finds its own Lease again; where there is
    none, nobody must ever be called the same.
    """
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{secrets.token_hex(4)}"


def check_trusted_keys(settings: Settings) -> None:
    """Read the keys that only cryptography can check.

    Raises:
        InvalidSettings: one of `license.trustedKeys` is no RSA public key.
    """
    try:
        SignatureVerifier(settings.license.trusted_keys)
    except InvalidTrustedKey as error:
        raise InvalidSettings(f"invalid settings:\n  - {error}") from error


def run_controller(installation: Installation) -> None:
    """Run the controller until SIGTERM or SIGINT."""
    _run(_controller, installation)


def run_webhook(installation: Installation) -> None:
    """Run the webhook until SIGTERM or SIGINT, then drain."""
    _run(_webhook, installation)


def run_both(installation: Installation) -> None:
    """Run both roles in one process, for development; see `with_two_health_ports`."""
    _run(_both, replace(installation, settings=with_two_health_ports(installation.settings)))


def run_cleanup(installation: Installation, seconds: float) -> None:
    """Delete what the installation made; ends the process with status 1 when that took longer than it may."""

    async def role(settings: Settings, client: KubeClient, stop: asyncio.Event) -> None:
        """Clean until done or told to stop."""
        finished = False

        async def clean() -> None:
            nonlocal finished
            finished = await Cleaner(client, settings, SystemClock()).clean(seconds)

        await _until(stop, clean())
        if not finished:
            sys.exit(_FAILED)

    _run(role, installation)


def run_admission_check(installation: Installation, namespace: str, image: str, seconds: float) -> None:
    """Have the API server try out a Pod; ends the process with status 1 when it was not rewritten."""

    async def role(settings: Settings, client: KubeClient, stop: asyncio.Event) -> None:
        """Try until it is, or until told to stop."""
        rewritten = False

        async def check() -> None:
            nonlocal rewritten
            rewritten = await AdmissionCheck(client, settings, SystemClock()).run(namespace, image, seconds)

        await _until(stop, check())
        if not rewritten:
            sys.exit(_FAILED)

    _run(role, installation)


def with_two_health_ports(settings: Settings) -> Settings:
    """Give the webhook's health server the next free number when both roles have the same: one process has both."""
    webhook = settings.webhook
    taken = {settings.controller.health_port, webhook.port}
    port = webhook.health_port
    while port and port in taken:
        port = port + 1 if port < _HIGHEST_PORT else 1024
    return replace(settings, webhook=replace(webhook, health_port=port))


Role = Callable[[Settings, KubeClient, asyncio.Event], Coroutine[Any, Any, None]]


def _run(role: Role, installation: Installation) -> None:
    """Run a role on uvloop, with signals turned into an event; ends the process with status 1 when it fails.

    Whatever it fails with goes through the log: a traceback on the side would bypass the redaction.
    """
    configure_logs(installation.settings.log_level)

    async def main() -> None:
        """Connect, and run until told to stop."""
        client = await KubeClient.connect(installation.kubeconfig, SystemClock(), own_identity())
        try:
            with _stop_on_signals() as stop:
                await role(installation.settings, client, stop)
        finally:
            await client.close()

    try:
        uvloop.run(main())
    except (NoCluster, InvalidCaFile) as error:
        _log.critical("%s", error)
        sys.exit(_FAILED)
    except Exception as error:  # noqa: BLE001 - the outermost place there is.
        _log.critical("ended by an error: %s", type(error).__name__, exc_info=True)
        sys.exit(_FAILED)


@contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """Set an event on SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def _controller(settings: Settings, client: KubeClient, stop: asyncio.Event) -> None:
    """Run the controller with its health server."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _DEEPEST_OBJECT + _ROOM))
    if not can_read_depth(_DEEPEST_OBJECT):
        _log.warning("this Python cannot read objects nested %d deep; one such object stops listings", _DEEPEST_OBJECT)
    metrics = Metrics(Exporter.CONTROLLER)
    role = ControllerRole(settings, client, metrics, SystemClock(), own_identity())
    checks = HealthChecks(ready=role.problems, live=role.stuck)
    metrics.note_ready(checks.ready)
    health = HealthServer(settings.controller.health_port, checks, metrics.registry)
    await health.start()
    try:
        await _until(stop, role.run())
    finally:
        await health.stop()


async def _webhook(settings: Settings, client: KubeClient, stop: asyncio.Event) -> None:
    """Run the webhook; it brings its health server and drains by itself."""
    await WebhookRole(settings, client, Metrics(Exporter.WEBHOOK), Prober(settings.detection)).run(stop)


async def _both(settings: Settings, client: KubeClient, stop: asyncio.Event) -> None:
    """Run both roles; the first that ends ends the other."""
    ports = {"controller": settings.controller.health_port, "webhook": settings.webhook.health_port}
    _log.info("health ports", extra=ports)
    async with asyncio.TaskGroup() as group:
        roles: Sequence[Role] = (_controller, _webhook)
        for role in roles:
            group.create_task(role(settings, client, stop))


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until told to stop, or cancelled by the other role's end; what the work raises ends it as well."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            _log.info("stopping")
    finally:
        stopping.cancel()
        task.cancel()
        (failure,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(failure, Exception):
        raise failure
