"""Docker's client: finding a daemon that answers, and talking to it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rig.processes import run

# A daemon of a desktop that is asleep may hang; nobody wants to wait for it to choose a cluster.
_ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Docker:
    """One daemon."""

    program: str
    """The client."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment that leads the client to the daemon; empty where the client finds it by itself."""

    @property
    def environment(self) -> dict[str, str]:
        """What programs that call ``docker`` need: kind does."""
        folder = str(Path(self.program).parent)
        return {**self.settings, "PATH": f"{folder}:{os.environ.get('PATH', '')}"}

    def command(self, *arguments: str) -> list[str]:
        """Return a command of the client that reaches the daemon whatever its environment."""
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        return [*(["env", *settings] if settings else []), self.program, *arguments]

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command of the client and return what it printed."""
        return run(self.command(*arguments), stdin=stdin)

    def obstacle(self) -> str:
        """Return what is wrong with the daemon, in the client's words; empty if it answers."""
        command = self.command("version", "--format", "{{.Server.Version}}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"no answer within {_ANSWER_SECONDS} s"
        return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def find() -> Docker | None:
    """Return the Docker of this machine, as the client finds it by itself; None where none answers."""
    program = shutil.which("docker")
    docker = Docker(program) if program else None
    return docker if docker is not None and not docker.obstacle() else None
