"""`docs/metrics.md`: every metric of both roles with its labels and meaning, read from where they are made."""

from replicated_proxy.telemetry.making import Described
from replicated_proxy.telemetry.metrics import Metrics
from rig.cache import REPOSITORY

PAGE = REPOSITORY / "docs" / "metrics.md"
# Above the table; what stands below it is kept in the same way.
_HEAD = """# Metrics

Written by `make docs` from `operator/replicated_proxy/telemetry/metrics.py`. Each replica serves its own over plain
HTTP at `/metrics` of its health port (`settings.controller.healthPort`, `settings.webhook.healthPort`), beside `/livez`
and `/readyz`. Whoever reaches the port may read them: no namespace, image, License or registry is named in them, and
nothing is secret. Labels are words from fixed lists, so the number of series is fixed too, whatever anybody creates.

Beside them each process has the `process_` metrics of Prometheus's client: memory, processor time, open files, start.

## Having them scraped

With prometheus-operator (kube-prometheus-stack, for instance):

```sh
helm upgrade … --set monitoring.serviceMonitor.enabled=true \\
  --set monitoring.prometheusRule.enabled=true \\
  --set monitoring.dashboard.enabled=true
```

Prometheus takes up only what carries the labels that it selects by, so most installations need
`monitoring.serviceMonitor.labels` and `monitoring.prometheusRule.labels`, `release: kube-prometheus-stack` for
instance. The dashboard is a ConfigMap that Grafana's sidecar finds by its label (`monitoring.dashboard.labels`).

Without it: `monitoring.service.enabled=true` makes the Services to scrape, one for each role, whose port is called
`metrics`; or have the Pods scraped by annotations of your own (`podAnnotations`). Alerts and dashboard expect the label
`namespace` on every series, with the release's namespace; where yours are labelled otherwise, say how the series of
this release are told from others in `monitoring.selector`. [alerts.md](alerts.md) has a row for each alert.

## Ours

A counter with few combinations of words shows all of them from the start, at 0. Gauges of the controller's work
(conflicts, failures, Licenses, the queue) are those of the leader; a standby shows 0.

| metric | kind | role | labels | meaning |
|---|---|---|---|---|
"""
_TAIL = """
## The API server's own

What no replica can count: what never reached it. The alerts and the dashboard ask for these, all of them for
`name="pods.proxy.kots.io"`, the name of our webhook. Not every managed control plane shows them.

| metric | labels | meaning |
|---|---|---|
"""
API_SERVER = {
    "apiserver_admission_webhook_admission_duration_seconds": (
        ("name", "type", "operation", "rejected"),
        "how long our answers took as the API server sees it, network included (histogram)",
    ),
    "apiserver_admission_webhook_fail_open_count": (
        ("name", "type"),
        "reviews that failed and whose Pods were created unchanged (`failurePolicy: Ignore`)",
    ),
    "apiserver_admission_webhook_rejection_count": (
        ("name", "type", "operation", "error_type", "rejection_code"),
        "refused requests; `error_type` is `calling_webhook_error`, or `apiserver_internal_error` for a useless answer",
    ),
    "apiserver_admission_match_condition_evaluation_errors_total": (
        ("name", "kind", "type", "operation"),
        "requests for which a condition in `webhook.matchConditions` ended with an error",
    ),
}
"""Name, labels and meaning of what we ask the API server for; a test compares them with a real one."""


def render_metrics() -> str:
    """Return the whole page."""
    ours = "\n".join(_row(each) for each in Metrics().described)
    theirs = "\n".join(
        f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"
        for name, (labels, meaning) in API_SERVER.items()
    )
    return f"{_HEAD}{ours}\n{_TAIL}{theirs}\n"


def _row(metric: Described) -> str:
    """Write one metric's row."""
    roles = ", ".join(metric.roles)
    labels = "<br>".join(f"`{label}`: {_words(words)}" for label, words in metric.labels.items())
    return f"| `{metric.name}` | {metric.kind} | {roles} | {labels} | {metric.text} |"


def _words(words: tuple[str, ...]) -> str:
    """Write the words that a label may have."""
    return ", ".join(f"`{word}`" if word else "empty" for word in words) or "the build's"
