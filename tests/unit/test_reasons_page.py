"""`docs/reasons.md` says what the code does: the same words, in the same order, warned about or not."""

from __future__ import annotations

import re

import pytest

from replicated_proxy.core.admission import WITHHELD
from replicated_proxy.core.namespaces import APP_LABEL
from replicated_proxy.core.reasons import UNPROXIABLE, Outcome, Reason
from replicated_proxy.telemetry.metrics import REVIEW_OUTCOMES, Metrics
from rig.cache import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reasons.md").read_text(encoding="utf-8")
WARNED = dict.fromkeys(UNPROXIABLE | set(WITHHELD) | {Reason.NO_PULL_SECRET}, "yes") | {
    Reason.NO_LICENSE: f"if the Pod carries `{APP_LABEL}`",
    Reason.PUBLIC: "if nobody knows",
}


def rows_below(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


REASONS = [*rows_below("Of the whole Pod"), *rows_below("Of an image")]


def test_every_reason_is_listed_in_the_order_of_the_code() -> None:
    """Those of the Pod first, then those of an image, each once."""
    assert [row[0].strip("`") for row in REASONS] == list(Reason)


@pytest.mark.parametrize("row", REASONS, ids=[row[0].strip("`") for row in REASONS])
def test_reason_has_cause_remedy_and_the_truth_about_warnings(row: list[str]) -> None:
    """A row names cause and remedy, and says whether users are warned."""
    word, cause, remedy, warning = row

    assert cause
    assert remedy
    assert warning == WARNED.get(Reason(word.strip("`")), "no")


def test_every_outcome_is_listed() -> None:
    """What was done has its row, too."""
    found = [row[0].strip("`") for row in rows_below("Something was done")]

    assert found == [outcome for outcome in Outcome if outcome is not Outcome.UNTOUCHED]


def test_metrics_are_described_with_the_words_of_the_code() -> None:
    """The metrics that the page names exist with those labels, and count by those words."""
    described = {row[0].strip("` "): row[1] for row in rows_below("Where the words are") if "_total" in row[0]}
    reviews, left_alone, images = described.values()
    metrics = Metrics()
    metrics.reviews.labels(outcome="patched", dry_run="false")
    metrics.pods_left_alone.labels(reason=Reason.NO_LICENSE)
    metrics.images.labels(outcome=Outcome.REWRITTEN, reason="")
    real = {sample.name for family in metrics.registry.collect() for sample in family.samples}

    assert described.keys() <= real
    assert words_in(reviews) == ["outcome", *REVIEW_OUTCOMES, "dry_run"]
    assert words_in(left_alone) == ["reason"]
    assert words_in(images) == ["outcome", *Outcome, "reason"]


def words_in(text: str) -> list[str]:
    """Return the code words of a text."""
    return re.findall(r"`([a-z_-]+)`", text)
