"""The first process of an assembled Docker: ``python -m rig.docker_process WORKDIR``, inside its namespaces.

It lays a root of Debian's packages under a writable folder, gives it control groups and a network that leads nowhere,
starts the daemon, says when that answers, and then only reaps. Its end is the end of the daemon and all containers.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rig import cgroups
from rig.docker import Docker
from rig.first_process import hold_signals, reap
from rig.namespaces import prepare_network
from rig.processes import Process, run

_READY_SECONDS = 90
# Of the machine that the daemon believes to be on; away from the networks that a cluster has (rig.layout).
_ADDRESS, _GATEWAY = "10.8.0.2", "10.8.0.1"
RUNTIME = "rig-runtime"
# Debian's runc asks for every capability for a privileged container, and fails where root itself lacks one, as it does
# inside containers. This one stands in for it: it takes CAP_SYS_RESOURCE out of what is asked for, in the bundle of a
# container and in the description of a command that is run in one.
RUNTIME_SCRIPT = """#!/bin/sh
previous= asked=
for word; do
  case $previous in
    --bundle|-b) asked=$word/config.json ;;
    --process|-p) asked=$word ;;
  esac
  previous=$word
done
if [ -n "$asked" ]; then
  sed -i -e 's/"CAP_SYS_RESOURCE",//g' -e 's/,"CAP_SYS_RESOURCE"//g' -e 's/"CAP_SYS_RESOURCE"//g' "$asked"
fi
exec runc "$@"
"""
# Not just chroot: what enters a container's mounts by their namespace lands at the root of that namespace, and after a
# chroot that is still the host's.
_ENTERING = """
cd "$1"; shift
pivot_root . mnt
exec chroot . sh -c 'umount -l /mnt; exec "$@"' sh "$@"
"""


@dataclass(frozen=True, slots=True)
class DockerLayout:
    """The files of one daemon; the host and its first process agree on them through this."""

    workdir: Path

    @property
    def root(self) -> Path:
        """The root file system that the daemon sees."""
        return self.workdir / "root"

    @property
    def socket(self) -> Path:
        """Where it answers; the same path on both sides."""
        return self.workdir / "docker.sock"

    @property
    def settings(self) -> Path:
        """What the host tells the first process."""
        return self.workdir / "docker.json"

    @property
    def ready(self) -> Path:
        """Appears when the daemon answers."""
        return self.workdir / "ready"

    @property
    def process_id(self) -> Path:
        """The ID, on the host, of the process that made the namespaces."""
        return self.workdir / "pid"

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.workdir / "logs" / "dockerd.log"


def serve(layout: DockerLayout, settings: Mapping[str, str]) -> None:
    """Bring the daemon up, then stay until told to end."""
    hold_signals()
    run(["hostname", "rig-docker"])
    cgroups.mount_own()
    prepare_network([_ADDRESS], _GATEWAY)
    _lay_root(layout, Path(settings["base"]))
    daemon = Process("dockerd", _command(layout), log=layout.log, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    daemon.start()
    client = Docker(settings["client"], {"DOCKER_HOST": f"unix://{layout.socket}"})
    daemon.wait_ready(lambda: not client.obstacle(), what="an answer", seconds=_READY_SECONDS)
    layout.ready.touch()
    reap()


def _lay_root(layout: DockerLayout, base: Path) -> None:
    """Show the daemon the base with a writable layer, the machine's kernel interfaces, and the working folder."""
    root, upper, work, data = layout.root, layout.workdir / "upper", layout.workdir / "work", layout.workdir / "data"
    for folder in (root, upper, work, data):
        folder.mkdir()
    run(["mount", "-t", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={work}", "overlay", str(root)])
    for name in ("proc", "sys", "dev"):
        run(["mount", "--rbind", f"/{name}", str(root / name)])
    run(["mount", "-t", "tmpfs", "tmpfs", str(root / "run")])
    # Images lie on a file system of the host: overlays do not stand on one another.
    (root / "var/lib/docker").mkdir(parents=True, exist_ok=True)
    run(["mount", "--bind", str(data), str(root / "var/lib/docker")])
    # Under the same path as outside: the socket, and what is mounted from here into containers.
    inside = root / layout.workdir.relative_to("/")
    inside.mkdir(parents=True)
    run(["mount", "--bind", str(layout.workdir), str(inside)])
    # Nobody answers names there, and says so at once.
    (root / "etc/resolv.conf").write_text(f"nameserver {_ADDRESS}\n")
    runtime = root / "usr/local/bin" / RUNTIME
    runtime.write_text(RUNTIME_SCRIPT)
    runtime.chmod(0o755)


def _command(layout: DockerLayout) -> list[str]:
    # Mounts of the daemon's own, since the first process keeps the host's programs in sight.
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTERING, "sh", str(layout.root)),
        "dockerd",
        f"--host=unix://{layout.socket}",
        "--storage-driver=overlay2",
        f"--add-runtime={RUNTIME}=/usr/local/bin/{RUNTIME}",
        f"--default-runtime={RUNTIME}",
    ]


if __name__ == "__main__":
    given = DockerLayout(Path(sys.argv[1]))
    os.chdir("/")
    serve(given, json.loads(given.settings.read_text()))
