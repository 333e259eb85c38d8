"""Child processes: each has a log file, is stopped by its handle, and never outlives the rig."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rig.errors import RigError
from rig.waiting import wait_until

_TAIL_LINES = 20

# The kernel ties "signal me when my parent dies" to the THREAD that started the child, so children started from a
# short-lived worker thread would die with it. This one thread starts them all and lives as long as the process.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rig-spawner")


def tail_of(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log, for error messages."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(empty log)"


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """Wrap ``command`` so that the kernel kills it when its parent ends, however that happens.

    ``setpriv`` (util-linux) sets PR_SET_PDEATHSIG and then becomes the command, so the handle stays right. Doing it
    between fork and exec in Python instead is unsafe beside threads. Where it is missing, only orderly ends are clean.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)


class Process:
    """A long-running child with a name, a log file, and the same command each time it is started."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(env or {})
        self._pass_fds: tuple[int, ...] = ()
        self._popen: subprocess.Popen[bytes] | None = None

    def inheriting(self, *descriptors: int) -> "Process":
        """Let the child keep these open file descriptors."""
        self._pass_fds = descriptors
        return self

    @property
    def pid(self) -> int:
        """The process ID of the running child."""
        if self._popen is None:
            raise RigError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the child was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start the child; its output is appended to the log."""
        if self.running:
            return
        self._popen = _SPAWNER.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                dying_with_parent(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                pass_fds=self._pass_fds,
                # A session of its own: Ctrl-C reaches the rig alone, which then stops its children in order.
                start_new_session=True,
            )

    def stop(self, seconds: float = 15) -> None:
        """End the child with SIGTERM, with SIGKILL if it does not listen, and wait for it."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen = None

    def kill(self) -> None:
        """End the child with SIGKILL, as a crash would."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def wait_ready(self, condition: Callable[[], object], *, what: str, seconds: float) -> None:
        """Wait for ``condition``; if it does not come or the child ends, say so with the end of its log."""

        def ready() -> bool:
            if not self.running:
                raise RigError(f"{self.name} ended before {what}")
            return bool(condition())

        try:
            wait_until(ready, what=f"{self.name}: {what}", seconds=seconds)
        except RigError as error:
            raise RigError(f"{error}\n--- end of {self.log}:\n{tail_of(self.log)}") from None


def run(command: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a short command to its end and return its standard output; failure quotes both streams."""
    done = subprocess.run(
        list(command), input=stdin, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RigError(
            f"{' '.join(command)!r} failed with status {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout
