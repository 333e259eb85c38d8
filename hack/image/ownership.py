"""Which Debian packages the copied files belong to, written down where scanners of images look for it."""

import re
from pathlib import Path, PurePosixPath
from typing import Final

from image.tree import Tree

DATABASE: Final = "/var/lib/dpkg"
RECORDS: Final = f"{DATABASE}/status.d"
"""A file for each package, as in Google's distroless images: image scanners read them."""
_UNWANTED_FIELDS: Final = re.compile(r"^(Conffiles|Status):.*\n(?: .*\n)*", re.MULTILINE)


def write_records(base: Tree) -> list[str]:
    """Write the control data of every package that a copied file is of; return the names of the packages.

    Files that no package owns (a Python that was compiled) are of nobody; the caller records those.
    """
    control = _control_data(base.at(PurePosixPath(f"{DATABASE}/status")))
    owners = _owners(base)
    names = sorted({owners[each] for each in base.taken if each in owners})
    for name in names:
        base.write(f"{RECORDS}/{name}", _UNWANTED_FIELDS.sub("", control[name]))
    return names


def _control_data(status: Path) -> dict[str, str]:
    paragraphs = [each.strip() + "\n" for each in status.read_text().split("\n\n") if each.strip()]
    return {re.findall(r"^Package: (.+)$", each, re.MULTILINE)[0]: each for each in paragraphs}


def _owners(base: Tree) -> dict[PurePosixPath, str]:
    """Return the package of each file, under the file's real name: packages still say ``/lib`` for ``/usr/lib``."""
    folders: dict[PurePosixPath, PurePosixPath] = {}
    owners = {}
    for listing in sorted(base.at(PurePosixPath(f"{DATABASE}/info")).glob("*.list")):
        package = listing.stem.partition(":")[0]
        for line in listing.read_text().splitlines():
            name = PurePosixPath(line)
            if name.parent not in folders:
                folders[name.parent] = base.real(name.parent)
            owners[folders[name.parent] / name.name] = package
    return owners
