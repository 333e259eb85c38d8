"""Settings for every unit test."""

from __future__ import annotations

import pytest
from hypothesis import settings

from simulated_clock import StandingClock

# No deadline: the machines that run this are shared, and speed is measured by benchmarks.
settings.register_profile("laws", deadline=None, max_examples=200)
settings.load_profile("laws")


@pytest.fixture
def clock() -> StandingClock:
    """Return monotonic seconds that the test moves."""
    return StandingClock()
