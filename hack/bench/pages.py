"""Where the tables go: `docs/benchmarks.md`, each section between its own two markers."""

from __future__ import annotations

from pathlib import Path

from rig.cache import REPOSITORY
from rig.errors import RigError

PAGE = REPOSITORY / "docs" / "benchmarks.md"
PLOTS = REPOSITORY / "docs" / "benchmarks"
RESULTS = REPOSITORY / "build" / "bench"


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put a section's text between its markers; the rest of the page stays as it is."""
    page.write_text(replace_section(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def replace_section(page: str, name: str, text: str) -> str:
    """Return a page with another text in one section.

    Raises:
        RigError: the markers are not there once each, in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end) or page.count(begin) != 1 or page.count(end) != 1:
        raise RigError(f"the page needs one {begin} and, after it, one {end}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
