"""The list of failures: every one is there, and every test that it names exists."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from rig.cache import REPOSITORY

PAGE = REPOSITORY / "docs" / "failures.md"
IDS = [f"S{number}" for number in range(1, 43)] + [f"R{number}" for number in range(1, 42)]
LINES = PAGE.read_text(encoding="utf-8").splitlines()
ROWS = [line.strip("|").split("|") for line in LINES if re.match(r"\| [SR]\d", line)]
NODE = re.compile(r"`(tests/[^`]+\.py::[^`]+)`")


def named(text: str) -> list[str]:
    """Return the tests that a text names."""
    return NODE.findall(text)


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Return every test of the files that the page names, with and without its parameters."""
    files = sorted({node.split("::", maxsplit=1)[0] for row in ROWS for node in named(row[2])})
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *files]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603 - ours.
    found = {line for line in done.stdout.splitlines() if "::" in line}
    assert found, done.stdout + done.stderr
    return found | {node.split("[", maxsplit=1)[0] for node in found}


def test_every_failure_is_listed_once() -> None:
    """S1 to S42 and R1 to R41, in order."""
    assert [row[0].strip() for row in ROWS] == IDS


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_failure_has_its_proof(row: list[str], collected: set[str]) -> None:
    """Each row says what fails and names tests that exist, or gives a reason in words."""
    _, failure, proof = (cell.strip() for cell in row)
    words = NODE.sub("", proof).strip(" ,;:")

    assert failure
    assert named(proof) or len(words.split()) > 5
    assert not set(named(proof)) - collected
