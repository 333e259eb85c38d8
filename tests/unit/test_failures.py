"""Pages that name tests: each line is there, and every test that it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

import pytest

from rig.cache import REPOSITORY

NODE: Final = re.compile(r"`(tests/[^`]+\.py::[^`]+)`")


@dataclass(frozen=True, slots=True)
class Page:
    """A page whose tables have an id in the first column and the proof in the last.

    Attributes:
        path: below `docs/`.
        ids: that it has to have, in order; each letter with the number of its lines.
        may_argue: whether a reason in words may stand for a test.
    """

    path: str
    ids: tuple[tuple[str, int], ...]
    may_argue: bool = False

    @property
    def expected(self) -> list[str]:
        """Every id in order."""
        return [f"{letter}{number}" for letter, count in self.ids for number in range(1, count + 1)]

    @property
    def rows(self) -> list[list[str]]:
        """The cells of each line with an id."""
        letters = "".join(letter for letter, _ in self.ids)
        lines = (REPOSITORY / "docs" / self.path).read_text(encoding="utf-8").splitlines()
        found = [line.strip("|").split(" | ") for line in lines if re.match(rf"\| [{letters}]\d", line)]
        return [[cell.strip() for cell in row] for row in found]


PAGES: Final = (
    Page("failures.md", (("S", 42), ("R", 41)), may_argue=True),
    Page("operating/failure-modes.md", (("F", 63),)),
    Page("operating/before-you-install.md", (("A", 16),)),
)
ROWS: Final = [(page, row) for page in PAGES for row in page.rows]


def named(text: str) -> list[str]:
    """Return the tests that a text names."""
    return NODE.findall(text)


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Return every test of the files that the pages name, with and without its parameters."""
    files = sorted({node.split("::", maxsplit=1)[0] for _, row in ROWS for node in named(row[-1])})
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *files]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603 - ours.
    found = {line for line in done.stdout.splitlines() if "::" in line}
    assert found, done.stdout + done.stderr
    return found | {node.split("[", maxsplit=1)[0] for node in found}


@pytest.mark.parametrize("page", PAGES, ids=[page.path for page in PAGES])
def test_every_line_is_there_once(page: Page) -> None:
    """The ids of a page are those expected, in order."""
    assert [row[0] for row in page.rows] == page.expected


@pytest.mark.parametrize(("page", "row"), ROWS, ids=[row[0] for _, row in ROWS])
def test_line_has_its_proof(page: Page, row: list[str], collected: set[str]) -> None:
    """Each line is complete and names tests that exist, or gives a reason in words where the page may."""
    proof = row[-1]
    words = NODE.sub("", proof).strip(" ,;:")

    assert all(row)
    assert named(proof) or (page.may_argue and len(words.split()) > 5)
    assert not set(named(proof)) - collected
