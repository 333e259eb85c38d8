"""Settings for every unit test."""

from __future__ import annotations

from hypothesis import settings

# No deadline: the machines that run this are shared, and speed is measured by benchmarks.
settings.register_profile("laws", deadline=None, max_examples=200)
settings.load_profile("laws")
