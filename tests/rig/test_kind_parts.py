"""What a cluster of kind is made from, as far as that needs no Docker."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from demo.visiting import values
from rig.archives import pack_files
from rig.docker import Docker
from rig.docker_images import build_with, load_oci_archive
from rig.docker_process import RUNTIME_SCRIPT
from rig.errors import RigError
from rig.kind import write_configuration

CAPABILITIES = ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"]
WITHOUT = ["CAP_CHOWN", "CAP_KILL"]


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """The runtime of an assembled Docker, before a runc that only tells how it was called."""
    for name, text in (("rig-runtime", RUNTIME_SCRIPT), ("runc", '#!/bin/sh\necho "$@"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path / "rig-runtime"


def call(runtime: Path, *arguments: str) -> str:
    """Call the runtime and return what runc was called with."""
    environment = {"PATH": f"{runtime.parent}:{os.environ['PATH']}"}
    command = [str(runtime), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603


@pytest.mark.parametrize(
    ("asked", "remaining"),
    [
        (CAPABILITIES, WITHOUT),
        (["CAP_SYS_RESOURCE", "CAP_KILL"], ["CAP_KILL"]),
        (["CAP_KILL", "CAP_SYS_RESOURCE"], ["CAP_KILL"]),
        (["CAP_SYS_RESOURCE"], []),
        (WITHOUT, WITHOUT),
    ],
    ids=["middle", "first", "last", "alone", "absent"],
)
def test_runtime_takes_one_capability_out_of_containers_and_commands(
    runtime: Path, tmp_path: Path, asked: list[str], remaining: list[str]
) -> None:
    """Docker asks for all of them; the one that root itself may lack goes, wherever it stands, and runc is called."""
    for arguments, file in (
        (["create", "--bundle", str(tmp_path), "id"], tmp_path / "config.json"),
        (["exec", "--process", str(tmp_path / "process.json"), "id"], tmp_path / "process.json"),
    ):
        # As Go writes it: without spaces.
        file.write_text(json.dumps({"capabilities": {"bounding": asked}}, separators=(",", ":")))
        assert call(runtime, *arguments).split() == arguments
        assert json.loads(file.read_text())["capabilities"]["bounding"] == remaining


def test_runtime_passes_everything_else_on(runtime: Path) -> None:
    """A call that asks for no capabilities changes nothing."""
    assert call(runtime, "--log", "a file", "delete", "--force", "id") == "--log a file delete --force id\n"


def _configuration(*, assembled: bool) -> dict[str, Any]:
    return write_configuration(Path("/srv/certs.d"), assembled=assembled)


@pytest.mark.parametrize("assembled", [False, True])
def test_node_trusts_the_registries(assembled: bool) -> None:
    """Containerd is told where the authority is, on every node."""
    configuration = _configuration(assembled=assembled)
    (node,) = configuration["nodes"]
    (mount,) = node["extraMounts"]
    assert mount["hostPath"] == "/srv/certs.d"
    assert any(
        f'config_path = "{mount["containerPath"]}"' in patch for patch in configuration["containerdConfigPatches"]
    )


def test_only_an_assembled_node_is_changed_further() -> None:
    """With Docker, kind's node is as kind makes it: its network, its kubelet."""
    assert not {"networking", "kubeadmConfigPatches"} & set(_configuration(assembled=False))
    assembled = _configuration(assembled=True)
    assert assembled["networking"] == {"disableDefaultCNI": True}
    assert json.loads(assembled["kubeadmConfigPatches"][0])["failCgroupV1"] is False


def test_packed_files_keep_their_paths_and_the_first_is_the_entry_point(tmp_path: Path) -> None:
    """Kubeadm's manifests call programs by name, which are found below usr/local/bin."""
    program, library = tmp_path / "program", tmp_path / "library"
    program.write_text("p")
    library.write_text("l")
    files = {"usr/local/bin/etcd": program, "usr/lib/a.so": library}
    with tarfile.open(pack_files(files, "registry.k8s.io/etcd:1", tmp_path / "image.tar")) as archive:
        configuration = json.loads(_content(archive, "config.json"))
        layer = tarfile.open(fileobj=io.BytesIO(_content(archive, "layer.tar")))  # noqa: SIM115 - in memory
    assert configuration["config"]["Entrypoint"] == ["/usr/local/bin/etcd"]
    assert layer.getnames() == list(files)


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _oci_archive(folder: Path, *, index: bool = True) -> Path:
    """Write an OCI archive of one image, as buildah does."""
    manifest = {"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l1"}, {"digest": "sha256:l2"}]}
    parts = {
        "blobs/sha256/m": json.dumps(manifest),
        "blobs/sha256/c": "{}",
        "blobs/sha256/l1": "1",
        "blobs/sha256/l2": "",
    }
    if index:
        parts["index.json"] = json.dumps({"manifests": [{"digest": "sha256:m"}]})
    with tarfile.open(folder / "oci.tar", "w") as archive:
        for name, text in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return folder / "oci.tar"


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """A client that writes down what it is told, and keeps the archive that it loads."""
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'case $1 in load) cp "$4" {tmp_path}/loaded.tar;; save) echo image > "$3";; esac\n'
    )
    program.chmod(0o755)
    return Docker(str(program))


def test_image_of_buildah_is_loaded_in_docker_s_own_form(docker: Docker, tmp_path: Path) -> None:
    """The same blobs, described as daemons before version 25 know it, under the image's full name."""
    (tmp_path / "work").mkdir()
    load_oci_archive(docker, _oci_archive(tmp_path), "rig.local/operator:1", tmp_path / "work")
    with tarfile.open(tmp_path / "loaded.tar") as loaded:
        (described,) = json.loads(_content(loaded, "manifest.json"))
        assert set(loaded.getnames()) > {described["Config"], *described["Layers"]}
    assert described["RepoTags"] == ["rig.local/operator:1"]
    assert described["Layers"] == ["blobs/sha256/l1", "blobs/sha256/l2"]
    assert list((tmp_path / "work").iterdir()) == []


def test_archive_of_another_form_is_refused(docker: Docker, tmp_path: Path) -> None:
    """The message says what was expected."""
    with pytest.raises(RigError, match=r"index\.json is missing: this is no OCI archive"):
        load_oci_archive(docker, _oci_archive(tmp_path, index=False), "rig.local/operator:1", tmp_path)


def test_docker_builds_the_operator_once(docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the daemon builds the image; the second time its archive is loaded, if the daemon lost it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = build_with(docker)
    assert built.archive.exists()
    assert build_with(docker) == built
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["build", "save", "images", "load"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/org/operator:v1", ("ghcr.io", "org/operator", "v1", "")),
        ("localhost:5000/operator:v1", ("localhost:5000", "operator", "v1", "")),
        ("localhost:5000/operator", ("localhost:5000", "operator", "", "")),
        ("ghcr.io/operator@sha256:ab", ("ghcr.io", "operator", "", "sha256:ab")),
        ("ghcr.io/operator:v1@sha256:ab", ("ghcr.io", "operator", "v1", "sha256:ab")),
        ("operator:v1", ("", "operator", "v1", "")),
    ],
)
def test_image_for_an_existing_cluster_becomes_values(image: str, expected: tuple[str, ...]) -> None:
    """Registry, repository, tag and digest, as the chart wants them apart."""
    given = dict(each.split("=", 1) for each in values(image) if "=" in each)
    assert tuple(given[f"image.{key}"] for key in ("registry", "repository", "tag", "digest")) == expected
