"""What plots have in common: SVG files whose bytes depend on the figures alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.pages import PLOTS

OURS, OTHER = "#1f77b4", "#ff7f0e"
INCHES = (8.0, 3.2)
# Text as text, no time of day, and no random names: the same figures give the same file.
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "replicated-proxy-operator", "font.size": 9}
_NO_METADATA = {"Date": None, "Creator": None}


def write_plots(figures: Mapping[str, Callable[[], Figure]], folder: Path = PLOTS) -> None:
    """Draw plots in one style and write each to a file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, draw in figures.items():
            draw().savefig(folder / f"{name}.svg", metadata=_NO_METADATA, bbox_inches="tight")
