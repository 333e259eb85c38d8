"""The operating guide holds together: its commands are run, its links lead somewhere, its figures are measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from guide import FOLDER, STORY, Block, blocks_of, matches, read_blocks
from rig.cache import REPOSITORY

DOCS: Final = REPOSITORY / "docs"
PAGES: Final = sorted(FOLDER.glob("*.md"))
BLOCKS: Final = [block for page in PAGES for block in read_blocks(page.name)]
LINK: Final = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
SAMPLE: Final = """
```sh
first
```

<!-- fails -->
```sh
second \\
  --with=more
```

```text
what … it prints
…
end
```

<!-- not run: no cluster has it -->
```sh
third
```
"""


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_of_a_page_are_read() -> None:
    """A command has its place, what it prints, and what the comment above it says."""
    first, second, third = blocks_of("page", SAMPLE)

    assert (first.place, first.command, first.prints, first.fails) == ("page:2", "first\n", "", False)
    assert (second.command, second.fails) == ("second \\\n  --with=more\n", True)
    assert second.prints == "what … it prints\n…\nend\n"
    assert third == Block("page:19", "third\n", "", "not run: no cluster has it")
    assert third.reason_not_to_run == "no cluster has it"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("NAME AGE\nx …\n", "NAME      \tAGE  \nx         3d\n", True),
        ("NAME AGE\nx …\n", "NAME      AGE\ny         3d\n", False),
        ("…\nend\n", "end\n", True),
        ("…\nend\n", "one\ntwo\nend\n", True),
        ("…\nend\n", "one\ntwo\nend\nmore\n", False),
        ("a.c (x)\n", "abc (x)\n", False),
        ("pod-… 1/1\n", "pod-7d4b-x2 1/1\n", True),
        ("pod-… 1/1\n", "pod-7d4b-x2 0/1\n", False),
    ],
)
def test_what_is_printed_is_compared(expected: str, printed: str, same: bool) -> None:
    """Every line has to be there; three dots stand for what differs, and widths of columns do not count."""
    assert matches(expected, printed) is same


def test_every_page_with_commands_is_part_of_the_story() -> None:
    """A command that nobody runs says why, so that a new page cannot be forgotten."""
    unrun = [block.place for block in BLOCKS if not block.reason_not_to_run and block.place.split(":")[0] not in STORY]

    assert unrun == []
    assert all(read_blocks(page) for page in STORY)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.place for block in BLOCKS])
def test_marks_are_understood(block: Block) -> None:
    """A comment above a command is one of those that mean something, and a reason is a reason."""
    assert block.mark in {"", "fails"} or len(block.reason_not_to_run.split()) > 3


@pytest.mark.parametrize("page", [*PAGES, DOCS / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every file and every heading that a page links to is there."""
    text = page.read_text(encoding="utf-8")
    for path, anchor in LINK.findall(text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"
    assert LINK.search(text)


def test_every_page_is_in_the_index() -> None:
    """No page of the documentation is missing in `docs/README.md`."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / path).resolve() for path, _ in LINK.findall(index)}
    pages = {page for folder in (DOCS, FOLDER) for page in folder.glob("*.md")} - {DOCS / "README.md"}

    assert pages - linked == set()


def test_figures_are_those_of_the_measurements() -> None:
    """Each figure of the sizing page stands in the benchmarks as well."""
    measured = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    table = (FOLDER / "sizing.md").read_text(encoding="utf-8").split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    figures = {row[0].strip(): re.findall(r"`([^`]*\d[^`]*)`", row[1]) for row in rows}
    unknown = {
        question: [
            figure for figure in found if not re.search(rf"(?<![\w.,]){re.escape(figure)}(?![\w.,]\d)", measured)
        ]
        for question, found in figures.items()
    }

    assert all(figures.values())
    assert {question: found for question, found in unknown.items() if found} == {}
