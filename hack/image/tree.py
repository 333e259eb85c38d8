"""Copies single files out of a file system, with the links on the way to them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_MOST_LINKS: Final = 40  # as in the kernel
_ROOT: Final = PurePosixPath("/")


class Tree:
    """A part of a root file system, in the making."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source = source
        self.target = target
        self.taken: set[PurePosixPath] = set()
        """Real names of the copied files, as they are in ``source``."""
        target.mkdir(parents=True, exist_ok=True)

    def take(self, name: PurePosixPath | str) -> PurePosixPath:
        """Copy a file, or make a folder; links on the way become the same links. Return its real name.

        Raises:
            FileNotFoundError: there is no such file in the source.
        """
        real = _ROOT
        for step, pointer in self._walk(PurePosixPath(name)):
            if pointer is None:
                self._copy(step)
                real = step
            elif not self.made(step).is_symlink():
                self.made(step).symlink_to(pointer)
        return real

    def real(self, name: PurePosixPath | str) -> PurePosixPath:
        """Return the name of the same file in the source, without links."""
        plain = [step for step, pointer in self._walk(PurePosixPath(name)) if pointer is None]
        return plain[-1] if plain else _ROOT

    def exists(self, name: PurePosixPath | str) -> bool:
        """Whether the source has a file or folder of that name, links inside it followed."""
        return self.at(self.real(name)).exists()

    def at(self, name: PurePosixPath) -> Path:
        """Return where a file of the source is for us."""
        return self.source / name.relative_to(_ROOT)

    def made(self, name: PurePosixPath | str) -> Path:
        """Return where a file of the part is for us."""
        return self.target / PurePosixPath(name).relative_to(_ROOT)

    def write(self, name: str, text: str) -> None:
        """Write a file that the source does not have."""
        self.made(name).parent.mkdir(parents=True, exist_ok=True)
        self.made(name).write_text(text)

    def _walk(self, name: PurePosixPath) -> Iterator[tuple[PurePosixPath, PurePosixPath | None]]:
        """Give every step on the way to a file, and where it points if it is a link."""
        done, rest, links = _ROOT, list(name.parts[1:]), 0
        while rest:
            part = rest.pop(0)
            step = done.parent if part == ".." else done / part
            if not self.at(step).is_symlink():
                done = step
                yield step, None
                continue
            links += 1
            if links > _MOST_LINKS:
                raise FileNotFoundError(f"{name}: more than {_MOST_LINKS} links on the way")
            pointer = PurePosixPath(self.at(step).readlink())
            yield step, pointer
            if pointer.is_absolute():
                done, rest = _ROOT, [*pointer.parts[1:], *rest]
            else:
                rest = [*pointer.parts, *rest]

    def _copy(self, name: PurePosixPath) -> None:
        origin, target = self.at(name), self.made(name)
        if origin.is_dir():
            target.mkdir(exist_ok=True)
        elif not origin.exists():
            raise FileNotFoundError(f"the base has no {name}")
        elif name not in self.taken:
            shutil.copyfile(origin, target)
            # Modules that could be started as scripts are modules here.
            runs = os.access(origin, os.X_OK) and origin.suffix != ".py"
            target.chmod(0o755 if runs else 0o644)
            self.taken.add(name)
