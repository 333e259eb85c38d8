"""What unit tests have in common."""

from __future__ import annotations

import pytest

from simulated_clock import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    """Return monotonic seconds that the test moves."""
    return StandingClock()
