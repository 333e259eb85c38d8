"""The pump starts kopf again, however that ended or did not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import kopf
import pytest

from replicated_proxy.controller import pump as pump_module
from replicated_proxy.controller.pump import EventPump
from replicated_proxy.controller.pumping import Pumped, WatchedKind
from replicated_proxy.kube import hearing
from replicated_proxy.kube.client import Connection
from replicated_proxy.kube.resources import SECRETS
from rig.waiting import wait_until

Run = Callable[[kopf.OperatorRegistry, threading.Event], Awaitable[None]]
CONNECTION = Connection("http://127.0.0.1:1", None, None, None, "token")


class Runs:
    """Stands in for kopf: does in each run what the test says, and the last thing for ever."""

    def __init__(self) -> None:
        self.plans: list[Run] = []
        self.stops: list[threading.Event] = []
        self.over = threading.Event()

    async def operate(self, *, registry: kopf.OperatorRegistry, stop_flag: threading.Event, **_: Any) -> None:
        """Run once."""
        number = len(self.stops)
        self.stops.append(stop_flag)
        await self.plans[min(number, len(self.plans) - 1)](registry, stop_flag)

    async def until(self, number: int) -> None:
        """Wait for so many runs."""
        await asyncio.to_thread(wait_until, lambda: len(self.stops) >= number, what=f"{number} runs", seconds=30)

    async def ignore(self, _registry: kopf.OperatorRegistry, _stop: threading.Event) -> None:
        """Run on until the test is over, whatever is said."""
        await asyncio.to_thread(self.over.wait)

    async def give_up(self, registry: kopf.OperatorRegistry, _stop: threading.Event) -> None:
        """Close the session, as kopf does at its end, and never come to that end."""
        (handler,) = registry._activities.get_all_handlers()
        login: Any = handler.fn
        access = await login()
        await access.aiohttp_session.close()
        await asyncio.to_thread(self.over.wait)


async def fail(_registry: kopf.OperatorRegistry, _stop: threading.Event) -> None:
    """End as kopf does on a watch error."""
    raise RuntimeError("a watch error")


async def obey(_registry: kopf.OperatorRegistry, stop: threading.Event) -> None:
    """Run until told to stop."""
    await asyncio.to_thread(stop.wait)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return kopf's stand-in; nothing is waited for long."""
    made = Runs()
    monkeypatch.setattr(kopf, "operator", made.operate)
    monkeypatch.setattr(hearing, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(pump_module, "_ENDING_SECONDS", 0.0)
    monkeypatch.setattr(pump_module, "retry_pause", pause)
    return made


async def pause(_attempt: int) -> None:
    """Wait for nothing."""


async def connect() -> Connection:
    """Give a connection."""
    return CONNECTION


@pytest.fixture
async def pump(runs: Runs) -> AsyncIterator[EventPump]:
    """Return a pump that runs once the test has said what kopf does."""
    made = EventPump(Pumped("core", (WatchedKind(SECRETS),)), connect, lambda *_: None, lambda _: None)
    yield made
    for stop in (*runs.stops, runs.over):
        stop.set()


@pytest.mark.parametrize(
    ("failures", "problems"), [(2, []), (3, ["kopf does not run for core"])], ids=["accidents", "again-and-again"]
)
async def test_failure_is_followed_by_a_new_start(
    runs: Runs, pump: EventPump, failures: int, problems: list[str]
) -> None:
    """Kopf that ends by itself is started again; again and again is a problem, until a run lasts."""
    runs.plans = [fail] * failures + [obey]
    running = asyncio.ensure_future(pump.run())
    await runs.until(failures + 1)

    assert pump.problems() == problems
    pump.began -= 30
    assert pump.problems() == []
    running.cancel()


@pytest.mark.parametrize("deaf", [False, True], ids=["listens", "is-deaf"])
async def test_restart_waits_for_nobody(runs: Runs, pump: EventPump, deaf: bool) -> None:
    """A pump that is told to start anew does, also when kopf does not end; that is no failure of its."""
    runs.plans = [runs.ignore if deaf else obey, obey]
    running = asyncio.ensure_future(pump.run())
    await runs.until(1)
    pump.restart()
    await runs.until(2)

    assert runs.stops[0].is_set()
    assert not runs.stops[1].is_set()
    assert pump.failures == 0
    running.cancel()


async def test_run_that_gave_up_its_session_has_ended(runs: Runs, pump: EventPump) -> None:
    """Kopf that ends and never comes to its end is left behind, with its stop flag set so that the process can exit."""
    runs.plans = [runs.give_up, obey]
    running = asyncio.ensure_future(pump.run())
    await runs.until(2)

    assert runs.stops[0].is_set()
    assert not runs.stops[1].is_set()
    assert pump.failures == 1
    running.cancel()


async def test_end_of_the_pump_ends_kopf(runs: Runs, pump: EventPump) -> None:
    """Whoever cancels the pump leaves no kopf running."""
    runs.plans = [obey]
    running = asyncio.ensure_future(pump.run())
    await runs.until(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert runs.stops[0].is_set()
