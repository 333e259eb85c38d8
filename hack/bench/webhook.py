"""The section `webhook`: our webhook and a bare handler in one run, side by side."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.certificate import write_secret
from bench.report import Result, write_report

ROUNDS = 3
SECONDS = 3.0
CONNECTIONS = (1, 8, 64)
SERVERS = ("bare", "ours")
_NEEDED_CORES = 2


def measure() -> str:
    """Measure and report; returns the text."""
    if (os.cpu_count() or 1) < _NEEDED_CORES:
        raise SystemExit("the benchmark needs two cores: one for the server, one for the load generator")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_secret(folder)
        rounds = [_measure_round(number, folder) for number in range(1, ROUNDS + 1)]
    results = [
        Result(server, connections, _median([each[server, connections] for each in rounds]))
        for server in SERVERS
        for connections in CONNECTIONS
    ]
    return write_report(results, ROUNDS, SECONDS)


def _measure_round(number: int, folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    """Measure both servers once, close to each other in time, so that a busy machine is busy for both."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for connections in CONNECTIONS:
        for server in SERVERS:
            with _serving(server, folder) as port:
                found[server, connections] = _load(port, connections, folder)
            rate = found[server, connections]["rate"]
            print(f"round {number}/{ROUNDS}  {server:5} {connections:3} connections  {rate:8.0f} reviews/s", flush=True)
    return found


@contextmanager
def _serving(server: str, folder: Path) -> Iterator[int]:
    """Run a server in a process of its own."""
    command = [sys.executable, "-m", "bench.servers", server, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for.
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _load(port: int, connections: int, folder: Path) -> dict[str, float]:
    """Run the load generator in a process of its own."""
    command = [sys.executable, "-m", "bench.load", str(port), str(connections), str(SECONDS), str(folder)]
    figures: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
