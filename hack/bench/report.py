"""The table of the section `webhook`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version

from bench.pages import RESULTS
from bench.review import review_body

_LIBRARIES = ("aiohttp", "uvloop", "msgspec")


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of one server at one number of connections: rate, p50, p99 (ms), the generator's share of its core."""

    server: str
    connections: int
    figures: dict[str, float]


def write_report(results: list[Result], rounds: int, seconds: float) -> str:
    """Write the figures to `webhook.json`, and return the text."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "webhook.json").write_text(json.dumps([asdict(each) for each in results], indent=2), encoding="utf-8")
    return "\n".join([*_head(rounds, seconds), "", *_table(results), ""])


def _head(rounds: int, seconds: float) -> list[str]:
    """Say what was measured, and how."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return [
        f"Medians of {rounds} rounds of {seconds:g} s after 1 s of warm-up; server pinned to core 0, load generator to",
        f"core 1, HTTP/1.1 keep-alive over TLS 1.3 on loopback, a review of {len(review_body())} bytes, three images",
        "to rewrite. `bare` is aiohttp's low-level server that decodes the JSON and gives a fixed answer. `generator`",
        "is the load generator's share of its core: well under 100 %, so the server was the limit.",
        "",
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}, {os.cpu_count()} cores.",
    ]


def _table(results: list[Result]) -> list[str]:
    """Lay the results out, each of ours beside its bare one."""
    bare = {each.connections: each.figures["rate"] for each in results if each.server == "bare"}
    lines = [
        "| server | connections | reviews/s | p50 ms | p99 ms | of bare | generator |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in sorted(results, key=lambda result: (result.connections, result.server)):
        figures = each.figures
        lines.append(
            f"| {each.server} | {each.connections} | {figures['rate']:,.0f} | {figures['p50']:.2f} | "
            f"{figures['p99']:.2f} | {figures['rate'] / bare[each.connections]:.0%} | {figures['generatorCpu']:.0%} |"
        )
    return lines
