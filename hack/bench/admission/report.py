"""The tables of the section `admission`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from bench.bars import Bar, bar_table
from bench.load import Figures
from bench.pace import Pace
from bench.pages import RESULTS

SITUATIONS = {
    "nothing": "neither",
    "webhook": "the webhook",
    "policy": "a MutatingAdmissionPolicy",
}
"""What is in force while Pods are created, and what it is called in the table."""
CONNECTIONS = (1, 8)
_LARGEST_RATIO = 1.25


class Key(NamedTuple):
    """One measurement."""

    situation: str
    connections: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of all measurements."""

    found: Mapping[Key, Figures]

    def ratio(self, situation: str, connections: int, name: str) -> float:
        """Return a latency as a multiple of what it is without anything in force."""
        with_it, without = (getattr(self.found[Key(word, connections)], name) for word in (situation, "nothing"))
        return float(with_it / without)


def write_report(pace: Pace, cost: Cost, *, fsync: bool) -> str:
    """Write the figures, and return the text."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures = [{**key._asdict(), **asdict(value)} for key, value in cost.found.items()]
    (RESULTS / "admission.json").write_text(
        json.dumps({"pace": asdict(pace), "fsync": fsync, "figures": figures}, indent=2), encoding="utf-8"
    )
    return render(pace, cost, fsync=fsync)


def render(pace: Pace, cost: Cost, *, fsync: bool) -> str:
    """Write the text of the section."""
    return "\n\n".join([_head(pace, fsync=fsync), bar_table(bars(cost)), _table(cost)]) + "\n"


def bars(cost: Cost) -> list[Bar]:
    """Hold the figures against what is asked for."""
    return [_bar(cost, connections) for connections in CONNECTIONS]


def _bar(cost: Cost, connections: int) -> Bar:
    """Hold p50 at one number of connections against its bar."""
    ours, bare = (cost.found[Key(word, connections)].p50 for word in ("webhook", "nothing"))
    what = f"p50 of a Pod's creation to that without the webhook, {connections} at a time"
    return Bar(what, cost.ratio("webhook", connections, "p50"), _LARGEST_RATIO, "x", f"{ours:.2f} ms to {bare:.2f} ms")


def _head(pace: Pace, *, fsync: bool) -> str:
    """Say what was measured, and how."""
    disk = "etcd waits for the disk" if fsync else "etcd does not wait for the disk (`--unsafe-no-fsync`)"
    return (
        f"Medians of {pace.rounds} rounds of {pace.seconds:g} s for each line, by turns; Pods with three images, "
        f"really created ({disk}), with no node to run them, and deleted after each measurement. The webhook is the "
        "real role, one replica, mode `private`, both registries in `detection.assume`. The policy rewrites the same "
        "images and adds the pull secret; it writes no annotation, knows no visibility and parses no image names. "
        f"Control plane, webhook and bench share {os.cpu_count()} cores."
    )


def _table(cost: Cost) -> str:
    """Lay everything out."""
    lines = [
        "| in force | connections | p50 ms | of neither | p99 ms | of neither | Pods/s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for connections in CONNECTIONS:
        for situation, title in SITUATIONS.items():
            item = cost.found[Key(situation, connections)]
            ratios = [f"{cost.ratio(situation, connections, name):.2f}x" for name in ("p50", "p99")]
            lines.append(
                f"| {title} | {connections} | {item.p50:.2f} | {ratios[0]} | {item.p99:.2f} | {ratios[1]} "
                f"| {item.rate:,.0f} |"
            )
    return "\n".join(lines)
