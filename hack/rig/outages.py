"""Takes something on a node away for a while: a program of its control plane, or the process in a container.

Everything is found through the host's view of processes, in which namespaces and control groups tell a node's own from
those of any other node.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.errors import RigError
from rig.layout import Layout
from rig.namespaces import entering
from rig.node import Node
from rig.waiting import wait_until

_PROC = Path("/proc")
_SECONDS = 30


@contextmanager
def program_away(node: Node, name: str) -> Iterator[None]:
    """Kill a program of the node, for example etcd, and start it again afterwards with the same command and data."""
    layout = Layout(node.workdir)
    enter = entering(layout)
    process = _process_of(node, name, namespace=_pid_namespace(_first_process(enter)))
    command, environment = (_words(process / file) for file in ("cmdline", "environ"))
    os.kill(int(process.name), signal.SIGKILL)
    wait_until(lambda: not _words(process / "cmdline"), what=f"the end of {name}", seconds=_SECONDS)
    try:
        yield
    finally:
        # A child of the node's first process, which buries it and takes it along in the end.
        script = 'log=$1; shift; exec setsid --fork "$@" >>"$log" 2>&1'
        log = str(layout.logs / f"{name}.log")
        node.run(["sh", "-c", script, "sh", log, "env", "-i", *environment, *command])


def signal_container(container_id: str, number: signal.Signals) -> None:
    """Send a signal to the first process of a container (`containerd://…`, as a Pod's status says)."""
    os.kill(container_process(container_id), number)


def container_process(container_id: str) -> int:
    """Return the host's number of the first process of a container (`containerd://…`, as a Pod's status says)."""
    name = container_id.rpartition("/")[2]
    found = [process for process in _processes() if name in _text(process / "cgroup") and _is_first(process)]
    if len(found) != 1:
        raise RigError(f"{len(found)} processes are the first of container {name}: is it running?")
    return int(found[0].name)


def _process_of(node: Node, name: str, namespace: str) -> Path:
    """Find the one process that a program runs as."""
    program = str(node.binaries[name])
    found = [
        process
        for process in _processes()
        if _words(process / "cmdline")[:1] == [program] and _pid_namespace(process) == namespace
    ]
    if len(found) != 1:
        raise RigError(f"{name} runs {len(found)} times on the node")
    return found[0]


def _first_process(enter: list[str]) -> Path:
    """Return the process whose namespaces are the node's."""
    return _PROC / enter[enter.index("--target") + 1]


def _processes() -> Iterator[Path]:
    return (folder for folder in _PROC.iterdir() if folder.name.isdigit())


def _is_first(process: Path) -> bool:
    """Tell whether a process is number 1 in its innermost namespace."""
    numbers = [line.split() for line in _text(process / "status").splitlines() if line.startswith("NSpid:")]
    return bool(numbers) and numbers[0][-1] == "1"


def _pid_namespace(process: Path) -> str:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""  # It has just ended.


def _words(file: Path) -> list[str]:
    return _text(file).rstrip("\0").split("\0") if _text(file) else []


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # It has just ended.
