"""The folder outside the repository that keeps what is expensive to make."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, made if it is missing."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home.joinpath("replicated-proxy-operator", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``; the kernel releases the lock even if we are killed."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder for unfinished work, to whoever holds the lock; what a crash left in it is removed."""
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def digest_of(files: Iterable[Path], *words: str, root: Path = REPOSITORY) -> str:
    """Return a short key that changes with the name or content of any file, or with any of ``words``."""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    digest.update("\0".join(words).encode())
    return digest.hexdigest()[:16]
