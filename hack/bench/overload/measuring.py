"""Measuring a storm on the webhook itself, and one of Pods on an API server that asks it."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.asking import Target
from bench.certificate import write_secret
from bench.cluster import bench_cluster
from bench.crowding import crowded
from bench.load import Job, run_load
from bench.observing import pin, require_two_cores
from bench.overload.metrics import read_counts
from bench.overload.report import TIMES, Direct, Overload, Through, write_report
from bench.pace import Pace, read_pace
from bench.storm import StormJob, run_storm
from bench.webhook.rules import write_rules
from bench.webhook.serving import OURS, serving
from rig.progress import say

_ROUNDS, _SECONDS = 2, 10.0
_CONNECTIONS = 2000
_TIMEOUT_SECONDS = 5
_WAITING = 8
_QUARTER = 5
"""Niceness with which a process gets a quarter of a core beside another one."""
_TENTH = 10
"""Niceness with which it gets a tenth."""
_OVER = max(TIMES)
_HEAD_START = 3.0
_PODS_RATE = 30.0
_PATIENCE_SECONDS = 30


def measure() -> str:
    """Measure and report; returns the text."""
    pace = read_pace(os.environ, _ROUNDS, _SECONDS)
    return write_report(pace, collect(pace))


def collect(pace: Pace) -> Overload:
    """Measure everything."""
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="bench-overload-") as name:
        direct = tuple(_measure_direct(pace, Path(name), times) for times in TIMES for _ in range(pace.rounds))
    return Overload(direct, _measure_through(pace))


def _measure_direct(pace: Pace, folder: Path, times: float) -> Direct:
    """Let a storm go over the webhook."""
    write_secret(folder)
    write_rules(folder)
    with serving((OURS,), folder) as servers:
        server = servers[OURS]
        with crowded(server.pid, _QUARTER):
            capacity = _capacity(server.target(), pace, server.pid)
            job = StormJob(server.target(), capacity * times, pace.seconds, _CONNECTIONS, _TIMEOUT_SECONDS)
            found = run_storm(job)
    answered, shed = found.share("answered"), found.share("shed")
    say(f"{times:g} times {capacity:.0f} reviews/s: {answered:.0%} answered, {shed:.0%} shed")
    return Direct(times, capacity, found)


def _measure_through(pace: Pace) -> Through:
    """Let a storm go over the webhook of an API server on which Pods are created meanwhile."""
    with bench_cluster(fsync=False) as cluster:
        # The API server and etcd have one core, with the storm; the webhook is on the other with its neighbour.
        plane, webhook = cluster.plane, cluster.webhook.pid
        for process in (plane.api_server, plane.etcd, plane.controller_manager):
            pin(process.pid, {1})
        pin(webhook, {0})
        alone = run_load(Job(cluster.pods(dry_run=True), _WAITING, pace.warm_up, min(pace.seconds, 3.0), (webhook,)))
        with crowded(webhook, _TENTH), ThreadPoolExecutor() as threads:
            capacity = _capacity(cluster.reviews(), pace, webhook)
            before = read_counts(cluster.metrics())
            flood = StormJob(
                cluster.reviews(), capacity * _OVER, pace.seconds + _HEAD_START, _CONNECTIONS, _TIMEOUT_SECONDS
            )
            pods = StormJob(cluster.pods(dry_run=True), _PODS_RATE, pace.seconds, _CONNECTIONS, _PATIENCE_SECONDS)
            flooding = threads.submit(run_storm, flood)
            found = threads.submit(run_storm, pods).result()
            after = read_counts(cluster.metrics())
            flooded = flooding.result()
    counts = {name: after[name] - before.get(name, 0.0) for name in after if after[name] != before.get(name, 0.0)}
    return Through(alone, capacity, flooded, found, counts)


def _capacity(target: Target, pace: Pace, pid: int) -> float:
    """Return how many reviews in a second are answered when each connection waits for its answer."""
    return run_load(Job(target, _WAITING, pace.warm_up, min(pace.seconds, 3.0), (pid,))).rate
