"""The plots of the section `scale`, as SVG files whose bytes depend on the figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.pages import PLOTS
from bench.scale.figures import Latencies, Scale
from bench.scale.sizes import Sizes

PLOT_NAMES: Mapping[str, str] = {
    "filling": "Namespaces with their secret over time, from empty",
    "latency": "Share of namespaces served within a time",
    "memory": "The controller's memory",
}
_OURS, _BARE = "#1f77b4", "#ff7f0e"
_INCHES = (8.0, 3.2)
_NO_METADATA = {"Date": None, "Creator": None}


def draw(sizes: Sizes, found: Scale, folder: Path = PLOTS) -> None:
    """Draw all plots."""
    folder.mkdir(parents=True, exist_ok=True)
    # Text as text, no time of day, and no random names: the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "replicated-proxy-operator", "font.size": 9}):
        for name, figure in (
            ("filling", _filling(found)),
            ("latency", _latency(found)),
            ("memory", _memory(sizes, found)),
        ):
            figure.savefig(folder / f"{name}.svg", metadata=_NO_METADATA, bbox_inches="tight")


def _filling(found: Scale) -> Figure:
    """Draw how the copies appeared, in every round."""
    figure = Figure(figsize=_INCHES)
    axes = figure.add_subplot()
    for runs, colour, name in ((found.filling.bare, _BARE, "bare writes"), (found.filling.ours, _OURS, "ours")):
        for number, run in enumerate(runs):
            _steps(axes, run, colour, name if number == 0 else "", whole=len(run))
    axes.set(xlabel="seconds", ylabel="namespaces", title=PLOT_NAMES["filling"])
    axes.legend()
    return figure


def _latency(found: Scale) -> Figure:
    """Draw the distribution of latencies, one at a time and at once."""
    figure = Figure(figsize=_INCHES)
    for place, (title, latencies) in enumerate((("one at a time", found.idle), ("storm", found.storm)), 1):
        axes = figure.add_subplot(1, 2, place)
        _distribution(axes, latencies)
        axes.set(xlabel="milliseconds", ylabel="share", title=title)
        axes.legend()
    figure.tight_layout()
    return figure


def _distribution(axes: Axes, latencies: Latencies) -> None:
    """Draw one distribution, ours and bare."""
    for values, colour, name in ((latencies.bare, _BARE, "bare writes"), (latencies.ours, _OURS, "ours")):
        _steps(axes, [value * 1000 for value in values], colour, name, whole=1)


def _steps(axes: Axes, values: Sequence[float], colour: str, name: str, *, whole: float) -> None:
    """Draw how much of the whole had come by each moment."""
    share = [whole * (position + 1) / len(values) for position in range(len(values))]
    chosen = range(0, len(values), max(len(values) // 400, 1))  # More points than pixels only make the file large.
    points = [*chosen, len(values) - 1]
    axes.step([values[i] for i in points], [share[i] for i in points], where="post", color=colour, label=name or None)


def _memory(sizes: Sizes, found: Scale) -> Figure:
    """Draw the memory in each situation."""
    figure = Figure(figsize=_INCHES)
    axes = figure.add_subplot()
    items = [(item.situation, item.megabytes) for item in found.memory]
    items += [(f"{sizes.foreign:,} of others:\n{item.situation}", item.megabytes) for item in found.foreign]
    drawn = axes.bar([name for name, _ in items], [value for _, value in items], color=_OURS)
    axes.bar_label(drawn, fmt="%.0f")
    axes.set(ylabel="MB", title=PLOT_NAMES["memory"])
    axes.tick_params(axis="x", labelsize=7)
    return figure
