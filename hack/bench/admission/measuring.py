"""Measuring Pod creations by turns: without anything, with the webhook, with a policy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from bench.admission.policy import policy_objects
from bench.admission.report import CONNECTIONS, SITUATIONS, Cost, Key, write_report
from bench.cluster import NAMESPACE, BenchCluster, bench_cluster
from bench.figures import median
from bench.load import Figures, Job, run_load
from bench.pace import Pace, read_pace
from bench.scale.sizes import read_sizes
from replicated_proxy.kube.client import Object
from rig.errors import RigError
from rig.progress import say
from rig.waiting import wait_until

_ROUNDS, _SECONDS = 4, 2.0
_PATIENCE_SECONDS = 120


def measure() -> str:
    """Measure and report; returns the text."""
    pace, fsync = read_pace(os.environ, _ROUNDS, _SECONDS), read_sizes(os.environ).fsync
    return write_report(pace, collect(pace, fsync=fsync), fsync=fsync)


def collect(pace: Pace, *, fsync: bool) -> Cost:
    """Measure everything.

    Raises:
        RigError: Pods were not rewritten where they should have been, or were where not.
    """
    with bench_cluster(fsync=fsync) as cluster:
        configuration = _portable(cluster.configuration())
        objects = {"nothing": [], "webhook": [configuration], "policy": policy_objects()}
        _delete(cluster, [configuration])
        rounds = [_measure_round(number, pace, cluster, objects) for number in range(1, pace.rounds + 1)]
    return Cost({key: median([each[key] for each in rounds]) for key in rounds[0]})


def _measure_round(
    number: int, pace: Pace, cluster: BenchCluster, objects: dict[str, list[Object]]
) -> dict[Key, Figures]:
    """Measure each situation once."""
    found: dict[Key, Figures] = {}
    for situation in SITUATIONS:
        with _in_force(cluster, objects[situation]):
            for connections in CONNECTIONS:
                job = Job(cluster.pods(), connections, pace.warm_up, pace.seconds, (), None)
                figures = found[Key(situation, connections)] = run_load(job)
                _check(situation, figures)
                _empty(cluster)
                say(
                    f"round {number}/{pace.rounds}  {situation:8} {connections} connections  p50 {figures.p50:.2f} ms  "
                    f"{figures.rate:.0f} Pods/s"
                )
    return found


def _check(situation: str, figures: Figures) -> None:
    """Refuse figures of something else than they are called after."""
    expected = "unrewritten" if situation == "nothing" else "rewritten"
    if set(figures.outcomes) != {expected}:
        raise RigError(f"with {situation} in force, Pods were {figures.outcomes} instead of {expected}")


@contextmanager
def _in_force(cluster: BenchCluster, objects: list[Object]) -> Iterator[None]:
    """Have objects in the cluster for a while, and let them take effect."""
    if objects:
        cluster.plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
    cluster.await_rewriting(wanted=bool(objects))
    try:
        yield
    finally:
        _delete(cluster, objects)


def _delete(cluster: BenchCluster, objects: list[Object]) -> None:
    """Delete objects, and wait until they have no effect."""
    if objects:
        cluster.plane.kubectl("delete", "-f", "-", input=yaml.safe_dump_all(objects))
    cluster.await_rewriting(wanted=False)


def _portable(configuration: Object) -> Object:
    """Return an object as it can be created anew."""
    kept = {key: configuration["metadata"][key] for key in ("name", "labels")}
    return {**configuration, "metadata": kept}


def _empty(cluster: BenchCluster) -> None:
    """Delete the Pods, all at once: nothing ever ran them."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    plane = cluster.plane
    plane.kubectl("delete", "--raw", f"{path}?gracePeriodSeconds=0")
    wait_until(
        lambda: not plane.kubectl("get", "pods", "-n", NAMESPACE, "--chunk-size=1", "-o", "name", "--ignore-not-found"),
        what="no Pod to be left",
        seconds=_PATIENCE_SECONDS,
    )
