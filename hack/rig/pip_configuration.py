"""How pip reaches its packages on this machine, carried into a build that must not keep it."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_FIND_LINKS = "find-links"
# Empty folders that every Debian has: a mount point that had to be made would stay in the image.
_MOUNT_POINTS = ("/mnt", "/media", "/srv")


def host_configuration() -> list[tuple[str, str]]:
    """Return pip's options here, from its files and from PIP_* alike; later ones win."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse_listing(listed.stdout)


def parse_listing(text: str) -> list[tuple[str, str]]:
    """Read ``pip config list``: lines such as ``global.timeout='180'`` and ``:env:.timeout='180'``."""
    options = []
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            options.append((name.rpartition(".")[2], str(ast.literal_eval(value))))
    return options


def for_build(options: Iterable[tuple[str, str]], certificate_authorities: str) -> tuple[str, dict[str, str]]:
    """Return a pip.conf for the build, and where to mount the folders of this machine that it names."""
    chosen = {name: " ".join(value.split()) for name, value in options if name != "config-file"}
    chosen["cert"] = certificate_authorities
    places = chosen.get(_FIND_LINKS, "").split()
    folders = dict(zip((each for each in places if Path(each).is_dir()), _MOUNT_POINTS, strict=False))
    if places:
        chosen[_FIND_LINKS] = " ".join(folders.get(each, each) for each in places)
    lines = ["[global]", *(f"{name} = {value}" for name, value in chosen.items())]
    return "\n".join(lines) + "\n", folders
