"""What metrics say: words from elsewhere, who exports what, and what is there from the start."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pages.metrics import PAGE, render_metrics
from replicated_proxy.telemetry.making import BOTH, Exporter, Maker
from replicated_proxy.telemetry.metrics import FAILURE_REASONS, Metrics
from rig.cache import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("**/*.md"))
NAMED = re.compile(r"(replicated_proxy_[a-z_]+)(?:\{([^}]*)\})?")


def shown(metrics: Metrics) -> set[str]:
    """Return the names of metrics that `/metrics` shows, processes' left out."""
    suffixes = {"counter": "_total"}
    names = {family.name + suffixes.get(family.type, "") for family in metrics.registry.collect()}
    return {name for name in names if name.startswith("replicated_proxy_")}


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


@pytest.mark.parametrize("exporter", BOTH)
def test_role_shows_its_own_metrics(exporter: Exporter) -> None:
    """A role shows exactly the metrics that are described as its own."""
    metrics = Metrics(exporter)

    assert shown(metrics) == {each.name for each in metrics.described if exporter in each.roles}
    assert shown(metrics) < shown(Metrics())


def test_metric_of_another_role_may_be_counted_with() -> None:
    """A role that counts with a metric that is not its own does no harm, and does not show it."""
    metrics = Metrics(Exporter.CONTROLLER)
    metrics.reviews.labels("patched", "false").inc()

    assert "replicated_proxy_reviews_total" not in shown(metrics)


def test_counter_of_few_words_begins_with_all_of_them() -> None:
    """The first event of a kind is a rise from 0; a counter with many combinations shows those that happened."""
    make = Maker(BOTH)
    make.counter(BOTH, "few", "Few.", result=("good", "bad"))
    make.counter(BOTH, "many", "Many.", first=tuple("abcde"), second=tuple("abcde"))
    value = make.registry.get_sample_value

    assert value("replicated_proxy_few_total", {"result": "bad"}) == 0
    assert value("replicated_proxy_many_total", {"first": "a", "second": "a"}) is None


def test_readiness_is_shown_as_it_is_at_the_moment() -> None:
    """The gauge follows the problems that `/readyz` lists."""
    metrics, problems = Metrics(Exporter.WEBHOOK), ["no table"]
    metrics.note_ready(lambda: problems)
    labels = {"role": "webhook"}

    assert metrics.registry.get_sample_value("replicated_proxy_ready", labels) == 0
    problems.clear()
    assert metrics.registry.get_sample_value("replicated_proxy_ready", labels) == 1


def test_validity_of_a_certificate_is_shown_from_begin_to_end() -> None:
    """Both dates are there, so that a share of the lifetime can be computed."""
    metrics = Metrics()
    metrics.note_certificate("serving", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    begin, end = (
        metrics.registry.get_sample_value(
            f"replicated_proxy_certificate_not_{word}_timestamp_seconds", {"certificate": "serving"}
        )
        for word in ("before", "after")
    )

    assert begin is not None
    assert end is not None
    assert end - begin == 86400


def test_page_is_what_the_code_says() -> None:
    """`docs/metrics.md` is up to date; `make docs` writes it."""
    assert render_metrics() == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(REPOSITORY)) for path in PAGES])
def test_pages_name_metrics_that_exist(page: Path) -> None:
    """Every metric that a page names exists, with the labels and words that it shows."""
    known = {each.name: each.labels for each in Metrics().described}
    known |= {f"{name}_{suffix}": known[name] for name in known for suffix in ("bucket", "count", "sum")}
    for name, shown_labels in NAMED.findall(page.read_text(encoding="utf-8")):
        assert any(each == name or each.startswith(f"{name.rstrip('_')}_") for each in known), name
        for label, words in re.findall(r'(\w+)=((?:"[^"]*"\|?)+)', shown_labels):
            assert set(re.findall('"([^"]*)"', words)) <= set(known[name][label]), (name, label)
