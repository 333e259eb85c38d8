"""The image's lowest layer: an interpreter, the libraries that anything in the image loads, certificates, names."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from image.elf import read_elf
from image.tree import Tree

USER: Final = 65532
_INTERPRETERS: Final = ("/usr/local/bin/python3", "/usr/bin/python3")
_TRIPLETS: Final = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
# Loaded by name at run time, so that no file says it needs them: glibc ends threads with libgcc_s.
_LOADED_BY_NAME: Final = ("libgcc_s.so.1",)
# Of the standard library, what needs a terminal, a window or a file database, what tests it, and what installs.
_UNWANTED: Final = re.compile(
    r"(test|tests|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|pydoc_data|distutils|curses|dbm|sqlite3"
    r"|site-packages|dist-packages|__pycache__|config-.*|EXTERNALLY-MANAGED"
    r"|(_test|_xx|xx|_tkinter|_curses|readline|_dbm|_gdbm|_sqlite3|nis|ossaudiodev).*\.so)"
)
_CERTIFICATES: Final = PurePosixPath("/usr/share/ca-certificates")
_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
_SSL_FOLDERS: Final = ("/usr/lib/ssl", "/usr/local/ssl")
_OWN_FILES: Final = {
    "/etc/passwd": f"root:x:0:0:root:/:/\nnonroot:x:{USER}:{USER}:nonroot:/:/\n",
    "/etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}


def find_python(base: Tree) -> tuple[PurePosixPath, PurePosixPath]:
    """Return the interpreter of a base and the folder of its standard library.

    Raises:
        FileNotFoundError: the base has no Python.
    """
    for name in map(PurePosixPath, _INTERPRETERS):
        if base.exists(name):
            program = base.real(name)
            return program, program.parents[1] / "lib" / program.name
    raise FileNotFoundError(f"the base has no Python: none of {', '.join(_INTERPRETERS)}")


def take_python(base: Tree) -> None:
    """Copy the interpreter and the wanted part of its standard library."""
    program, library = find_python(base)
    base.take(program.with_name("python3"))
    _take_below(base, library)


def _take_below(base: Tree, folder: PurePosixPath) -> None:
    for path in sorted(base.at(folder).iterdir()):
        name = folder / path.name
        if _UNWANTED.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            _take_below(base, name)
        elif base.exists(name):
            base.take(name)


def take_libraries(base: Tree, architecture: str, trees: Iterable[Path]) -> None:
    """Copy every library that a file of ``trees`` or of the base's part needs, and what those need.

    Raises:
        FileNotFoundError: a library is nowhere.
    """
    by_name = [_take_library(base, architecture, name) for name in _LOADED_BY_NAME]
    waiting = [(path, tree) for tree in [base.target, *trees] for path in _files(tree)]
    waiting += [(base.made(name), base.target) for name in by_name]
    while waiting:
        path, tree = waiting.pop()
        elf = read_elf(path)
        if elf is None:
            continue
        if elf.interpreter:
            base.take(elf.interpreter)
        beside = [_beside(path, each) for each in elf.run_paths]
        for name in elf.needed:
            if any((folder / name).exists() for folder in beside):
                continue
            before = len(base.taken)
            real = _take_library(base, architecture, name, _places(path, tree, elf.run_paths))
            if len(base.taken) > before:
                waiting.append((base.made(real), base.target))


def _files(tree: Path) -> list[Path]:
    return sorted(each for each in tree.rglob("*") if each.is_file() and not each.is_symlink())


def _beside(path: Path, run_path: str) -> Path:
    return Path(run_path.replace("$ORIGIN", str(path.parent)).replace("${ORIGIN}", str(path.parent)))


def _places(path: Path, tree: Path, run_paths: Iterable[str]) -> list[PurePosixPath]:
    """Return where the loader looks first for what a file needs, in the names of the image."""
    origin = "/" + path.parent.relative_to(tree).as_posix()
    return [PurePosixPath(each.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)) for each in run_paths]


def _take_library(base: Tree, architecture: str, name: str, first: Iterable[PurePosixPath] = ()) -> PurePosixPath:
    triplet = _TRIPLETS[architecture]
    usual = (f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib", "/usr/lib", "/usr/local/lib")
    for folder in [*first, *map(PurePosixPath, usual)]:
        if base.exists(folder / name):
            return base.take(folder / name)
    raise FileNotFoundError(f"the base has no library {name}, which something in the image needs")


def write_configuration(base: Tree) -> None:
    """Write accounts, name resolution and the certificate authorities, the latter where OpenSSL looks for them."""
    for name, text in _OWN_FILES.items():
        base.write(name, text)
    base.take("/etc/os-release")
    authorities = sorted(base.at(_CERTIFICATES).rglob("*.crt"))
    if not authorities:
        raise FileNotFoundError(f"the base has no certificate authorities in {_CERTIFICATES}: install ca-certificates")
    base.write(_BUNDLE, "".join(path.read_text().rstrip("\n") + "\n" for path in authorities))
    base.taken.update(_CERTIFICATES / path.relative_to(base.at(_CERTIFICATES)) for path in authorities)
    for folder in _SSL_FOLDERS:
        link = base.made(folder) / "cert.pem"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(_BUNDLE)
    base.made("/tmp").mkdir()  # noqa: S108 - the image's, not ours.
    base.made("/tmp").chmod(0o1777)  # noqa: S108
