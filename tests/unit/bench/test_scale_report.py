"""What the scale bench writes: the page, its tables, its plots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import SECTIONS
from bench.bars import Bar
from bench.pages import PAGE, replace_section
from bench.scale.figures import Filling, Latencies, Memory, Quiet, Restart, Scale
from bench.scale.plots import PLOT_NAMES, draw
from bench.scale.report import as_json, bars, render
from bench.scale.sizes import Sizes
from rig.errors import RigError

SIZES = Sizes(namespaces=100, rounds=2)


def some_figures(seconds: float = 2.0, quiet_writes: int = 0) -> Scale:
    """Make figures; ours fill in so many seconds, bare writes in two."""
    memories = [
        Memory(name, 90.0 + number) for number, name in enumerate(("0", "20", "100", "before", "with", "after"))
    ]
    idle = Latencies(ours=(0.01, 0.02), bare=(0.01, 0.015))
    return Scale(
        memory=tuple(memories[:3]),
        foreign=(memories[3], memories[4], memories[5]),
        restarts=(Restart(1.0, 2.0, {"list secrets": 2}),),
        quiet=Quiet(60.0, {"update leases": 30, "patch licenses/status": quiet_writes}),
        filling=Filling(((1.0, seconds),), ((1.0, 2.0),), {"create secrets": 100}),
        idle=idle,
        storm=idle,
    )


@pytest.mark.parametrize(("measured", "verdict"), [(1.3, "met"), (1.31, "**missed**")])
def test_bar_says_whether_it_is_met(measured: float, verdict: str) -> None:
    """Reaching it exactly is enough."""
    assert f"| {verdict} |" in Bar("what", measured, 1.3, "x").row()


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        (some_figures(), []),
        (some_figures(seconds=3.0), ["every namespace from empty, of bare writes"]),
        (some_figures(quiet_writes=1), ["writes of a quiet minute"]),
    ],
)
def test_bars_tell_what_was_missed(figures: Scale, missed: list[str]) -> None:
    """Only what exceeds its limit is missed; renewing the Lease does not count."""
    assert [bar.what for bar in bars(figures) if bar.measured > bar.limit] == missed


def test_text_holds_every_figure_and_plot() -> None:
    """All bars, all plots, and every kind of request."""
    text = render(SIZES, some_figures())

    for words in (*(bar.row() for bar in bars(some_figures())), *PLOT_NAMES, "`create secrets` | 100 | 1.000"):
        assert words in text


def test_raw_figures_are_json() -> None:
    """All of them can be written as JSON, counted requests among them."""
    raw = json.loads(json.dumps(as_json(SIZES, some_figures())))

    assert raw["figures"]["filling"]["requests"] == {"create secrets": 100}


def test_plots_depend_on_the_figures_alone(tmp_path: Path) -> None:
    """The same figures give the same bytes, other figures give others."""
    for name, seconds in (("first", 2.0), ("same", 2.0), ("other", 3.0)):
        draw(SIZES, some_figures(seconds), tmp_path / name)

    drawn = {name: (tmp_path / name / "filling.svg").read_bytes() for name in ("first", "same", "other")}
    assert drawn["first"] == drawn["same"] != drawn["other"]
    assert {path.stem for path in (tmp_path / "first").iterdir()} == set(PLOT_NAMES)


def test_section_is_replaced_and_nothing_else() -> None:
    """What is between the markers goes, the rest of the page stays; doing it twice changes nothing."""
    page = "top\n<!-- a:begin -->\nold\n<!-- a:end -->\nmiddle\n<!-- b:begin -->\nother\n<!-- b:end -->\n"

    once = replace_section(page, "a", "new\n")

    assert once == page.replace("\nold\n", "\n\nnew\n\n")
    assert replace_section(once, "a", "new") == once


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<!-- a:begin -->",
        "<!-- a:end --><!-- a:begin -->",
        "<!-- a:begin --><!-- a:end --><!-- a:begin --><!-- a:end -->",
    ],
)
def test_page_without_clear_markers_is_refused(page: str) -> None:
    """Nothing is written into a page where it is not clear where."""
    with pytest.raises(RigError, match="a:begin"):
        replace_section(page, "a", "new")


@pytest.mark.parametrize("section", SECTIONS)
def test_page_has_room_for_every_section(section: str) -> None:
    """`docs/benchmarks.md` has the markers of each."""
    assert "figures" in replace_section(PAGE.read_text(encoding="utf-8"), section, "figures")
