"""Starts the process that cleans up after this one, however this one ends."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.cache import REPOSITORY

_SECONDS = 60


def python_environment() -> dict[str, str]:
    """Return what Python needs to find this package, wherever it is started."""
    return {"PYTHONPATH": str(REPOSITORY / "hack")}


@dataclass(frozen=True, slots=True)
class Sweeping:
    """A rig.sweeper that waits for its turn."""

    process: subprocess.Popen[bytes]
    lifeline: int
    """Our end of its pipe. The kernel closes it when we end; no child inherits it."""

    @classmethod
    def start(cls, workdir: Path, groups: Sequence[Path] = ()) -> "Sweeping":
        """Have ``workdir`` and the control groups removed when this process is gone."""
        read_end, lifeline = os.pipe()
        command = [sys.executable, "-m", "rig.sweeper", str(read_end), str(workdir), *map(str, groups)]
        # A session of its own and no tie to our life: it must outlive us, whatever ends us.
        process = subprocess.Popen(
            command, pass_fds=[read_end], env={**os.environ, **python_environment()}, start_new_session=True
        )
        os.close(read_end)
        return cls(process, lifeline)

    def finish(self) -> None:
        """Have it done now, and wait for it."""
        os.close(self.lifeline)
        self.process.wait(_SECONDS)
