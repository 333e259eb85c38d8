"""Summing up several runs of the load generator."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import fields

from bench.load import Figures


def median(runs: Iterable[Figures]) -> Figures:
    """Return the median of each figure; the outcomes are added up."""
    given = list(runs)
    numbers = [item.name for item in fields(Figures) if item.name != "outcomes"]
    words = {word for run in given for word in run.outcomes}
    outcomes = {word: sum(run.outcomes.get(word, 0) for run in given) for word in sorted(words)}
    return Figures(
        **{name: statistics.median(getattr(run, name) for run in given) for name in numbers}, outcomes=outcomes
    )
