"""Metrics that take words from elsewhere."""

from __future__ import annotations

from replicated_proxy.telemetry.metrics import FAILURE_REASONS, Metrics


def test_failures_are_counted_by_known_words_only() -> None:
    """What a server calls its refusal makes no time series of its own, and a reason that is over counts none."""
    metrics = Metrics()
    metrics.note_failures(["Forbidden", "Forbidden", "somebody's own word", ""])
    metrics.note_failures(["Forbidden", "another word"])

    found = {
        word: metrics.registry.get_sample_value("replicated_proxy_failures", {"reason": word})
        for word in FAILURE_REASONS
    }
    assert found == dict.fromkeys(FAILURE_REASONS, 0.0) | {"Forbidden": 1.0, "Other": 1.0}
