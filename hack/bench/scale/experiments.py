"""The experiments, in the order in which they are made; each leaves the cluster as the next one needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from bench.scale.comparing import bare_writer
from bench.scale.figures import Filling, Latencies, Memory, Quiet, Requests, Restart
from bench.scale.laboratory import HOME, Laboratory
from bench.scale.parallel import in_parallel
from bench.scale.process import resident_megabytes
from replicated_proxy.kube.client import Object
from replicated_proxy.kube.resources import SECRETS
from rig.progress import step

_QUIET_SECONDS = 60.0
_SPACING_SECONDS = 0.5
_SETTLE_SECONDS = 3.0
_FOREIGN_BYTES = 10_000
Result = TypeVar("Result")


async def within(seconds: float, what: str, work: Awaitable[Result]) -> Result:
    """Do something that must not take longer.

    Raises:
        TimeoutError: it did; says what.
    """
    with step(what):
        try:
            return await asyncio.wait_for(work, seconds)
        except TimeoutError:
            raise TimeoutError(f"{what}: not done after {seconds:.0f} s") from None


async def measure_memory(lab: Laboratory) -> tuple[Memory, ...]:
    """Create the namespaces in steps with the controller running, and read its memory at each."""
    await lab.start_controller()
    await lab.apply_license()
    found = []
    for number in lab.sizes.steps:
        await lab.create_namespaces(number - len(lab.names))
        await lab.await_copies()
        found.append(await read_memory(lab, f"{number:,} namespaces"))
    return tuple(found)


async def read_memory(lab: Laboratory, situation: str) -> Memory:
    """Read the controller's memory once it has come to rest."""
    await lab.rest()
    return Memory(situation, await resident_megabytes(lab.controller))


async def measure_restart(lab: Laboratory) -> Restart:
    """Restart the controller with every copy in its place."""
    await lab.stop_controller()
    made, window = await lab.make_controller(), lab.window()
    started = time.monotonic()
    await lab.start_controller(made)
    ready = time.monotonic() - started
    return Restart(ready, await lab.rest() - started, window.requests())


async def measure_quiet(lab: Laboratory) -> Quiet:
    """Count what the controller asks for while nothing happens."""
    await lab.rest()
    window = lab.window()
    await asyncio.sleep(_QUIET_SECONDS)
    return Quiet(_QUIET_SECONDS, window.requests())


async def measure_filling(lab: Laboratory) -> Filling:
    """Fill every namespace from empty, by turns; afterwards the controller runs and every copy is there."""
    secret = await lab.a_copy()
    ours: list[tuple[float, ...]] = []
    bare: list[tuple[float, ...]] = []
    requests: Requests = {}
    for _ in range(lab.sizes.rounds):
        bare.append(await _fill_bare(lab, secret))
        run, requests = await _fill_ours(lab)
        ours.append(run)
    return Filling(tuple(ours), tuple(bare), requests)


async def _fill_ours(lab: Laboratory) -> tuple[tuple[float, ...], Requests]:
    """Let a controller that is ready find License and Application."""
    await lab.empty()
    await lab.start_controller()
    await lab.rest()
    window = lab.window()
    started = time.monotonic()
    await lab.apply_license()
    await lab.await_copies()
    run = _since(started, lab, [*lab.names, HOME])
    await lab.rest()
    return run, window.requests()


async def _fill_bare(lab: Laboratory, secret: Object) -> tuple[float, ...]:
    """Write the same bytes into the same namespaces."""
    await lab.empty()
    await lab.make_controller()  # For a fresh token.
    await asyncio.sleep(_SETTLE_SECONDS)  # The controller rests as long before its turn.
    names = [*lab.names, HOME]
    async with bare_writer(lab, "fill", secret, names) as started:
        await lab.await_copies(names)
    return _since(started, lab, names)


async def measure_idle(lab: Laboratory) -> tuple[float, ...]:
    """Create namespaces one at a time, and return how long each waited for its copy."""
    waited = []
    for name in lab.new_names(lab.sizes.singles):
        started = time.monotonic()
        await lab.create_namespace(name)
        await lab.await_copies([name])
        waited.append(lab.copies.seen[name] - started)
        await asyncio.sleep(_SPACING_SECONDS)
    return tuple(sorted(waited))


async def measure_storm(lab: Laboratory) -> tuple[float, ...]:
    """Create many namespaces at once, and return how long each waited for its copy."""
    names, started = lab.new_names(lab.sizes.storm), {}

    async def create(name: str) -> None:
        """Create one, and note when."""
        started[name] = time.monotonic()
        await lab.create_namespace(name)

    await in_parallel(names, create)
    await lab.await_copies(names)
    waited = sorted(lab.copies.seen[name] - started[name] for name in names)
    await lab.settle()
    return tuple(waited)


async def measure_latencies(lab: Laboratory) -> tuple[Latencies, Latencies]:
    """Measure one at a time and at once, ours and bare; afterwards the controller runs."""
    secret = await lab.a_copy()
    await lab.rest()
    idle, storm = await measure_idle(lab), await measure_storm(lab)
    await lab.stop_controller()
    await lab.make_controller()  # For a fresh token.
    async with bare_writer(lab, "follow", secret):
        bare_idle, bare_storm = await measure_idle(lab), await measure_storm(lab)
    await lab.start_controller()
    return Latencies(idle, bare_idle), Latencies(storm, bare_storm)


async def measure_foreign(lab: Laboratory) -> tuple[Memory, Memory, Memory]:
    """Read the memory before others' Secrets, with them, and after a restart with them."""
    before = await read_memory(lab, "before them")
    names = [lab.names[position % len(lab.names)] for position in range(lab.sizes.foreign)]
    await in_parallel(enumerate(names), lambda item: _create_foreign(lab, *item))
    with_them = await read_memory(lab, "with them")
    await lab.stop_controller()
    await lab.start_controller()
    return before, with_them, await read_memory(lab, "restarted with them")


async def _create_foreign(lab: Laboratory, position: int, namespace: str) -> None:
    """Create a Secret that is none of ours."""
    metadata = {"name": f"foreign-{position:05}", "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": "x" * _FOREIGN_BYTES}}
    await lab.client.create(SECRETS, secret, namespace)


def _since(started: float, lab: Laboratory, names: Iterable[str]) -> tuple[float, ...]:
    """Return when the copies were seen."""
    return tuple(sorted(lab.copies.seen[name] - started for name in names))
