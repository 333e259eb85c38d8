"""The tables of the section `scale`."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict

from bench.bars import Bar, bar_table
from bench.pages import RESULTS
from bench.scale.figures import Latencies, Memory, Scale, percentile, reads, writes
from bench.scale.plots import PLOT_NAMES, draw
from bench.scale.sizes import Sizes

_LARGEST_RATIO = 1.3
_LONGEST_IDLE = 0.25
_LONGEST_STORM = 1.0
_MOST_MEMORY = 160.0
_FLAT = 5.0
_LONGEST_START = 10.0


def write_report(sizes: Sizes, found: Scale) -> str:
    """Write figures and plots, and return the text."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps(as_json(sizes, found), indent=2), encoding="utf-8")
    draw(sizes, found)
    return render(sizes, found)


def as_json(sizes: Sizes, found: Scale) -> dict[str, object]:
    """Return all figures as JSON has them."""
    return {"sizes": asdict(sizes), "figures": asdict(found)}


def render(sizes: Sizes, found: Scale) -> str:
    """Write the text of the section."""
    parts = [
        _head(sizes),
        bar_table(bars(found)),
        *(f"![{title}](benchmarks/{name}.svg)" for name, title in PLOT_NAMES.items()),
        _rounds(found),
        _latencies(found),
        _memory(sizes, found),
        _restarts(found),
        _requests(sizes, found),
    ]
    return "\n\n".join(parts) + "\n"


def bars(found: Scale) -> list[Bar]:
    """Hold the figures against what is asked for."""
    ours, bare = found.filling.seconds
    before, with_them, restarted = (item.megabytes for item in found.foreign)
    quiet = found.quiet
    return [
        Bar(
            "every namespace from empty, of bare writes",
            found.filling.ratio,
            _LARGEST_RATIO,
            "x",
            f"{ours:.2f} s to {bare:.2f} s",
        ),
        _latency_bar("namespace to secret, one at a time, p99", found.idle, _LONGEST_IDLE),
        _latency_bar("namespace to secret, storm, p99", found.storm, _LONGEST_STORM),
        Bar(f"controller memory, {found.memory[-1].situation}", found.memory[-1].megabytes, _MOST_MEMORY, " MB"),
        Bar("growth by the Secrets of others", max(with_them, restarted) - before, _FLAT, " MB"),
        Bar("restart to ready", statistics.median(item.ready for item in found.restarts), _LONGEST_START, " s"),
        Bar("writes of a restart", max(writes(item.requests) for item in found.restarts), 0, "", "Lease left out"),
        Bar("writes of a quiet minute", writes(quiet.requests), 0, "", "Lease left out"),
        Bar("reads of a quiet minute", reads(quiet.requests), 10, "", "watches that are begun anew"),
    ]


def _latency_bar(what: str, found: Latencies, limit: float) -> Bar:
    """Hold a latency against its bar, with the bare one beside it."""
    bare = f"bare {percentile(found.bare, 0.99) * 1000:.0f} ms"
    return Bar(what, percentile(found.ours, 0.99) * 1000, limit * 1000, " ms", bare)


def _head(sizes: Sizes) -> str:
    """Say what was measured, and how."""
    disk = "etcd waits for the disk" if sizes.fsync else "etcd does not wait for the disk (`--unsafe-no-fsync`)"
    return (
        f'{sizes.namespaces:,} namespaces, a License and an Application with `"*"`; {sizes.rounds} rounds. Control '
        f"plane, controller and bench share {os.cpu_count()} cores; {disk}, for both sides. "
        f"{platform.python_implementation()} {platform.python_version()}."
    )


def _rounds(found: Scale) -> str:
    """Lay out each round of filling."""
    lines = ["| from empty, seconds | ours | bare | ratio |", "|---|---:|---:|---:|"]
    for number, (ours, bare) in enumerate(zip(found.filling.ours, found.filling.bare, strict=True), 1):
        lines.append(f"| round {number} | {ours[-1]:.2f} | {bare[-1]:.2f} | {ours[-1] / bare[-1]:.2f} |")
    ours_median, bare_median = found.filling.seconds
    return "\n".join([*lines, f"| median | {ours_median:.2f} | {bare_median:.2f} | {found.filling.ratio:.2f} |"])


def _latencies(found: Scale) -> str:
    """Lay out the latencies."""
    lines = ["| namespace to secret, ms | number | p50 | p99 | longest |", "|---|---:|---:|---:|---:|"]
    for title, latencies in (("one at a time", found.idle), ("storm", found.storm)):
        for side, values in (("ours", latencies.ours), ("bare", latencies.bare)):
            p50, p99 = (percentile(values, share) * 1000 for share in (0.5, 0.99))
            lines.append(f"| {title}, {side} | {len(values):,} | {p50:.0f} | {p99:.0f} | {values[-1] * 1000:.0f} |")
    return "\n".join(lines)


def _memory(sizes: Sizes, found: Scale) -> str:
    """Lay out the memory."""
    lines = ["| controller, resident | MB |", "|---|---:|"]
    others = [
        Memory(f"{sizes.foreign:,} Secrets of others, {item.situation}", item.megabytes) for item in found.foreign
    ]
    return "\n".join([*lines, *(f"| {item.situation} | {item.megabytes:.1f} |" for item in (*found.memory, *others))])


def _restarts(found: Scale) -> str:
    """Lay out the restarts."""
    lines = ["| restart | ready after s | at rest after s | writes | reads |", "|---|---:|---:|---:|---:|"]
    for number, item in enumerate(found.restarts, 1):
        counted = f"{writes(item.requests)} | {reads(item.requests)}"
        lines.append(f"| {number} | {item.ready:.2f} | {item.rest:.2f} | {counted} |")
    return "\n".join(lines)


def _requests(sizes: Sizes, found: Scale) -> str:
    """Lay out what the controller asked the API server for, by the audit log."""
    filled, restarted, quiet = found.filling.requests, found.restarts[-1].requests, found.quiet.requests
    lines = [
        "| request of the controller | from empty | for each namespace | restart | quiet minute |",
        "|---|---:|---:|---:|---:|",
    ]
    for words in sorted({*filled, *restarted, *quiet}):
        number, share = filled.get(words, 0), filled.get(words, 0) / sizes.namespaces
        lines.append(f"| `{words}` | {number:,} | {share:.3f} | {restarted.get(words, 0)} | {quiet.get(words, 0)} |")
    return "\n".join(lines)
