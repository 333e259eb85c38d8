"""The probes and the metrics over HTTP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from replicated_proxy.telemetry.health import HealthChecks, HealthServer
from replicated_proxy.telemetry.listeners import open_listener
from replicated_proxy.telemetry.metrics import Metrics


class Health:
    """A health server with problems to choose."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.dead: list[str] = []
        self.metrics = Metrics()
        checks = HealthChecks(ready=lambda: self.missing, live=lambda: self.dead)
        self.server = HealthServer(0, checks, self.metrics.registry, "127.0.0.1")

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a path."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.server.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    """Return a running health server."""
    health = Health()
    await health.server.start()
    yield health
    await health.server.stop()


async def test_all_well_is_ok(health: Health) -> None:
    """Without problems both probes answer 200."""
    assert await health.get("/livez") == (200, "ok\n")
    assert await health.get("/readyz") == (200, "ok\n")


async def test_not_ready_lists_what_is_missing(health: Health) -> None:
    """Readiness answers 503 with one line for each problem, and liveness does not care."""
    health.missing = ["no certificate", "no table"]
    assert await health.get("/readyz") == (503, "no certificate\nno table\n")
    assert await health.get("/livez") == (200, "ok\n")


async def test_not_alive_says_why(health: Health) -> None:
    """Liveness has its own question."""
    health.dead = ["no watch event for 10 minutes"]
    assert await health.get("/livez") == (503, "no watch event for 10 minutes\n")


async def test_metrics_are_shown(health: Health) -> None:
    """What was counted is shown under the product's prefix."""
    health.metrics.secret_syncs.labels("created").inc()
    status, text = await health.get("/metrics")
    assert status == 200
    assert 'replicated_proxy_secret_syncs_total{result="created"} 1.0' in text


async def test_other_paths_are_not_found(health: Health) -> None:
    """There is nothing else on this port."""
    assert (await health.get("/"))[0] == 404


async def test_stop_without_start_is_harmless() -> None:
    """A role that failed before it listened can be stopped."""
    await HealthServer(0, HealthChecks(ready=list), Metrics().registry).stop()


async def test_taken_port_is_an_error(health: Health) -> None:
    """A port that is taken is an error at start, not a server that nobody reaches."""
    second = HealthServer(health.server.port, HealthChecks(ready=list), Metrics().registry, "127.0.0.1")
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()


def test_every_address_takes_both_families() -> None:
    """`::` is reached over IPv4 too, where the machine has both."""
    with open_listener("::", 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        assert listener.getsockname()[1] > 0


def test_every_address_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel without IPv6 `::` means every IPv4 address."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with open_listener("::", 0) as listener:
        assert listener.family == socket.AF_INET


def test_metrics_do_not_meet() -> None:
    """Two sets of metrics in one process count apart."""
    first, second = Metrics(), Metrics()
    first.sweep_corrections.inc()
    assert second.registry.get_sample_value("replicated_proxy_sweep_corrections_total") == 0
