"""Docker where there is none: Debian's daemon in namespaces of its own, with its own data and socket (Linux, root)."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rig import cgroups, packages
from rig.debian import provide_root
from rig.docker import Docker
from rig.docker_process import DockerLayout
from rig.errors import RigError
from rig.namespaces import UNSHARE, namespaces_of
from rig.processes import Process
from rig.progress import step
from rig.sweeping import Sweeping, python_environment
from rig.up_and_down import UpAndDown

_READY_SECONDS = 120
_PACKAGES = ("docker.io", "iptables", "iproute2", "ca-certificates")


class AssembledDocker(UpAndDown):
    """A daemon that nobody else uses; a context manager. Nothing of it is left on the host afterwards."""

    def __init__(self) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise RigError("assembling Docker needs Linux and root (it makes namespaces and mounts); run it with sudo")
        packages.ensure(packages.NODE)
        self._base = provide_root("docker", _PACKAGES)
        self.workdir = Path(tempfile.mkdtemp(prefix="rig-docker-"))
        self._layout = DockerLayout(self.workdir)
        self._first: Process | None = None
        self._sweeping: Sweeping | None = None
        self.client = Docker(str(self._base / "usr/bin/docker"), {"DOCKER_HOST": f"unix://{self._layout.socket}"})

    def up(self) -> None:
        """Start the daemon and wait until it answers."""
        try:
            with step("starting a Docker of our own"):
                self._start()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End it with all its containers, and wait until nothing is left."""
        if self._first is not None:
            self._first.kill()
            self._first = None
        if self._sweeping is not None:
            self._sweeping.finish()
            self._sweeping = None
        shutil.rmtree(self.workdir, ignore_errors=True)

    def entering(self) -> list[str]:
        """Return what to put before a command of the host so that it runs in the daemon's network."""
        return ["nsenter", "--target", namespaces_of(self._layout.process_id, self._layout.log), "--net", "--"]

    def _start(self) -> None:
        groups = cgroups.create(self.workdir.name)
        self._sweeping = Sweeping.start(self.workdir, groups)
        self._layout.settings.write_text(json.dumps({"base": str(self._base), "client": self.client.program}))
        self._first = Process("docker", _command(groups, self.workdir), log=self._log, env=python_environment())
        self._first.start()
        self._layout.process_id.write_text(str(self._first.pid))
        self._first.wait_ready(self._layout.ready.exists, what="a daemon that answers", seconds=_READY_SECONDS)

    @property
    def _log(self) -> Path:
        return self.workdir / "logs" / "first-process.log"


def _command(groups: Sequence[Path], workdir: Path) -> list[str]:
    # As for a node (rig.node): the first process joins the groups before it makes its view of them.
    joining = [sys.executable, "-m", "rig.enter", *map(str, groups), "--", "unshare", "--cgroup"]
    return [*UNSHARE, *joining, sys.executable, "-m", "rig.docker_process", str(workdir)]
