"""The table of values in the chart's README is made from the chart's own files, and complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pages.values import CHART, PAGE, Undocumented, list_values, render_readme

_FILES = ("values.yaml", "values.schema.json", "README.md")


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Return a copy of the chart's files with one text in one of them replaced."""

    def edit(name: str, old: str, new: str) -> Path:
        for each in _FILES:
            shutil.copy(CHART / each, tmp_path / each)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        return tmp_path

    return edit


def test_the_table_is_up_to_date() -> None:
    """What `make docs` would write is what is there; run it after changing values, their comments or their types."""
    assert PAGE.read_text(encoding="utf-8") == render_readme()


def test_a_changed_comment_makes_it_stale(edited: Callable[[str, str, str], Path]) -> None:
    """Comments, defaults and types are all in it."""
    for name, old, new in (
        ("values.yaml", "# Pull secrets for the operator's own image", "# Secrets for the operator's own image"),
        ("values.yaml", "concurrency: 8", "concurrency: 9"),
        ("values.schema.json", '"maximum": 1000000', '"maximum": 1000001'),
    ):
        assert render_readme(edited(name, old, new)) != PAGE.read_text(encoding="utf-8")


def test_a_value_without_a_comment_is_refused(edited: Callable[[str, str, str], Path]) -> None:
    """Whoever adds a value has to say what it is for."""
    comment = "    # Namespaces written to at the same time.\n"
    folder = edited("values.yaml", comment, "")
    with pytest.raises(Undocumented, match=r"concurrency has no comment"):
        list_values(folder)


def test_a_value_that_the_schema_does_not_know_is_refused(edited: Callable[[str, str, str], Path]) -> None:
    """A value without a type would be refused by helm as soon as somebody set it below a strict section."""
    folder = edited("values.yaml", "nodeSelector: {}", "nodeSelector: {}\n# Something new.\nsomething: 1")
    with pytest.raises(Undocumented, match=r"something is no property in values\.schema\.json"):
        list_values(folder)


def test_every_property_of_the_schema_is_a_value() -> None:
    """Nothing can be set that the table does not show, but what settings know and the chart leaves to them."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    shown = {each.key.partition(".")[0] for each in list_values()}
    assert set(schema["properties"]) == shown


def test_types_are_words() -> None:
    """Choices, ranges and lists are told so that nobody has to read the schema."""
    kinds = {each.key: each.kind for each in list_values()}
    assert kinds["image.pullPolicy"] == "`Always`, `IfNotPresent`, `Never`"
    assert kinds["settings.rewrite.mode"] == "`private`, `all`, `listed`, `off`"
    assert kinds["webhook.timeoutSeconds"] == "integer, 1 to 30"
    assert kinds["settings.detection.probeSeconds"] == "number above 0, at most 31536000"
    assert kinds["settings.rewrite.include"] == "list of texts"
    assert kinds["extraObjects"] == "list (map or text)"
