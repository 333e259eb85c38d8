"""The plots of the section `scale`, as SVG files whose bytes depend on the figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.drawing import INCHES, OTHER, OURS, write_plots
from bench.pages import PLOTS
from bench.scale.figures import Latencies, Scale
from bench.scale.sizes import Sizes

PLOT_NAMES: Mapping[str, str] = {
    "filling": "Namespaces with their secret over time, from empty",
    "latency": "Share of namespaces served within a time",
    "memory": "The controller's memory",
}


def draw(sizes: Sizes, found: Scale, folder: Path = PLOTS) -> None:
    """Draw all plots."""
    figures = {
        "filling": lambda: _filling(found),
        "latency": lambda: _latency(found),
        "memory": lambda: _memory(sizes, found),
    }
    write_plots(figures, folder)


def _filling(found: Scale) -> Figure:
    """Draw how the copies appeared, in every round."""
    figure = Figure(figsize=INCHES)
    axes = figure.add_subplot()
    for runs, colour, name in ((found.filling.bare, OTHER, "bare writes"), (found.filling.ours, OURS, "ours")):
        for number, run in enumerate(runs):
            _steps(axes, run, colour, name if number == 0 else "", whole=len(run))
    axes.set(xlabel="seconds", ylabel="namespaces", title=PLOT_NAMES["filling"])
    axes.legend()
    return figure


def _latency(found: Scale) -> Figure:
    """Draw the distribution of latencies, one at a time and at once."""
    figure = Figure(figsize=INCHES)
    for place, (title, latencies) in enumerate((("one at a time", found.idle), ("storm", found.storm)), 1):
        axes = figure.add_subplot(1, 2, place)
        _distribution(axes, latencies)
        axes.set(xlabel="milliseconds", ylabel="share", title=title)
        axes.legend()
    figure.tight_layout()
    return figure


def _distribution(axes: Axes, latencies: Latencies) -> None:
    """Draw one distribution, ours and bare."""
    for values, colour, name in ((latencies.bare, OTHER, "bare writes"), (latencies.ours, OURS, "ours")):
        _steps(axes, [value * 1000 for value in values], colour, name, whole=1)


def _steps(axes: Axes, values: Sequence[float], colour: str, name: str, *, whole: float) -> None:
    """Draw how much of the whole had come by each moment."""
    share = [whole * (position + 1) / len(values) for position in range(len(values))]
    chosen = range(0, len(values), max(len(values) // 400, 1))  # More points than pixels only make the file large.
    points = [*chosen, len(values) - 1]
    axes.step([values[i] for i in points], [share[i] for i in points], where="post", color=colour, label=name or None)


def _memory(sizes: Sizes, found: Scale) -> Figure:
    """Draw the memory in each situation."""
    figure = Figure(figsize=INCHES)
    axes = figure.add_subplot()
    items = [(item.situation, item.megabytes) for item in found.memory]
    items += [(f"{sizes.foreign:,} of others:\n{item.situation}", item.megabytes) for item in found.foreign]
    drawn = axes.bar([name for name, _ in items], [value for _, value in items], color=OURS)
    axes.bar_label(drawn, fmt="%.0f")
    axes.set(ylabel="MB", title=PLOT_NAMES["memory"])
    axes.tick_params(axis="x", labelsize=7)
    return figure
