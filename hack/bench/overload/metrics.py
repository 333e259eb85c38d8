"""What the API server counts of its webhooks and of the creation of Pods."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

_COUNTED = {
    "apiserver_admission_webhook_fail_open_count": ("name",),
    "apiserver_admission_webhook_rejection_count": ("error_type", "rejection_code"),
    "apiserver_admission_webhook_request": ("code", "rejected"),
    "apiserver_admission_webhook_admission_duration_seconds": (),
    "apiserver_request_duration_seconds": (),
    "apiserver_request": ("code", "dry_run"),
}
"""Families, and the labels that are worth telling."""
_SUFFIXES = ("_total", "_sum", "_count")


def read_counts(text: str) -> Mapping[str, float]:
    """Return counters and the sums and counts of histograms, added up by what is told of them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        told = _COUNTED.get(family.name)
        if told is None:
            continue
        for sample in family.samples:
            if sample.name.endswith(_SUFFIXES) and _is_ours(sample.labels):
                labels = ",".join(f"{name}={sample.labels[name]}" for name in told if sample.labels.get(name))
                key = f"{sample.name}{{{labels}}}" if labels else sample.name
                found[key] = found.get(key, 0.0) + sample.value
    return found


def _is_ours(labels: Mapping[str, str]) -> bool:
    """Tell whether a sample is about our webhook or about creating Pods."""
    if "name" in labels:
        return labels["name"] == "pods.proxy.kots.io"
    return labels.get("resource") == "pods" and labels.get("verb") == "POST"
