"""Image archives around a program or a few files, written by hand: no base image, no builder, no network."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def pack(program: Path, name: str, archive: Path) -> Path:
    """Write a docker-style archive: one layer with ``program``, which is also the entry point."""
    return pack_files({program.name: program}, name, archive)


def pack_files(files: Mapping[str, Path], name: str, archive: Path) -> Path:
    """Write such an archive with all of ``files``, by their paths in the image; the first is the entry point."""
    layer = _tar({path: file.read_bytes() for path, file in files.items()}, mode=0o755)
    configuration = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        # The name as a label: images of different names have different digests.
        "config": {"Entrypoint": [f"/{next(iter(files))}"], "Labels": {"rig.name": name}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {
        "config.json": json.dumps(configuration).encode(),
        "manifest.json": json.dumps(manifest).encode(),
        "layer.tar": layer,
    }
    archive.write_bytes(_tar(parts, mode=0o644))
    return archive


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
