"""Base images with Python, made from Debian's packages: no image registry is needed, and no processor but ours.

debootstrap resolves, fetches and verifies the packages of a platform. They are unpacked here and never configured,
since that would run their programs: the operator's image takes single files out of a base, and none of those is made by
a maintainer script. The same steps make the base of each platform.
"""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from rig.buildah import PRIVATE_MOUNTS, Buildah
from rig.cache import cache_folder, digest_of, scratch
from rig.processes import run
from rig.progress import run_logged, step

_RELEASE: Final = "bookworm"
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
# Read by nobody in a container; a third of the base.
_LUGGAGE: Final = (
    "debootstrap",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)
# Changed with what this module does, so that bases of before are made anew.
_RECIPE: Final = "2"
_ARCHIVES: Final = "var/cache/apt/archives"
_ACCOUNTS: Final = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"}


def provide_base(store: Buildah, architecture: str) -> str:
    """Return a base image of a platform by its digest, made once and kept."""
    key = digest_of([], _RECIPE, _RELEASE, _PACKAGES, *_LUGGAGE)
    name = f"rig.local/python-{architecture}"
    if not store.has(f"{name}:{_RELEASE}-{key}"):
        with step(f"making a base image of Debian {_RELEASE} for {architecture}"):
            _make_base(store, f"{name}:{_RELEASE}-{key}", architecture)
    return f"{name}@{store.digest(f'{name}:{_RELEASE}-{key}')}"


def _make_base(store: Buildah, name: str, architecture: str) -> None:
    with scratch(cache_folder("images")) as folder:
        root, context = folder / "root", folder / "context"
        context.mkdir()
        # No mirror is named: debootstrap knows Debian's own.
        command = ["debootstrap", "--foreign", f"--arch={architecture}", "--variant=minbase", f"--include={_PACKAGES}"]
        run_logged([*PRIVATE_MOUNTS, *command, _RELEASE, str(root)], store.log)
        _unpack(root)
        for luggage in _LUGGAGE:
            shutil.rmtree(root / luggage, ignore_errors=True)
        # In a container, debootstrap makes these links to the machine's own.
        for mount_point in (root / "proc", root / "sys"):
            if mount_point.is_symlink():
                mount_point.unlink()
            mount_point.mkdir(exist_ok=True)
        for file, text in _ACCOUNTS.items():
            (root / "etc" / file).write_text(text)
        # Both exist already when a build mounts this machine's over them, so that no layer gets them as new files.
        (root / "etc/pip.conf").touch()
        (root / "etc/ssl/certs/ca-certificates.crt").touch()
        run_logged(["tar", "--numeric-owner", "-C", str(root), "-cf", str(context / "root.tar"), "."], store.log)
        (context / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        store.run_logged(["bud", "--platform", f"linux/{architecture}", "--tag", name, str(context)])


def _unpack(root: Path) -> None:
    """Unpack every package that debootstrap fetched, and record it as dpkg would."""
    database = root / "var/lib/dpkg"
    paragraphs = []
    for archive in sorted((root / _ARCHIVES).glob("*.deb")):
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        content = subprocess.run(command, capture_output=True, check=True).stdout
        # Folders that are links in a merged /usr stay links.
        unpack = ["tar", "--extract", "--preserve-permissions", "--keep-directory-symlink", "--directory", str(root)]
        subprocess.run(unpack, input=content, check=True)
        control = run(["dpkg-deb", "--field", str(archive)]).strip()
        paragraphs.append(control.replace("\n", "\nStatus: install ok unpacked\n", 1) + "\n")
        package = control.partition("\n")[0].removeprefix("Package: ")
        with tarfile.open(fileobj=io.BytesIO(content)) as files:
            names = [each.removeprefix(".").rstrip("/") or "/." for each in files.getnames()]
        (database / "info" / f"{package}.list").write_text("\n".join(names) + "\n")
    (database / "status").write_text("\n".join(paragraphs))
