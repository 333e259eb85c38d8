"""The section `scale`: thousands of namespaces on a control plane of its own, and what they cost."""

from __future__ import annotations

import os

import uvloop

from bench.scale.experiments import (
    measure_filling,
    measure_foreign,
    measure_latencies,
    measure_memory,
    measure_quiet,
    measure_restart,
    within,
)
from bench.scale.figures import Scale
from bench.scale.laboratory import Site, laboratory, site
from bench.scale.report import write_report
from bench.scale.sizes import Sizes, read_sizes


def measure() -> str:
    """Measure and report; returns the text."""
    sizes = read_sizes(os.environ)
    with site(sizes) as place:
        return write_report(sizes, uvloop.run(_measure(place, sizes)))


async def _measure(place: Site, sizes: Sizes) -> Scale:
    """Make one experiment after the other, each with a deadline."""
    once = sizes.patience(sizes.namespaces)
    async with laboratory(place, sizes) as lab:
        memory = await within(once * 4, f"{sizes.namespaces:,} namespaces, memory", measure_memory(lab))
        restarts = [
            await within(once * 2, f"restart {number}/{sizes.rounds}", measure_restart(lab))
            for number in range(1, sizes.rounds + 1)
        ]
        quiet = await within(once + 120, "a quiet minute", measure_quiet(lab))
        filling = await within(once * 6 * sizes.rounds, "from empty, by turns", measure_filling(lab))
        idle, storm = await within(once * 8, "namespace to secret", measure_latencies(lab))
        patience = once * 4 + sizes.patience(sizes.foreign)
        foreign = await within(patience, f"{sizes.foreign:,} Secrets of others", measure_foreign(lab))
    return Scale(memory, foreign, tuple(restarts), quiet, filling, idle, storm)
