"""Settings for every test; leaves out what the cluster of this session cannot run, and says so."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings

from rig.clusters import obstacle_to_node
from selecting import WITH_PODS, chosen_cluster, why_left_out

_LEFT_OUT = pytest.StashKey[Counter[str]]()

# No deadline: the machines that run this are shared, and speed is measured by benchmarks. Here, so that it holds for
# every module with laws, whichever of them are run. In CI the examples are the same each time: what fails there was
# caused by the change. New ones are looked for wherever people work.
settings.register_profile("laws", deadline=None, max_examples=200, derandomize="CI" in os.environ)
settings.load_profile("laws")


# Last: what the command line leaves out is gone by then, and a run without Pods asks for no cluster.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that this machine's cluster cannot run."""
    marks = {item: WITH_PODS & {mark.name for mark in item.iter_markers()} for item in items}
    if not any(marks.values()):
        return
    obstacle = obstacle_to_node()
    reasons = {item: why_left_out(marks[item], *chosen_cluster(), obstacle) for item in items}
    config.stash[_LEFT_OUT] = Counter(reason for reason in reasons.values() if reason)
    config.hook.pytest_deselected(items=[item for item in items if reasons[item]])
    items[:] = [item for item in items if not reasons[item]]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say below the number of tests what was left out, and why."""
    return [f"left out: {count} tests, {reason}" for reason, count in config.stash.get(_LEFT_OUT, Counter()).items()]
