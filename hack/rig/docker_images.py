"""The operator's image beside a Docker daemon: built by it, or built without it and loaded into it."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from rig.cache import REPOSITORY, cache_folder, digest_of, locked
from rig.docker import Docker
from rig.errors import RigError
from rig.images import OperatorImage, copied_files
from rig.progress import step

_NAME = "rig.local/replicated-proxy-operator-by-docker"


def build_with(docker: Docker) -> OperatorImage:
    """Have a daemon build the operator's image, on the base that the Dockerfile names: no root is needed here."""
    dockerfile = REPOSITORY / "Dockerfile"
    key = digest_of([dockerfile, *copied_files(REPOSITORY, dockerfile.read_text())])
    name, archive = f"{_NAME}:{key}", cache_folder("docker-images") / f"operator-{key}.tar"
    with locked(archive.parent):
        if not archive.exists():
            with step("building the operator's image by Docker"):
                docker.run("build", "--tag", name, str(REPOSITORY))
                unfinished = archive.with_suffix(".new")
                docker.run("save", "--output", str(unfinished), name)
                unfinished.rename(archive)
        elif name not in docker.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            docker.run("load", "--quiet", "--input", str(archive))
    return OperatorImage(archive, name, archive.stat().st_size)


def load_oci_archive(docker: Docker, archive: Path, name: str, folder: Path) -> None:
    """Load an OCI archive of one image into a daemon, old ones included, which know only Docker's own form."""
    translated = folder / "image.tar"
    with tarfile.open(archive) as oci, tarfile.open(translated, "w") as target:
        for member in oci.getmembers():
            target.addfile(member, oci.extractfile(member) if member.isfile() else None)
        _add(target, "manifest.json", _docker_manifest(oci, name))
    docker.run("load", "--quiet", "--input", str(translated))
    translated.unlink()


def _docker_manifest(oci: tarfile.TarFile, name: str) -> bytes:
    """Describe the image of an OCI archive in Docker's form; the blobs are the same."""
    index = _read(oci, "index.json")
    manifest = _read(oci, _blob(index["manifests"][0]["digest"]))
    layers = [_blob(layer["digest"]) for layer in manifest["layers"]]
    return json.dumps([{"Config": _blob(manifest["config"]["digest"]), "RepoTags": [name], "Layers": layers}]).encode()


def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _read(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = archive.extractfile(name) if name in archive.getnames() else None
    if file is None:
        raise RigError(f"{name} is missing: this is no OCI archive")
    found: dict[str, Any] = json.load(file)
    return found


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
