"""What keeps the traces of a run on a node: it goes on when what it looks at goes, and ends when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Final

import pytest

from kept import KeptLogs, KeptObjects
from rig.waiting import wait_until

LOG: Final = Path("ns_pod_uid") / "main" / "0.log"
# Watches until it is ended, whatever it is asked for.
WATCH: Final = ["tail", "--follow", "/dev/null", "--"]


class Vanishing(PosixPath):
    """A folder of Pods one of which goes while it is looked into, the first time."""

    looks = 0

    def glob(self, pattern: str) -> Iterator[Path]:  # type: ignore[override]
        """Find files, the second time."""
        Vanishing.looks += 1
        if Vanishing.looks == 1:
            raise FileNotFoundError(self)
        return super().glob(pattern)


def test_folder_that_goes_meanwhile_ends_no_look_for_good(tmp_path: Path) -> None:
    """The kubelet deletes a Pod's folder when it likes; what is written afterwards is kept all the same."""
    file = tmp_path / "pods" / LOG
    file.parent.mkdir(parents=True)
    file.write_text("a line")
    with KeptLogs(Vanishing(tmp_path / "pods"), "ns", tmp_path / "kept") as kept:
        wait_until(kept.places, what="the file", seconds=20)

    assert list(kept.places().values()) == ["a line"]


def test_watch_that_begins_while_everything_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends the watches may have looked for them just before."""
    kept = KeptObjects(WATCH, "a-secret", tmp_path)
    ending = threading.Event()
    waits = iter([False])
    monkeypatch.setattr(ending, "wait", lambda _: next(waits, True))
    monkeypatch.setattr(kept, "_ending", ending)
    ending.set()
    watching = threading.Thread(target=kept._watch, args=("events",), daemon=True)
    watching.start()
    watching.join(60)

    assert not watching.is_alive()
