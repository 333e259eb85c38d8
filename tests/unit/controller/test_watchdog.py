"""Watches that fall silent."""

from __future__ import annotations

from typing import cast

import pytest

from replicated_proxy.controller.pump import EventPump
from replicated_proxy.controller.pumping import Pumped, WatchedKind
from replicated_proxy.controller.watchdog import Patience, Watchdog, kinds_of
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Unreachable
from replicated_proxy.kube.resources import NAMESPACES, SECRETS, Resource
from replicated_proxy.telemetry.metrics import Metrics

LONG = 200.0


class Hears:
    """What was heard, as the test says."""

    def __init__(self) -> None:
        self.watched = True

    def age(self, _resource: Resource) -> float:
        """Return an age."""
        return 12.0

    def watched_since(self, _resource: Resource, _moment: float) -> bool:
        """Tell whether a watch was heard of."""
        return self.watched


class Pump:
    """A pump that counts its starts."""

    def __init__(self) -> None:
        self.pumped = Pumped("core", (WatchedKind(NAMESPACES), WatchedKind(SECRETS, "metadata.name=it")))
        self.hearing = Hears()
        self.began = 0.0
        self.silent: set[Resource] = set()
        self.starts = 0

    def silence(self, resource: Resource) -> float:
        """Return for how long a kind was silent."""
        return LONG if resource in self.silent else 1.0

    def restart(self) -> None:
        """Count a start."""
        self.starts += 1


class Server:
    """An API server that answers, or does not."""

    def __init__(self) -> None:
        self.error: ApiError | None = None
        self.asked: list[tuple[Resource, str]] = []

    async def list_all(self, resource: Resource, field_selector: str) -> Listing:
        """List nothing."""
        self.asked.append((resource, field_selector))
        if self.error is not None:
            raise self.error
        return Listing((), "1")


@pytest.fixture
def pump() -> Pump:
    """Return a pump."""
    return Pump()


@pytest.fixture
def server() -> Server:
    """Return a server."""
    return Server()


@pytest.fixture
def metrics() -> Metrics:
    """Return the metrics."""
    return Metrics()


@pytest.fixture
def watchdog(pump: Pump, server: Server, metrics: Metrics) -> Watchdog:
    """Return a watchdog that looks after the pump."""
    return Watchdog(cast("KubeClient", server), [cast("EventPump", pump)], metrics, Patience(most_restarts=2))


async def test_watch_that_is_heard_of_is_left_alone(watchdog: Watchdog, pump: Pump, server: Server) -> None:
    """Nothing is asked and nothing started while bookmarks come."""
    await watchdog.look()

    assert (pump.starts, server.asked) == (0, [])


async def test_silent_watch_is_started_anew(watchdog: Watchdog, pump: Pump, server: Server, metrics: Metrics) -> None:
    """A silence that lasts although the kind can be listed ends by a fresh start, which is counted."""
    pump.silent = {SECRETS}
    await watchdog.look()

    assert pump.starts == 1
    assert server.asked == [(SECRETS, "metadata.name=it")]
    assert metrics.registry.get_sample_value("replicated_proxy_watch_restarts_total", {"pump": "core"}) == 1
    assert metrics.registry.get_sample_value("replicated_proxy_watch_age_seconds", {"kind": "secrets"}) == 12


async def test_nothing_is_started_while_the_api_server_is_away(watchdog: Watchdog, pump: Pump, server: Server) -> None:
    """A silence that the API server's absence explains is no reason for anything, however long it lasts."""
    pump.silent = {NAMESPACES, SECRETS}
    server.error = Unreachable("refused")
    for _ in range(10):
        await watchdog.look()

    assert pump.starts == 0
    assert watchdog.problems() == []


async def test_process_is_not_alive_when_no_start_helps(watchdog: Watchdog, pump: Pump) -> None:
    """After some fresh starts in vain the liveness probe fails, and a sign of every watch ends that."""
    pump.silent = {NAMESPACES}
    pump.hearing.watched = False
    for _ in range(2):
        await watchdog.look()
    assert watchdog.problems() == []

    await watchdog.look()
    assert watchdog.problems() == ["the watches of core stay silent after 3 fresh starts"]

    pump.silent = set()
    await watchdog.look()
    assert watchdog.problems()

    pump.hearing.watched = True
    await watchdog.look()
    assert watchdog.problems() == []


async def test_sweep_that_found_something_starts_its_pump_anew(watchdog: Watchdog, pump: Pump) -> None:
    """What events missed says that the watch of its kind is not to be trusted; other kinds' pumps go on."""
    watchdog.restart_for(kinds_of(["licenses app/my-app"]))
    assert pump.starts == 0

    watchdog.restart_for(kinds_of(["secrets app", "licenses app/my-app"]))
    assert pump.starts == 1
