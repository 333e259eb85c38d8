"""Running the servers under test, each on one core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.asking import Target
from bench.certificate import SERVER_NAME, bundle
from bench.observing import pin
from bench.review import NAMESPACE
from rig.binaries import BENCH, provide
from rig.errors import RigError
from rig.processes import dying_with_parent

_STOP_SECONDS = 10
_GO = {
    "go-controller-runtime": ("webhook-controller-runtime",),
    "go-lean": ("webhook-lean", "-json", "encoding/json"),
    "go-lean-fast": ("webhook-lean", "-json", "go-json"),
}
OURS = "ours-private"
NAMES = {
    "bare": "aiohttp, decides nothing",
    "plain": "aiohttp + json",
    "kopf": "kopf",
    "go-controller-runtime": "Go, controller-runtime",
    "go-lean": "Go, lean, encoding/json",
    "go-lean-fast": "Go, lean, go-json",
    "ours-private": "**ours, private**",
    "ours-all": "ours, all",
    "ours-listed": "ours, listed",
    "ours-off": "ours, off",
}
"""Every server in the order of the tables, and what it is called there."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    folder: Path

    def target(self, pods: str = "replicas") -> Target:
        """Return how to ask it."""
        return target_of((self,), pods)


def target_of(servers: tuple[Server, ...], pods: str = "replicas") -> Target:
    """Return how to ask several, by turns."""
    ports = tuple(server.port for server in servers)
    return Target(ports, SERVER_NAME, str(bundle(servers[0].folder)), NAMESPACE, pods)


@contextmanager
def serving(names: tuple[str, ...], folder: Path, core: int = 0) -> Iterator[dict[str, Server]]:
    """Run servers on one core; those that nobody asks do nothing there."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_serving(name, folder, core)) for name in names}


@contextmanager
def _serving(name: str, folder: Path, core: int) -> Iterator[Server]:
    """Run one."""
    # One processor for Go's scheduler too: threads that wait for each other's core would only slow it down.
    environment = {**os.environ, "GOMAXPROCS": "1"}
    command = dying_with_parent(_command(name, folder))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for.
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise RigError(f"the server {name} did not start: {line!r}; what it said is above")
            pin(process.pid, {core})
            yield Server(name, int(line), process.pid, folder)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(name: str, folder: Path) -> list[str]:
    """Return how to start one."""
    if name not in _GO:
        return [sys.executable, "-m", "bench.webhook.servers", name, str(folder)]
    program, *options = _GO[name]
    return [str(provide(BENCH)[program]), *options, "-folder", str(folder)]
