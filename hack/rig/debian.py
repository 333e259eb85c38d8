"""Root file systems made of Debian's packages, kept in the cache and never changed."""

import os
from collections.abc import Sequence
from pathlib import Path

from rig import packages
from rig.buildah import PRIVATE_MOUNTS
from rig.cache import cache_folder, digest_of, locked, scratch
from rig.progress import run_logged, step

RELEASE = "bookworm"


def provide_root(purpose: str, included: Sequence[str]) -> Path:
    """Return a root with the packages of the smallest Debian and the given ones; made on the first call."""
    folder = cache_folder(f"debian-{purpose}-{digest_of([], RELEASE, *included)}")
    root = folder / "root"
    with locked(folder):
        if not root.exists():
            packages.ensure(packages.IMAGES)
            with step(f"installing Debian {RELEASE} with {', '.join(included)}"), scratch(folder) as unfinished:
                made = unfinished / "root"
                # No mirror is named: debootstrap knows Debian's own.
                command = ["debootstrap", "--variant=minbase", f"--include={','.join(included)}", RELEASE, str(made)]
                run_logged([*PRIVATE_MOUNTS, *command], folder / "debootstrap.log", env=_environment())
                made.rename(root)
    return root


def _environment() -> dict[str, str]:
    # Programs of administration, of the host and of the new root alike, stand outside a plain user's PATH.
    return {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "DEBIAN_FRONTEND": "noninteractive"}
