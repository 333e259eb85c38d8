"""The chart under test."""

import pytest

from chart.helm_chart import Chart
from rig.binaries import provide


@pytest.fixture(scope="session")
def chart() -> Chart:
    """The chart of this repository, read by the pinned helm."""
    return Chart(provide(["helm"])["helm"])
