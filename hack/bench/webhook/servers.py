"""The servers under test that are written in Python, each a process: `python -m bench.webhook.servers NAME FOLDER`.

All speak TLS with the same certificate, on uvloop. The first line on standard output is the port.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path

import uvloop

_OURS = "ours-"


def find(name: str) -> Callable[[Path], Awaitable[int]]:
    """Return what starts a server; nothing of the others is imported, for their memory's sake."""
    if name.startswith(_OURS):
        serve_ours = import_module("bench.webhook.ours").serve
        return lambda folder: serve_ours(folder, name.removeprefix(_OURS))
    serve: Callable[[Path], Awaitable[int]] = import_module(f"bench.webhook.{name}_server").serve
    return serve


async def _main(name: str, folder: Path) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(await find(name)(folder), flush=True)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], Path(sys.argv[2])))
