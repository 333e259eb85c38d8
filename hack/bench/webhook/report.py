"""The tables of the section `webhook`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import NamedTuple

from bench.asking import DISTINCT_PODS, SHED
from bench.bars import Bar, bar_table
from bench.load import Figures
from bench.pace import Pace
from bench.pages import RESULTS
from bench.review import review_body
from bench.webhook.plots import PLOT_NAMES, draw
from bench.webhook.serving import NAMES, OURS

CONNECTIONS = (1, 8, 64)
DISTINCT = frozenset({OURS, "go-lean", "go-lean-fast"})
"""Servers that are asked about distinct Pods as well."""
_LIBRARIES = ("aiohttp", "uvloop", "msgspec", "kopf")
_LEAN = "go-lean"
_FAST = "go-lean-fast"


class Key(NamedTuple):
    """One measurement: which server, how many connections, which Pods."""

    server: str
    connections: int
    pods: str = "replicas"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Medians of all measurements, and of one and of two processes of ours."""

    found: Mapping[Key, Figures]
    cores: tuple[Figures, Figures]

    def rate_ratio(self, other: str, connections: int, pods: str = "replicas") -> float:
        """Return our rate over another's."""
        return self.found[Key(OURS, connections, pods)].rate / self.found[Key(other, connections, pods)].rate


def write_report(pace: Pace, throughput: Throughput) -> str:
    """Write figures and plots, and return the text."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures = [{**key._asdict(), **asdict(value)} for key, value in throughput.found.items()]
    kept = {"pace": asdict(pace), "figures": figures, "cores": [asdict(item) for item in throughput.cores]}
    (RESULTS / "webhook.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")
    draw({(key.server, key.connections): value.rate for key, value in throughput.found.items() if _is_main(key)})
    return render(pace, throughput)


def render(pace: Pace, throughput: Throughput) -> str:
    """Write the text of the section."""
    parts = [
        _head(pace),
        bar_table(bars(throughput)),
        *(f"![{title}](benchmarks/{name}.svg)" for name, title in PLOT_NAMES.items()),
        *(_table(throughput, connections) for connections in CONNECTIONS),
        _distinct(throughput),
        _cores(throughput),
    ]
    return "\n\n".join(parts) + "\n"


def bars(throughput: Throughput) -> list[Bar]:
    """Hold the figures against what is asked for."""
    found = [
        Bar(
            f"rate to that of {NAMES[other]}, {connections} connections",
            throughput.rate_ratio(other, connections),
            limit,
            "x",
            _rates(throughput, other, connections),
            at_least=True,
        )
        for other, limit in (("kopf", 20), ("go-controller-runtime", 6), (_LEAN, 1), (_FAST, 1))
        for connections in (8, 64)
    ]
    for other in (_LEAN, _FAST):
        found.append(_latency_bar(throughput, other, "p50", 1, 1.25))
        found.append(_latency_bar(throughput, other, "p99", 8, 1.0))
    return found


def _latency_bar(throughput: Throughput, other: str, name: str, connections: int, limit: float) -> Bar:
    """Hold one of our latencies against another's."""
    ours, theirs = (getattr(throughput.found[Key(server, connections)], name) for server in (OURS, other))
    what = f"{name} to that of {NAMES[other]}, {_connections(connections)}"
    return Bar(what, ours / theirs, limit, "x", f"{ours:.2f} ms to {theirs:.2f} ms")


def _connections(number: int) -> str:
    """Write how many connections there are."""
    return f"{number} connection{'s' if number > 1 else ''}"


def _rates(throughput: Throughput, other: str, connections: int) -> str:
    """Write our rate and another's."""
    ours, theirs = (throughput.found[Key(server, connections)].rate for server in (OURS, other))
    return f"{ours:,.0f}/s to {theirs:,.0f}/s"


def _is_main(key: Key) -> bool:
    """Tell whether a measurement belongs to the tables of all servers."""
    return key.pods == "replicas"


def _head(pace: Pace) -> str:
    """Say what was measured, and how."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"Medians of {pace.rounds} rounds of {pace.seconds:g} s; each server pinned to core 0 (Go with "
        "`GOMAXPROCS=1`), so its rate is that of one core; load generator pinned to core 1. HTTP/1.1 keep-alive over "
        f"TLS 1.3 on loopback, reviews of {len(review_body())} bytes with three images to rewrite, from Pods of one "
        "ReplicaSet: another UID and another token volume in each, as in a cluster. Before measuring, each server's "
        "answers were applied to the Pods and compared: all but the first and ours in mode `off` make the same Pod. "
        "Ours is the whole webhook role, one process, with the verdict of every image in its cache. Bars are held by "
        f"mode `private`.\n\n{platform.python_implementation()} {platform.python_version()}, {libraries}; modules of "
        f"the comparisons in Go: `hack/modules/webhook-*`; {os.cpu_count()} cores."
    )


def _table(throughput: Throughput, connections: int) -> str:
    """Lay out all servers at one number of connections."""
    ours = throughput.found[Key(OURS, connections)].rate
    columns = [_connections(connections), "reviews/s", "ours to it", "p50 ms", "p99 ms", "CPU ms a review"]
    columns += ["resident MB", "generator's core"]
    lines = [f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for name, title in NAMES.items():
        item = throughput.found[Key(name, connections)]
        shed = f" ({item.outcomes[SHED]:,} shed)" if SHED in item.outcomes else ""
        lines.append(f"| {title}{shed} | {item.rate:,.0f} | {ours / item.rate:.2f}x | {_figures(item)} |")
    return "\n".join(lines)


def _figures(item: Figures) -> str:
    """Write what stands behind the rate."""
    return f"{item.p50:.2f} | {item.p99:.2f} | {item.cpu / 1000:.3f} | {item.resident:.0f} | {item.generator:.0%}"


def _distinct(throughput: Throughput) -> str:
    """Lay out what becomes of rates where no Pod is like one that was seen lately."""
    lines = [
        f"{DISTINCT_PODS:,} distinct Pods by turns (names, labels, images) instead of one ReplicaSet's:",
        "",
        "| server | connections | reviews/s | of one ReplicaSet's | p50 ms | p99 ms | CPU ms a review |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in (item for item in NAMES if item in DISTINCT):
        for connections in CONNECTIONS:
            item, alike = (throughput.found[Key(name, connections, pods)] for pods in ("distinct", "replicas"))
            lines.append(
                f"| {NAMES[name]} | {connections} | {item.rate:,.0f} | {item.rate / alike.rate:.0%} | {item.p50:.2f} "
                f"| {item.p99:.2f} | {item.cpu / 1000:.3f} |"
            )
    return "\n".join(lines)


def _cores(throughput: Throughput) -> str:
    """Say how throughput grows with cores, and what of that two cores can show."""
    one, two = throughput.cores
    lines = [
        "More cores, by more processes (replicas; a process uses one core). The second process shares its core with",
        "the load generator, so that the rate of two is bounded by what the generator leaves; whether they are in each",
        "other's way shows in the processor time that a review takes. They share nothing, so that with a core for each",
        "the rate grows by that of one for each:",
        "",
        "| processes, 64 connections | reviews/s | CPU ms a review | a core could serve | generator's core |",
        "|---:|---:|---:|---:|---:|",
    ]
    for number, item in ((1, one), (2, two)):
        share = f"{1_000_000 / item.cpu:,.0f}/s" if item.cpu else "-"
        lines.append(f"| {number} | {item.rate:,.0f} | {item.cpu / 1000:.3f} | {share} | {item.generator:.0%} |")
    return "\n".join(lines)
