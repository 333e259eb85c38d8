"""The image's upper layers: the dependencies and the operator, as a virtual environment without an installer."""

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Container, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from image.elf import read_elf, without_symbols

HOME: Final = PurePosixPath("/opt/replicated-proxy")
OPERATOR: Final = "replicated_proxy"
_DISTRIBUTION: Final = "replicated_proxy_operator"
_WHEEL_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# The versions of glibc that wheels are made for, up to the one of the oldest base that we take.
_GLIBC_MINORS: Final = (17, 24, 26, 27, 28, 31, 34, 35)
# Left out: sources of compiled modules, type stubs, tests, where the builder had our wheel.
_UNWANTED: Final = re.compile(
    r".*\.(c|h|pxd|pxi|pyi|pyx|hpp|cpp)|.*_test\.py|_testcapi\..*|__pycache__|py\.typed|direct_url\.json"
)
# The generated models and calls of the Kubernetes client load only for callers that want typed objects. We send and get
# plain JSON; the models that kopf looks for stay. Of the languages that Pygments colours, those that we print stay.
_NOTHING: Final = frozenset({"__init__.py"})
_MODELS: Final = _NOTHING | {"v1_managed_fields_entry.py", "v1_object_meta.py", "v1_owner_reference.py"}
_TRIMMED: Final = {
    "kubernetes/client/api": _NOTHING,
    "kubernetes/client/models": _MODELS,
    "kubernetes/aio/client/api": _NOTHING,
    "kubernetes/aio/client/models": _MODELS,
    "pygments/lexers": _NOTHING | {"_mapping.py", "data.py", "diff.py", "python.py", "special.py"},
}


def install(pip: Path, architecture: str, target: Path, arguments: Sequence[str]) -> None:
    """Install wheels for a platform, which need not be this one: nothing of them runs."""
    machine = _WHEEL_MACHINES[architecture]
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS]
    platforms += [f"--platform=manylinux2014_{machine}"]
    wheels = ["--only-binary=:all:", "--no-deps", "--no-compile"]
    command = [str(pip), "install", f"--target={target}", *wheels, *platforms, *arguments]
    subprocess.run(command, check=True)


def lay_dependencies(installed: Path, tree: Path, python: PurePosixPath) -> None:
    """Write the layer of others' packages, without what nobody runs, and the environment that they are in."""
    library = _library(tree, python)
    _copy_packages(installed, library)
    for folder, kept in _TRIMMED.items():
        _keep(library / folder, kept)
    home = tree / HOME.relative_to("/")
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to(python.with_name("python3"))
    version = ".".join(str(each) for each in sys.version_info[:3])
    configuration = f"home = {python.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    (home / "pyvenv.cfg").write_text(configuration)


def lay_operator(installed: Path, tree: Path, python: PurePosixPath, version: str) -> None:
    """Write the layer of our own package and its commands.

    Raises:
        ValueError: the operator is of another version than the image is said to be.
    """
    information = next(installed.glob(f"{_DISTRIBUTION}-*.dist-info"))
    found = information.name.removesuffix(".dist-info").rpartition("-")[2]
    if found != version:
        raise ValueError(f"the operator is version {found}, the image is said to be {version}: set VERSION={found}")
    _copy_packages(installed, _library(tree, python))
    _write_commands(tree, information / "entry_points.txt")


def _library(tree: Path, python: PurePosixPath) -> Path:
    return tree / HOME.relative_to("/") / "lib" / python.name / "site-packages"


def _copy_packages(installed: Path, library: Path) -> None:
    for path in sorted(installed.iterdir()):
        if path.name != "bin":  # commands for the Python that installed
            _copy(path, library / path.name)


def _copy(source: Path, target: Path) -> None:
    if _UNWANTED.fullmatch(source.name):
        return
    if source.is_dir():
        for each in sorted(source.iterdir()):
            _copy(each, target / each.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if read_elf(source) is None:
        shutil.copyfile(source, target)
    else:
        target.write_bytes(without_symbols(source.read_bytes()))


def _keep(folder: Path, kept: Container[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()


def _write_commands(tree: Path, entry_points: Path) -> None:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(entry_points)
    folder = tree / HOME.relative_to("/") / "bin"
    folder.mkdir(parents=True)
    for name, place in parser["console_scripts"].items():
        module, _, function = place.partition(":")
        script = folder / name
        lines = (f"#!{HOME}/bin/python", "import sys", f"from {module} import {function}", f"sys.exit({function}())")
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)
