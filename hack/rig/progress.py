"""Shows that a long step is alive: elapsed time in place on a terminal, a line now and then elsewhere."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig.errors import RigError
from rig.processes import dying_with_parent, tail_of

_TERMINAL_SECONDS = 1.0
_LOG_SECONDS = 15.0


def say(message: str) -> None:
    """Tell the user, on standard error: standard output is for results."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Report a step that takes a while, with the time it has taken so far."""
    started = time.monotonic()
    ended = threading.Event()
    reporter = threading.Thread(target=_report, args=(title, started, ended), daemon=True)
    say(f"{title} …")
    reporter.start()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        ended.set()
        reporter.join()
        say(f"{title}: {outcome} in {_elapsed(started)}")


def run_logged(
    command: Sequence[str], log: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a long command with its output in a log; failure quotes the end of it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            dying_with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            check=False,
        )
    if done.returncode != 0:
        raise RigError(f"{command[0]} failed with status {done.returncode}\n--- end of {log}:\n{tail_of(log)}")


def _report(title: str, started: float, ended: threading.Event) -> None:
    terminal = sys.stderr.isatty()
    while not ended.wait(_TERMINAL_SECONDS if terminal else _LOG_SECONDS):
        if terminal:
            print(f"\r  {title}: {_elapsed(started)} ", end="\r", file=sys.stderr, flush=True)
        else:
            say(f"  {title}: {_elapsed(started)}")


def _elapsed(started: float) -> str:
    minutes, seconds = divmod(time.monotonic() - started, 60)
    return f"{minutes:.0f} min {seconds:02.0f} s" if minutes else f"{seconds:.1f} s"
