"""Measuring the servers by turns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.certificate import write_secret
from bench.figures import median
from bench.load import Figures, Job, run_load
from bench.observing import require_two_cores
from bench.pace import Pace, read_pace
from bench.webhook.agreement import check_agreement
from bench.webhook.report import CONNECTIONS, DISTINCT, Key, Throughput, write_report
from bench.webhook.rules import write_rules
from bench.webhook.serving import NAMES, OURS, Server, serving, target_of
from rig.progress import say

_ROUNDS, _SECONDS = 3, 1.5
_MANY = 64


def measure() -> str:
    """Measure and report; returns the text."""
    pace = read_pace(os.environ, _ROUNDS, _SECONDS)
    return write_report(pace, collect(pace))


def collect(pace: Pace) -> Throughput:
    """Measure everything.

    Raises:
        RigError: the servers do not do the same, or one of them fails.
    """
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="bench-webhook-") as name:
        folder = Path(name)
        write_secret(folder)
        write_rules(folder)
        with serving(tuple(NAMES), folder) as servers:
            check_agreement(servers.values())
            say("every server does the same to the Pods of this run")
            rounds = [_measure_round(number, pace, servers) for number in range(1, pace.rounds + 1)]
        cores = _measure_cores(pace, folder)
    return Throughput({key: median([each[key] for each in rounds]) for key in rounds[0]}, cores)


def _measure_round(number: int, pace: Pace, servers: Mapping[str, Server]) -> dict[Key, Figures]:
    """Measure all servers once, close to each other in time, so that a busy machine is busy for all of them."""
    found: dict[Key, Figures] = {}
    for connections in CONNECTIONS:
        for server in servers.values():
            for pods in ("replicas", "distinct") if server.name in DISTINCT else ("replicas",):
                key = Key(server.name, connections, pods)
                found[key] = run_load(Job(server.target(pods), connections, pace.warm_up, pace.seconds, (server.pid,)))
                say(
                    f"round {number}/{pace.rounds}  {server.name:22} {pods:8} {connections:3} connections "
                    f"{found[key].rate:8.0f} reviews/s"
                )
    return found


def _measure_cores(pace: Pace, folder: Path) -> tuple[Figures, Figures]:
    """Measure one process of ours, and then two on a core each, of which the load generator takes its part."""
    found = []
    with serving((OURS,), folder, 0) as first, serving((OURS,), folder, 1) as second:
        for servers in ((first[OURS],), (first[OURS], second[OURS])):
            pids = tuple(server.pid for server in servers)
            core = 1 if len(servers) == 1 else None
            job = Job(target_of(servers), _MANY, pace.warm_up, pace.seconds, pids, core)
            found.append(median([run_load(job) for _ in range(pace.rounds)]))
    return found[0], found[1]
