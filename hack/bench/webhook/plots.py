"""The plot of the section `webhook`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.drawing import INCHES, OTHER, OURS, write_plots
from bench.pages import PLOTS
from bench.webhook.serving import NAMES

PLOT_NAMES: Mapping[str, str] = {"webhook": "Reviews in a second on one core"}
_TALLER = 1.2


def draw(rates: Mapping[tuple[str, int], float], folder: Path = PLOTS) -> None:
    """Draw rates by server and connections."""
    write_plots({"webhook": lambda: _rates(rates)}, folder)


def _rates(rates: Mapping[tuple[str, int], float]) -> Figure:
    """Draw a bar for each server, beside each other for each number of connections."""
    figure = Figure(figsize=(INCHES[0], INCHES[1] * _TALLER))
    connections = sorted({number for _, number in rates})
    names = list(reversed(NAMES))
    for place, number in enumerate(connections, 1):
        axes = figure.add_subplot(1, len(connections), place)
        values = [rates[name, number] for name in names]
        colours = [OURS if name.startswith("ours") else OTHER for name in names]
        drawn = axes.barh([NAMES[name].strip("*") for name in names], values, color=colours)
        axes.bar_label(drawn, fmt="{:,.0f}", fontsize=6, padding=2)
        axes.set(title=f"{number} connection{'s' if number > 1 else ''}", xlim=(0, max(values) * 1.35))
        axes.set_xticks([])
        axes.tick_params(axis="y", labelleft=place == 1, labelsize=7)
    figure.tight_layout()
    return figure
