"""Control groups of the node's own, below the rig's, so that its limits hold and removing one folder removes all."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig.processes import run
from rig.waiting import wait_until

_REMOVAL_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy of control groups, of version 1 or 2."""

    mount_point: Path
    kind: str
    options: str
    own: Path
    """The group of this process."""


def hierarchies(mountinfo: str | None = None, membership: str | None = None) -> list[Hierarchy]:
    """Return the mounted hierarchies, read from /proc/self unless its text is given."""
    groups = _membership(membership or Path("/proc/self/cgroup").read_text())
    found = []
    for line in (mountinfo or Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        kind, _, super_options = after.split(" ", 2)
        if kind not in {"cgroup", "cgroup2"}:
            continue
        root, mount_point = before.split()[3:5]
        options = ",".join(option for option in super_options.split(",") if option not in {"rw", "ro", "xattr"})
        controllers = options if kind == "cgroup" else ""
        group = groups.get(controllers, "/")
        relative = group.removeprefix(root)
        found.append(Hierarchy(Path(mount_point), kind, controllers, Path(mount_point) / relative.strip("/")))
    return found


def _membership(text: str) -> dict[str, str]:
    """Map the controllers of each hierarchy to the path of this process's group."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {controllers: group for _, controllers, group in lines}


def create(name: str) -> list[Path]:
    """Make one group of that name in every hierarchy."""
    groups = []
    for hierarchy in hierarchies():
        # Version 2 forbids groups beside processes; ours goes below the root there, below our own elsewhere.
        parent = hierarchy.mount_point if hierarchy.kind == "cgroup2" else hierarchy.own
        group = parent / name
        group.mkdir()
        groups.append(group)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 starts a cpuset empty, and refuses processes in it until it is filled.
            if (group / file).exists() and hierarchy.kind == "cgroup":
                (group / file).write_text((parent / file).read_text())
    return groups


def join(groups: Iterable[Path]) -> None:
    """Move this process into the groups; its children follow."""
    for group in groups:
        (group / "cgroup.procs").write_text("0")


def remove(groups: Iterable[Path]) -> None:
    """End what is left in the groups (ours, whatever it is) and remove them."""
    for group in groups:
        wait_until(partial(_try_remove, group), what=f"an empty {group}", seconds=_REMOVAL_SECONDS)


def _try_remove(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        group = Path(folder)
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            group.rmdir()
    return not top.exists()


def mount_own() -> None:
    """Mount the hierarchies anew: seen from our cgroup namespace, our groups are the roots. Run inside the node."""
    mounted = hierarchies()
    top = Path("/sys/fs/cgroup")
    run(["mount", "-t", "sysfs", "sysfs", "/sys"])
    if [each.mount_point for each in mounted] == [top]:
        run(["mount", "-t", "cgroup2", "cgroup2", str(top)])
        _delegate(top)
        return
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroups", str(top)])
    for hierarchy in mounted:
        hierarchy.mount_point.mkdir(parents=True, exist_ok=True)
        options = ["-o", f"none,{hierarchy.options}" if "=" in hierarchy.options else hierarchy.options]
        kind = ["-t", hierarchy.kind, *(options if hierarchy.options else [])]
        run(["mount", *kind, hierarchy.kind, str(hierarchy.mount_point)])


def _delegate(top: Path) -> None:
    """Let groups below ours have controllers: version 2 demands that no process stays in ours."""
    leaf = top / "first"
    leaf.mkdir()
    (leaf / "cgroup.procs").write_text("0")
    controllers = (top / "cgroup.controllers").read_text().split()
    (top / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
