"""The tables of the section `overload`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bench.load import Figures
from bench.pace import Pace
from bench.pages import RESULTS
from bench.storm import StormFigures

TIMES = (0.8, 3.0)
"""Multiples of the capacity that arrive: for comparison below it, and three times of it."""
_SUM, _COUNT = "_sum", "_count"


@dataclass(frozen=True, slots=True)
class Direct:
    """One storm on the webhook: how many times its capacity, which was so many reviews in a second."""

    times: float
    capacity: float
    figures: StormFigures


@dataclass(frozen=True, slots=True)
class Through:
    """A storm on the webhook of an API server.

    Attributes:
        alone: Pods created with no storm and all of a core for the webhook; `cpu` is the webhook's.
        capacity: reviews in a second of the webhook with a tenth of a core.
        flood: the storm.
        figures: the Pods created meanwhile.
        counts: by how much the API server's metrics grew.
    """

    alone: Figures
    capacity: float
    flood: StormFigures
    figures: StormFigures
    counts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Overload:
    """All of it."""

    direct: tuple[Direct, ...]
    through: Through


def write_report(pace: Pace, overload: Overload) -> str:
    """Write the figures, and return the text."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = {"pace": asdict(pace), **asdict(overload)}
    (RESULTS / "overload.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")
    return render(pace, overload)


def render(pace: Pace, overload: Overload) -> str:
    """Write the text of the section."""
    through = overload.through
    parts = [
        _head(pace),
        _shares(overload.direct),
        *(_outcomes(item) for item in overload.direct if item.times == max(TIMES)),
        _through_head(through),
        _by_outcome(through.figures),
        "The storm meanwhile:",
        _by_outcome(through.flood),
        _counts(through.counts),
    ]
    return "\n\n".join(parts) + "\n"


def _head(pace: Pace) -> str:
    """Say what was measured, and how."""
    return (
        f"Reviews arrive at a fixed rate for {pace.seconds:g} s whatever comes of them, on as many connections as that "
        "takes, up to 2,000; whoever asks gives up after 5 s, as the API server does with the chart's "
        "`timeoutSeconds`, and closes the connection. Latencies count from when a review was due. The webhook (mode "
        "`private`, verdicts known) shares its core with a process that leaves it a quarter, since a load generator on "
        "the other core could not exceed a whole one three times. Its capacity was measured before each storm, with 8 "
        "connections that each wait for their answer."
    )


def _shares(direct: tuple[Direct, ...]) -> str:
    """Lay out what became of reviews, storm by storm."""
    columns = ["arriving", "capacity", "reviews", "answered within 100 ms", "answered", "shed (503, Retry-After)"]
    columns += ["timed out", "other", "answered/s", "connections opened", "generator's core", "generator late p99"]
    lines = [f"| {' | '.join(columns)} |", "|---:" * len(columns) + "|"]
    for item in direct:
        figures = item.figures
        answered = figures.outcomes.get("answered")
        soon = answered.within_100ms / figures.due if answered else 0.0
        shares = [figures.share(word) for word in ("answered", "shed", "timed out")]
        rate = answered.number / figures.seconds if answered else 0.0
        cells = " | ".join(f"{share:.1%}" for share in (soon, *shares, 1 - sum(shares)))
        lines.append(
            f"| {item.times:g}x | {item.capacity:,.0f}/s | {figures.due:,} | {cells} | {rate:,.0f} "
            f"| {figures.opened:,} | {figures.generator:.0%} | {figures.late:.0f} ms |"
        )
    return "\n".join(lines)


def _outcomes(item: Direct) -> str:
    """Lay out one storm's latencies."""
    return f"At {item.times:g} times {item.capacity:,.0f} reviews/s:\n\n{_by_outcome(item.figures)}"


def _by_outcome(figures: StormFigures) -> str:
    """Lay out latencies by what became of requests."""
    lines = ["| outcome | number | share | p50 ms | p99 ms |", "|---|---:|---:|---:|---:|"]
    for word, outcome in figures.outcomes.items():
        lines.append(
            f"| {word} | {outcome.number:,} | {outcome.number / figures.due:.1%} | {outcome.p50:,.0f} "
            f"| {outcome.p99:,.0f} |"
        )
    return "\n".join(lines)


def _through_head(through: Through) -> str:
    """Say what was measured of the API server."""
    alone, figures, flood = through.alone, through.figures, through.flood
    return (
        "What the API server does with it (`failurePolicy: Ignore`). An API server with one core cannot overload the "
        f"webhook by itself: as many dry-run creations of Pods as it takes, {alone.rate:,.0f} in a second, cost the "
        f"webhook {alone.cpu / 1000:.3f} ms each, {alone.rate * alone.cpu / 1_000_000:.0%} of a core. So the webhook "
        f"is left a tenth of its core, where it can answer {through.capacity:,.0f} reviews in a second, and a storm of "
        f"{flood.due / flood.seconds:,.0f} in a second goes over it, as other API servers would send it; meanwhile "
        f"{figures.due:,} Pods are created, {figures.due / figures.seconds:,.0f} in a second:"
    )


def _counts(counts: Mapping[str, float]) -> str:
    """Lay out by how much the API server's metrics grew."""
    lines = ["| metric of the API server | grew by |", "|---|---:|"]
    for name, value in sorted(counts.items()):
        if _SUM in name:
            number = counts.get(name.replace(_SUM, _COUNT), 0.0)
            if number:
                lines.append(f"| `{name.replace(_SUM, '')}`, mean | {value / number * 1000:,.1f} ms |")
        else:
            lines.append(f"| `{name}` | {value:,.0f} |")
    return "\n".join(lines)
