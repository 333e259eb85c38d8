"""Builds the operator's image from its Dockerfile, on a base made here: no image registry is needed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig import buildah, packages, pip_configuration
from rig.buildah import PRIVATE_MOUNTS, Buildah
from rig.cache import REPOSITORY, cache_folder, digest_of, locked, scratch
from rig.progress import run_logged, say, step

_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_BASE_RELEASE = "bookworm"
# Read by nobody in a container; a third of the base.
_BASE_LUGGAGE = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_NAME = "rig.local/replicated-proxy-operator"


@dataclass(frozen=True, slots=True)
class OperatorImage:
    """The built image."""

    archive: Path
    """An OCI archive, for ``load_image``."""
    name: str
    """Its full name; the tag changes with the content."""
    size: int
    """Bytes of the archive, compressed: what a node pulls."""


def build_operator_image(context: Path = REPOSITORY) -> OperatorImage:
    """Build the image, or return the one that was built from the same sources before."""
    dockerfile = context / "Dockerfile"
    sources = [dockerfile, *copied_files(context, dockerfile.read_text())]
    key = digest_of(sources, _BASE_PACKAGES, _BASE_RELEASE, root=context)
    name, folder = f"{_NAME}:{key}", cache_folder("images")
    archive = folder / f"operator-{key}.tar"
    with locked(folder):
        if not archive.exists():
            packages.ensure(packages.IMAGES)
            with buildah.store() as store:
                base = _provide_base(store)
                with step("building the operator's image"):
                    _build(store, base, context, name)
                    _export(store, name, archive)
    image = OperatorImage(archive, name, archive.stat().st_size)
    say(f"operator image {image.name}: {image.size / 1e6:.1f} MB compressed")
    return image


def copied_files(context: Path, dockerfile: str) -> list[Path]:
    """Return the files that a Dockerfile copies from the context: what its image depends on."""
    found: set[Path] = set()
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if not words or words[0].upper() not in {"COPY", "ADD"} or any(word.startswith("--from") for word in words):
            continue
        sources = [word for word in words[1:-1] if not word.startswith("--")]
        for source in sources:
            for path in context.glob(source.rstrip("/")):
                found.update(_files_below(path))
    return sorted(found)


def _files_below(path: Path) -> Iterator[Path]:
    for each in [path] if path.is_file() else path.rglob("*"):
        if each.is_file() and each.suffix != ".pyc":
            yield each


def _provide_base(store: Buildah) -> str:
    """Return a base image with Python, made from Debian packages once and kept."""
    key = digest_of([], _BASE_RELEASE, _BASE_PACKAGES, *_BASE_LUGGAGE)
    name = f"rig.local/python:{_BASE_RELEASE}-{key}"
    if not store.has(name):
        with step(f"making a base image of Debian {_BASE_RELEASE}"):
            _make_base(store, name)
    return name


def _make_base(store: Buildah, name: str) -> None:
    with scratch(cache_folder("images")) as folder:
        root, context = folder / "root", folder / "context"
        context.mkdir()
        # No mirror is named: debootstrap knows Debian's own.
        command = ["debootstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", _BASE_RELEASE, str(root)]
        run_logged([*PRIVATE_MOUNTS, *command], store.log)
        for luggage in _BASE_LUGGAGE:
            shutil.rmtree(root / luggage, ignore_errors=True)
        # Exists already when a build mounts pip's configuration over it, so that no layer gets it as a new file.
        (root / "etc/pip.conf").touch()
        tar = ["tar", "--numeric-owner", "-C", str(root), "-cf", str(context / "root.tar"), "."]
        run_logged(tar, store.log)
        (context / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        store.run_logged(["bud", "--tag", name, str(context)])


def _build(store: Buildah, base: str, context: Path, name: str) -> None:
    with _host_access() as volumes:
        # --layers: a change of the operator's code alone does not install its dependencies again.
        arguments = ["bud", "--layers", "--pull-never", "--build-arg", f"PYTHON_IMAGE={base}", *volumes]
        store.run_logged([*arguments, "--tag", name, str(context)])


@contextmanager
def _host_access() -> Iterator[list[str]]:
    """Lend the build what it needs to reach the packages from this network; mounted, so that no layer keeps it."""
    bundle = os.environ.get("SSL_CERT_FILE") or _CERTIFICATES
    text, folders = pip_configuration.for_build(pip_configuration.host_configuration(), _CERTIFICATES)
    with tempfile.TemporaryDirectory(prefix="rig-pip-") as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.write_text(text)
        mounts = {
            str(configuration): "/etc/pip.conf",
            bundle: _CERTIFICATES,
            **folders,
        }
        yield [f"--volume={source}:{target}:ro" for source, target in mounts.items() if Path(source).exists()]


def _export(store: Buildah, name: str, archive: Path) -> None:
    unfinished = archive.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    store.run_logged(["push", name, f"oci-archive:{unfinished}:{name}"])
    for outdated in archive.parent.glob("operator-*.tar"):
        outdated.unlink()
    unfinished.rename(archive)
