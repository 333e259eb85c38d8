"""System packages: installed when that is possible, named with the remedy otherwise."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rig.cache import cache_folder
from rig.errors import RigError
from rig.progress import run_logged, step


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package and how to see that it is there."""

    name: str
    program: str = ""
    header: str = ""

    @property
    def present(self) -> bool:
        """Whether what we need of it is on this machine, whoever put it there."""
        if self.header:
            folders = [Path("/usr/include"), Path("/usr/local/include")]
            return any((folder / self.header).exists() for folder in folders)
        # Administration programs are not on every user's PATH.
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return shutil.which(self.program, path=path) is not None


_C_COMPILER = Package("gcc", program="gcc")
_C_LIBRARY = Package("libc6-dev", header="stdio.h")
NODE = (
    Package("iptables", program="iptables"),
    Package("iproute2", program="ip"),
    Package("util-linux", program="nsenter"),
    Package("mount", program="mount"),
    Package("procps", program="sysctl"),
    _C_COMPILER,
    _C_LIBRARY,
    Package("pkg-config", program="pkg-config"),
    Package("libseccomp-dev", header="seccomp.h"),
)
EMULATION = (Package("qemu-user-static", program="qemu-aarch64-static"),)
IMAGES = (
    Package("buildah", program="buildah"),
    Package("debootstrap", program="debootstrap"),
    Package("util-linux", program="unshare"),
)


def ensure(packages: Iterable[Package]) -> None:
    """Install what is missing when root on Debian or Ubuntu; otherwise name all of it and the remedy at once."""
    missing = [package.name for package in packages if not package.present]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RigError(remedy(missing))
    with step(f"installing the system packages {', '.join(missing)}"):
        _install(missing)


def remedy(missing: Iterable[str]) -> str:
    """Say what is missing and how to get it, in one message."""
    names = " ".join(missing)
    return (
        f"missing system packages: {names}\n"
        f"on Debian or Ubuntu: sudo apt-get install --no-install-recommends {names}\n"
        "elsewhere: install what provides them, and try again"
    )


def _install(names: list[str]) -> None:
    log = cache_folder() / "apt-get.log"
    # Never ask: there may be nobody to answer.
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # Another apt-get may be at work: wait for it.
    patiently = ["-o", "DPkg::Lock::Timeout=300"]
    try:
        run_logged(["apt-get", *patiently, "update"], log, env=environment)
        run_logged(["apt-get", *patiently, "install", "--yes", "--no-install-recommends", *names], log, env=environment)
    except RigError as error:
        raise RigError(f"{error}\n{remedy(names)}") from None
