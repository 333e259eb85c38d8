"""The operating guide as something that can be run: its commands, in order, and what it says that they print.

In `docs/operating/` every block of shell (three backticks, `sh`) is a command that a test runs, and a block of `text`
directly below it is what it prints. There `…` stands for anything within a line, and a line that is nothing but `…` for
any number of lines. A comment above a block says what differs:

- `<!-- fails -->`: the command is meant to fail, and does;
- `<!-- not run: … -->`: a test cannot run it, and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rig.cache import REPOSITORY

FOLDER: Final = REPOSITORY / "docs" / "operating"
STORY: Final = ("installing.md", "upgrading.md", "break-glass.md", "uninstalling.md")
"""The pages whose commands are run one after the other, as somebody reads them."""
_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^```sh\n(?P<command>.*?)^```\n(?:\n?^```text\n(?P<prints>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A command of the guide.

    Attributes:
        place: page and line, for error messages.
        command: lines of shell.
        prints: what the page says that it prints; empty where it says nothing.
        mark: what the comment above it says; empty where there is none.
    """

    place: str
    command: str
    prints: str
    mark: str

    @property
    def fails(self) -> bool:
        """Whether the page says that it fails."""
        return self.mark == "fails"

    @property
    def reason_not_to_run(self) -> str:
        """Why no test runs it; empty where one does."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else ""


def blocks_of(name: str, text: str) -> list[Block]:
    """Return the commands of a page, in order."""
    return [
        Block(
            place=f"{name}:{text.count(chr(10), 0, found.start('command'))}",
            command=found["command"],
            prints=found["prints"] or "",
            mark=found["mark"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def read_blocks(name: str) -> list[Block]:
    """Return the commands of a page of the guide."""
    return blocks_of(name, (FOLDER / name).read_text(encoding="utf-8"))


def matches(expected: str, printed: str) -> bool:
    """Tell whether a command printed what the page shows."""
    lines = [_pattern(line) for line in expected.rstrip("\n").split("\n")]
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


def _pattern(line: str) -> str:
    """Write one line of a page as an expression for whole lines."""
    if line.strip() == "…":
        return r"(?:[^\n]*\n)*"
    # Columns are as wide as their longest word, which differs from cluster to cluster.
    words = [re.escape(word).replace("…", r"[^\n]*") for word in line.split()]
    indent = "[ \t]+" if line.startswith(" ") else ""
    return indent + "[ \t]+".join(words) + r"[ \t]*\n"
