"""The steps of the image's build: ``python3 -m image install``, ``below`` and ``operator``."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from image import ownership, packages, system
from image.elf import MACHINES, read_elf
from image.tree import Tree

LAYERS: Final = ("system", "dependencies", "operator")
"""Folders of the output: what changes least comes first."""
_MACHINE_NAMES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# Every module of ours loads from what is left, and what kopf looks for in the client is there.
_TRIAL: Final = f"""
import importlib, pkgutil, kopf, {packages.OPERATOR}
from kubernetes.client import V1ObjectMeta
for found in pkgutil.walk_packages({packages.OPERATOR}.__path__, "{packages.OPERATOR}."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def _install(arguments: argparse.Namespace) -> None:
    packages.install(arguments.pip, arguments.architecture, arguments.target, arguments.rest)


def _below(arguments: argparse.Namespace) -> None:
    """Write the layers that an edit of the operator does not change."""
    base = Tree(arguments.base, arguments.output / "system")
    dependencies = arguments.output / "dependencies"
    python = _checked_python(base, arguments.architecture)
    packages.lay_dependencies(arguments.installed, dependencies, python)
    system.take_python(base)
    system.take_libraries(base, arguments.architecture, [dependencies])
    system.write_configuration(base)
    print("Debian packages:", *ownership.write_records(base))
    for tree in (base.target, dependencies):
        _compile(tree)
        _settle(tree)


def _operator(arguments: argparse.Namespace) -> None:
    base = Tree(arguments.output / "system", arguments.output / "operator")
    python, _ = system.find_python(base)
    packages.lay_operator(arguments.installed, base.target, python, arguments.version)
    _compile(base.target)
    _settle(base.target)
    if _MACHINE_NAMES[arguments.architecture] == platform.machine():
        _try_out([arguments.output / layer for layer in LAYERS])


def _checked_python(base: Tree, architecture: str) -> PurePosixPath:
    """Return the base's interpreter; refuse a base that this Python cannot prepare an image of."""
    program, _ = system.find_python(base)
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if program.name != ours:
        raise ValueError(f"the base has {program.name}, the builder {ours}: use the same version for both")
    elf = read_elf(base.at(program))
    if elf is None or elf.machine != MACHINES[architecture]:
        raise ValueError(f"the base's Python is not for {architecture}: choose a base of that platform")
    return program


def _compile(tree: Path) -> None:
    """Make bytecode here, to be trusted without a look at the source: the file system is read-only when it runs."""
    # A process of its own with a fixed seed: the order of sets goes into the bytecode.
    command = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode=unchecked-hash",
        "-s",
        str(tree),
        "-p",
        "/",
    ]
    subprocess.run([*command, str(tree)], check=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def _try_out(trees: list[Path]) -> None:
    """Load every module in the finished file system, where the processor is our own."""
    with tempfile.TemporaryDirectory() as root:
        for tree in trees:
            subprocess.run(["cp", "--recursive", "--no-dereference", "--link", f"{tree}/.", root], check=True)
        python = str(packages.HOME / "bin/python")
        environment = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}
        subprocess.run(["chroot", root, python, "-c", _TRIAL], check=True, env={**os.environ, **environment})


def _settle(tree: Path) -> None:
    """Give every file the same time, so that the same content is the same layer."""
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (0, 0), follow_symlinks=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="image", description="Makes the file systems of the operator's image.")
    parser.add_argument("--architecture", choices=sorted(MACHINES), required=True)
    commands = parser.add_subparsers(required=True)
    install = commands.add_parser("install", help="install wheels for a platform that need not be this one")
    install.set_defaults(action=_install)
    install.add_argument("--pip", type=Path, required=True)
    install.add_argument("--target", type=Path, required=True)
    install.add_argument("rest", nargs="+", help="pip's own arguments, after --")
    below = commands.add_parser("below", help="write the layers below the operator's: system and dependencies")
    below.set_defaults(action=_below)
    below.add_argument("--base", type=Path, required=True, help="the root of the base's file system")
    operator = commands.add_parser("operator", help="write the operator's layer, and try all three out")
    operator.set_defaults(action=_operator)
    operator.add_argument("--version", required=True)
    for command in (below, operator):
        command.add_argument("--installed", type=Path, required=True)
        command.add_argument("--output", type=Path, required=True)
    return parser


def main() -> int:
    """Take one step; what is wrong is said in one line."""
    arguments = _parser().parse_args()
    try:
        arguments.action(arguments)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
