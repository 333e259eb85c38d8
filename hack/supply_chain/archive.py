"""Reads an OCI archive: its platforms, its layers, the file system that they make."""

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image."""

    digest: str
    compressed: int
    """Bytes that a node pulls."""
    content: bytes
    """The tar file."""


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image in an archive."""

    digest: str
    """Of its manifest: what a Pod can be pinned to."""
    architecture: str
    created: str
    configuration: dict[str, Any]
    """User, environment, labels, entry point."""
    layers: tuple[Layer, ...]

    @property
    def labels(self) -> dict[str, str]:
        """What the image says of itself."""
        labels: dict[str, str] = self.configuration["Labels"]
        return labels

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Give every file with its full name, lower layers first."""
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer.content)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is not None:
                        yield "/" + member.name.removeprefix("./").lstrip("/"), file.read()

    def unpack(self, folder: Path) -> None:
        """Write its file system; no layer takes anything away from a lower one."""
        folder.mkdir(parents=True, exist_ok=True)
        for layer in self.layers:
            unpack = ["tar", "--extract", "--preserve-permissions", "--directory", str(folder)]
            subprocess.run(unpack, input=layer.content, check=True)


def read_images(path: Path) -> tuple[str, list[Image]]:
    """Return the digest that a registry knows the whole archive by, and the image of every platform in it."""
    with tarfile.open(path) as archive:
        blobs = {each.name: _content(archive, each) for each in archive if each.isreg()}
    index = json.loads(blobs["index.json"])
    (entry,) = index["manifests"]
    manifest = json.loads(_blob(blobs, entry["digest"]))
    if manifest.get("mediaType") == _INDEX_TYPE or "manifests" in manifest:
        return entry["digest"], [_image(blobs, each["digest"]) for each in manifest["manifests"]]
    return entry["digest"], [_image(blobs, entry["digest"])]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _blob(blobs: dict[str, bytes], digest: str) -> bytes:
    return blobs[f"blobs/{digest.replace(':', '/')}"]


def _image(blobs: dict[str, bytes], digest: str) -> Image:
    manifest = json.loads(_blob(blobs, digest))
    configuration = json.loads(_blob(blobs, manifest["config"]["digest"]))
    layers = tuple(
        Layer(each["digest"], each["size"], gzip.decompress(_blob(blobs, each["digest"])))
        for each in manifest["layers"]
    )
    return Image(digest, configuration["architecture"], configuration["created"], configuration["config"], layers)
