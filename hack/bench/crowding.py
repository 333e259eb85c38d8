"""A core that is mostly taken: how a server is made slow enough for one load generator to exceed it several times."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.observing import pin
from rig.processes import dying_with_parent


@contextmanager
def crowded(pid: int, nice: int, core: int = 0) -> Iterator[None]:
    """Let a process that only counts share a server's core; the nicer the server, the less it gets of it.

    The scheduler divides time finely, unlike a CPU limit, which would stop the server for most of each tenth of a
    second.
    """
    pin(pid, {core})
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
    command = dying_with_parent([sys.executable, "-c", "while True: pass"])
    with subprocess.Popen(command) as neighbour:
        try:
            pin(neighbour.pid, {core})
            yield
        finally:
            neighbour.kill()
