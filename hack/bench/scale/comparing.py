"""Running the comparison, `bench.scale.bare`, beside the controller's cluster."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.scale.laboratory import SETTINGS, Laboratory
from replicated_proxy.kube.client import Object
from rig.errors import RigError
from rig.processes import Process, tail_of
from rig.waiting import wait_until

_START_SECONDS = 60


@asynccontextmanager
async def bare_writer(lab: Laboratory, mode: str, secret: Object, names: Sequence[str] = ()) -> AsyncIterator[float]:
    """Run the comparison; yields `time.monotonic()` at its start."""
    folder = lab.site.folder
    (folder / "secret.json").write_text(json.dumps(secret), encoding="utf-8")
    (folder / "names.json").write_text(json.dumps(list(names)), encoding="utf-8")
    log = folder / "bare.log"
    log.unlink(missing_ok=True)
    concurrency = str(SETTINGS.controller.concurrency)
    command = [sys.executable, "-m", "bench.scale.bare", mode, str(lab.identity), str(folder), concurrency]
    process = Process(f"bare {mode}", command, log=log)
    process.start()
    try:
        yield await asyncio.to_thread(wait_until, lambda: _started(process), what="its start", seconds=_START_SECONDS)
    except RigError as error:
        raise RigError(f"{error}\n--- end of the log of {process.name}:\n{tail_of(log)}") from None
    finally:
        await asyncio.to_thread(process.stop)


def _started(process: Process) -> float | None:
    """Return when the process says that it began, None while it says nothing.

    Raises:
        RigError: it ended, or said something else.
    """
    running = process.running
    first, end, _ = process.log.read_text(encoding="utf-8").partition("\n")
    if end and first.replace(".", "", 1).isdigit():
        return float(first)
    if end or not running:
        raise RigError(f"{process.name} did not start")
    return None
