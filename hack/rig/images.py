"""Builds the operator's image from its Dockerfile, on bases made here: no image registry is needed."""

import os
import platform
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rig import buildah, packages, pip_configuration
from rig.bases import provide_base
from rig.buildah import Buildah
from rig.cache import REPOSITORY, cache_folder, digest_of, locked
from rig.progress import say, step

PLATFORMS: Final = ("amd64", "arm64")
"""The processors that there are images for."""
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_NAME: Final = "rig.local/replicated-proxy-operator"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class OperatorImage:
    """The built image."""

    archive: Path
    """An OCI archive, for ``load_image``."""
    name: str
    """Its full name; the tag changes with the content."""
    size: int
    """Bytes of the archive, compressed: what a node pulls."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What an image says of where it is from."""

    version: str
    revision: str
    epoch: int
    """When the sources last changed. Only a label has it: a layer that did not change is not pulled anew."""


def native_architecture() -> str:
    """Return what registries call this machine's processor."""
    return _MACHINES[platform.machine()]


def build_operator_image(context: Path = REPOSITORY, architecture: str = "") -> OperatorImage:
    """Build the image for a processor (ours where none is named), or return what was built from the same before."""
    architecture = architecture or native_architecture()
    name, archive = _place(context, architecture)
    with locked(cache_folder("images")):
        if not archive.exists():
            packages.ensure(packages.IMAGES)
            with buildah.store() as store, step(f"building the operator's image for {architecture}"):
                _build(store, architecture, context, name)
                _export(store, name, archive)
    image = OperatorImage(archive, name, archive.stat().st_size)
    say(f"operator image {image.name}: {image.size / 1e6:.1f} MB compressed")
    return image


def build_again(target: Path, context: Path = REPOSITORY, *, from_nothing: bool = True) -> None:
    """Build the image for this machine and write the archive, with nothing kept of earlier builds but the base."""
    architecture = native_architecture()
    name = f"{_NAME}-again:{architecture}"
    with locked(cache_folder("images")), buildah.store() as store:
        with step("building the operator's image again"):
            _build(store, architecture, context, name, *(["--no-cache"] if from_nothing else []))
        store.run_logged(["push", name, f"oci-archive:{target}:{name}"])


def build_for_all_platforms(target: Path, context: Path = REPOSITORY) -> str:
    """Write one archive with the image of every platform and return its name; ``skopeo copy --all`` pushes it."""
    images = [build_operator_image(context, architecture) for architecture in PLATFORMS]
    name = f"{_NAME}-platforms:{images[0].name.rpartition(':')[2]}"
    with locked(cache_folder("images")), buildah.store() as store:
        if store.has(name):
            store.run("manifest", "rm", name)
        store.run("manifest", "create", name)
        for image in images:
            # By the archive: a list keeps the digests that a node sees, which are of compressed layers.
            store.run("manifest", "add", name, f"oci-archive:{image.archive}")
        target.unlink(missing_ok=True)
        store.run_logged(["manifest", "push", "--all", name, f"oci-archive:{target}:{name}"])
    return name


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


def _place(context: Path, architecture: str) -> tuple[str, Path]:
    """Return the name and the archive of the image that these sources make."""
    sources, origin = _sources(context), _origin(context)
    recipe = digest_of([REPOSITORY / "hack/rig" / name for name in ("bases.py", "buildah.py", "images.py")])
    key = digest_of(sources, str(origin), recipe, root=context)
    name = f"{_NAME}-{architecture}:{key}" if architecture != native_architecture() else f"{_NAME}:{key}"
    return name, cache_folder("images") / f"operator-{architecture}-{key}.tar"


def _sources(context: Path) -> list[Path]:
    dockerfile = context / "Dockerfile"
    return [dockerfile, *copied_files(context, dockerfile.read_text())]


def _origin(context: Path) -> _Origin:
    """Return version, commit and time of the last change of what goes into the image; a change of docs is none."""
    version = tomllib.loads((context / "pyproject.toml").read_text())["project"]["version"]
    sources = [str(path.relative_to(context)) for path in _sources(context)]
    revision, _, committed = _git(context, "log", "-1", "--format=%H %ct", "--", *sources).strip().partition(" ")
    changed = bool(_git(context, "status", "--porcelain", "--", *sources).strip())
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or committed or 0)
    return _Origin(version, "" if changed else revision, epoch)


def _git(context: Path, *arguments: str) -> str:
    """Return what git says of the sources; nothing where they are no clone."""
    done = subprocess.run(["git", "-C", str(context), *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _build(store: Buildah, architecture: str, context: Path, name: str, *options: str) -> None:
    base, version = provide_base(store, architecture), _origin(context).version
    values = {"PYTHON_IMAGE": base, "BUILD_IMAGE": provide_base(store, native_architecture()), "VERSION": version}
    named = [f"--build-arg={key}={value}" for key, value in values.items()]
    # --layers: a change of the operator's code alone does not install its dependencies again. --timestamp: every file
    # has the same time, so that the same content is the same layer.
    fixed = ["--layers", "--pull-never", f"--platform=linux/{architecture}", f"--timestamp={buildah.FILE_TIME}"]
    unlabelled = f"{_NAME}-unlabelled:{architecture}"
    with _host_access() as volumes:
        store.run_logged(["bud", *fixed, *options, *named, *volumes, "--tag", unlabelled, str(context)])
    with tempfile.TemporaryDirectory(prefix="rig-labels-") as folder:
        Path(folder, "Dockerfile").write_text(f"FROM {unlabelled}\n")
        store.run_logged(["bud", *fixed, *_labels(context, base), "--tag", name, folder])


def _labels(context: Path, base: str) -> list[str]:
    """Return the options that say where an image is from.

    A build of their own takes them: in the Dockerfile, buildah would keep those of an earlier build of the same files;
    beside it, they would be in each layer's history, and an image of kept layers another one than a new image.
    """
    origin = _origin(context)
    labels = {
        "org.opencontainers.image.revision": origin.revision,
        "org.opencontainers.image.created": datetime.fromtimestamp(origin.epoch, UTC).isoformat(),
        "proxy.kots.io/python-image": base,
    }
    return [f"--label={key}={value}" for key, value in labels.items()]


@contextmanager
def _host_access() -> Iterator[Sequence[str]]:
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
    kind = archive.name.rpartition("-")[0]
    for outdated in archive.parent.glob(f"{kind}-*.tar"):
        outdated.unlink()
    unfinished.rename(archive)
