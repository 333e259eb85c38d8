"""buildah with a store of its own in the cache, so that nobody's images or mounts are touched."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rig.cache import cache_folder, scratch
from rig.errors import RigError
from rig.processes import run
from rig.progress import run_logged

FILE_TIME: Final = 0
"""The time of every file in a layer, in seconds since 1970, so that equal files make equal layers."""
# A mount namespace that ends with the command: layers that it mounts are gone with it, however it ends.
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--fork", "--kill-child", "--")


@dataclass(frozen=True, slots=True)
class Buildah:
    """Runs buildah against one store."""

    root: Path
    run_root: Path
    driver: str
    log: Path

    def run(self, *arguments: str) -> str:
        """Run a short command and return what it printed."""
        return run([*self._command(), *arguments], env=_environment())

    def run_logged(self, arguments: Sequence[str]) -> None:
        """Run a long command with its output in the log."""
        run_logged([*self._command(), *arguments], self.log, env=_environment())

    def has(self, image: str) -> bool:
        """Whether the store holds an image."""
        return image in self.run("images", "--all", "--format", "{{.Name}}:{{.Tag}}").split()

    def digest(self, image: str) -> str:
        """Return the digest of an image's manifest in the store."""
        return self.run("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", image).strip()

    def _command(self) -> list[str]:
        store = ["--root", str(self.root), "--runroot", str(self.run_root), "--storage-driver", self.driver]
        return [*PRIVATE_MOUNTS, "buildah", *store]


@contextmanager
def store() -> Iterator[Buildah]:
    """Open the store in the cache."""
    driver = _driver()
    folder = cache_folder("images")
    # What buildah remembers of earlier builds it takes whatever time was asked for then: another time, another store.
    root = folder / f"{driver}-{FILE_TIME}"
    # buildah keeps the network it once chose although no build here uses one, and fails when its program is gone.
    (root / "defaultNetworkBackend").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="rig-buildah-") as run_root:
        yield Buildah(root, Path(run_root), driver, folder / "build.log")


def _environment() -> dict[str, str]:
    # chroot: RUN needs no container runtime and no network of its own, which is what works inside containers too.
    return {"BUILDAH_ISOLATION": "chroot"}


def _driver() -> str:
    """Return overlay where the cache's file system takes it, and copies of whole layers elsewhere."""
    if os.environ.get("STORAGE_DRIVER"):
        return os.environ["STORAGE_DRIVER"]
    with scratch(cache_folder("images")) as trial:
        folders = {name: trial / name for name in ("lower", "upper", "work", "merged")}
        for folder in folders.values():
            folder.mkdir()
        options = ",".join(f"{name}dir={folders[name]}" for name in ("lower", "upper", "work"))
        try:
            run([*PRIVATE_MOUNTS, "mount", "-t", "overlay", "-o", options, "overlay", str(folders["merged"])])
        except RigError:
            return "vfs"
    return "overlay"
