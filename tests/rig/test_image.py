"""The operator's image as it is shipped: what is in it, what is not, for which processors, and that it repeats."""

import json
import os
import re
import shutil
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from image.elf import MACHINES, read_elf
from rig import buildah, packages
from rig.bases import provide_base
from rig.cache import REPOSITORY, cache_folder, locked
from rig.errors import RigError
from rig.images import build_again, build_for_all_platforms, build_operator_image, native_architecture
from rig.processes import run
from supply_chain.archive import Image, read_images
from supply_chain.audit import RUNTIME_LOCK
from supply_chain.requirements import read_lock
from supply_chain.sbom import bill_of_materials, check_bill

pytestmark = [pytest.mark.node, pytest.mark.host]

_PYTHON = "/opt/replicated-proxy/bin/python"
_IMPORTS = (
    "import kopf, kubernetes.aio.client, cryptography.x509, uvloop, msgspec, ssl, platform; print(platform.machine())"
)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image and the file system that it makes."""

    image: Image
    root: Path

    def programs(self) -> set[str]:
        """Return every file that the kernel would run."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {
            "/" + str(path.relative_to(self.root))
            for path in files
            if os.access(path, os.X_OK) and ".so" not in path.name
        }


@pytest.fixture(name="release", scope="module")
def _release(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Image]]:
    """The archive of all platforms, as ``make image`` writes it."""
    archive = tmp_path_factory.mktemp("release") / "image.oci.tar"
    build_for_all_platforms(archive)
    digest, images = read_images(archive)
    return digest, {each.architecture: each for each in images}


@pytest.fixture(name="unpacked", scope="module")
def _unpacked(release: tuple[str, dict[str, Image]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unpacked]:
    """The file system of each platform's image."""
    folder = tmp_path_factory.mktemp("roots")
    for architecture, image in release[1].items():
        image.unpack(folder / architecture)
    return {name: Unpacked(image, folder / name) for name, image in release[1].items()}


@pytest.fixture(name="amd64")
def _amd64(unpacked: dict[str, Unpacked]) -> Unpacked:
    return unpacked["amd64"]


@pytest.fixture(name="arm64")
def _arm64(unpacked: dict[str, Unpacked]) -> Unpacked:
    return unpacked["arm64"]


def test_image_holds_an_interpreter_and_our_commands_and_no_other_program(unpacked: dict[str, Unpacked]) -> None:
    """There is no shell, no package manager and nothing that runs as somebody else; only our commands and Python."""
    commands = {f"/opt/replicated-proxy/bin/{name}" for name in ("replicated-proxy", "kubectl-replicated_proxy")}
    for each in unpacked.values():
        assert each.programs() == {*commands, "/usr/bin/python3.11"}
        modes = [path.lstat().st_mode for path in each.root.rglob("*")]
        assert not [mode for mode in modes if mode & (stat.S_ISUID | stat.S_ISGID)]
        assert not [path for name in ("pip", "pip-*", "ensurepip") for path in each.root.rglob(name)]


def test_image_runs_as_nobody_and_says_what_it_is(amd64: Unpacked) -> None:
    """It starts the operator as an unprivileged user, and names version, license and the base that its Python is of."""
    configuration, labels = amd64.image.configuration, amd64.image.labels
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["replicated-proxy"]
    assert labels["org.opencontainers.image.title"] == "replicated-proxy-operator"
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9-]+T[0-9:]+\+00:00", labels["org.opencontainers.image.created"])
    assert re.fullmatch(r"rig\.local/python-amd64@sha256:[0-9a-f]{64}", labels["proxy.kots.io/python-image"])
    assert (amd64.root / "etc/passwd").read_text().count("nonroot:x:65532:65532:") == 1


def test_image_keeps_nothing_of_the_machine_that_built_it(amd64: Unpacked) -> None:
    """No file holds the path of the build, pip's configuration or the authorities that this network needs."""
    authorities = (amd64.root / "etc/ssl/certs/ca-certificates.crt").read_text()
    shipped = amd64.root / "usr/share/ca-certificates"
    assert authorities.count("BEGIN CERTIFICATE") > 100
    assert not shipped.exists()
    assert not (amd64.root / "etc/pip.conf").exists()
    ours = amd64.image.layers[-1].content
    assert not [path for path in (b"/build/", b"/image/operator", str(REPOSITORY).encode()) if path in ours]


def test_operator_runs_in_the_image_alone(amd64: Unpacked) -> None:
    """The command starts in a root file system of nothing but the image, as its user, from its search path."""
    path = next(each for each in amd64.image.configuration["Env"] if each.startswith("PATH="))
    change_root = ["/usr/sbin/chroot", "--userspec=65532:65532", str(amd64.root)]
    printed = run(["env", "-i", path, *change_root, "/opt/replicated-proxy/bin/replicated-proxy", "--version"])
    assert "replicated-proxy, version" in printed


@pytest.mark.parametrize("architecture", sorted(MACHINES))
def test_every_library_is_there_and_of_the_right_processor(unpacked: dict[str, Unpacked], architecture: str) -> None:
    """Each program and library is of the image's processor, and what it needs is in the image."""
    root = unpacked[architecture].root
    files = {path: read_elf(path) for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    found = {path: elf for path, elf in files.items() if elf is not None}
    names = {path.name for path in root.rglob("*.so*")}
    assert {elf.machine for elf in found.values()} == {MACHINES[architecture]}
    assert not {name for elf in found.values() for name in elf.needed} - names
    assert all((root / elf.interpreter.lstrip("/")).exists() for elf in found.values() if elf.interpreter)


def test_arm64_image_runs_on_an_emulated_processor(arm64: Unpacked) -> None:
    """Interpreter, libraries and compiled modules of the arm64 image load and run, one instruction at a time."""
    packages.ensure(packages.EMULATION)
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None
    # Inside the root for as long as it runs: nothing of the machine's own is needed, a registered handler included.
    inside = arm64.root / "emulator"
    shutil.copy(emulator, inside)
    try:
        command = ["chroot", str(arm64.root), "/emulator", "-0", _PYTHON, "/usr/bin/python3.11", "-c", _IMPORTS]
        assert run(command).strip() == "aarch64"
    finally:
        inside.unlink()


def test_both_platforms_share_the_operators_layer(release: tuple[str, dict[str, Image]]) -> None:
    """One archive holds both platforms, and the operator's own layer, plain Python, is the same in both."""
    digest, images = release
    assert set(images) == {"amd64", "arm64"}
    assert digest not in {each.digest for each in images.values()}
    assert len({each.layers[2].digest for each in images.values()}) == 1
    assert len({each.layers[1].digest for each in images.values()}) == 2


def test_two_builds_of_the_same_sources_are_the_same_image(
    release: tuple[str, dict[str, Image]], tmp_path: Path
) -> None:
    """Built again with nothing kept of the first time but the base, the image has the same digest."""
    build_again(tmp_path / "again.tar")
    digest, _ = read_images(tmp_path / "again.tar")
    assert digest == read_images(build_operator_image().archive)[0] == release[1][native_architecture()].digest


def test_image_of_kept_layers_says_where_it_is_from(
    release: tuple[str, dict[str, Image]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file changed and every layer is that of an earlier build, the labels are those of this one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    build_again(tmp_path / "kept.tar", from_nothing=False)
    image = read_images(tmp_path / "kept.tar")[1][0]
    earlier = release[1][native_architecture()]

    assert image.layers == earlier.layers
    assert image.labels == earlier.labels | {"org.opencontainers.image.created": "1970-01-02T00:00:00+00:00"}


@pytest.fixture(name="components", scope="module")
def _components(release: tuple[str, dict[str, Image]]) -> dict[str, str]:
    """Versions in the bill of materials, by the beginning of their package URL."""
    bill = json.loads(bill_of_materials(release[1]["amd64"]))
    urls = [each["purl"] for each in bill["components"] if "purl" in each]
    return {url.partition("@")[0]: url.partition("@")[2].partition("?")[0] for url in urls}


def test_bill_of_materials_lists_every_distribution(components: dict[str, str]) -> None:
    """Every locked package and the operator is in it with its version, and nothing else from the index is."""
    locked_versions = {name: str(version) for name, version in read_lock(RUNTIME_LOCK).versions.items()}
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    listed = {url.removeprefix("pkg:pypi/"): each for url, each in components.items() if url.startswith("pkg:pypi/")}
    assert listed == {**locked_versions, "replicated-proxy-operator": version}


@pytest.mark.parametrize("package", ["libc6", "libssl3", "python3.11-minimal", "ca-certificates", "libffi8"])
def test_bill_of_materials_lists_the_systems_packages(components: dict[str, str], package: str) -> None:
    """What files of the image came from is in it, for those who look for flaws in it."""
    assert components[f"pkg:deb/debian/{package}"]


def test_bill_of_materials_lists_what_is_compiled_into_wheels(components: dict[str, str]) -> None:
    """The OpenSSL inside the cryptography wheel is in it, and so is the interpreter."""
    assert components["pkg:generic/openssl"]
    assert components["pkg:generic/python"].startswith("3.11.")


def test_bill_of_materials_is_valid_and_the_same_each_time(amd64: Unpacked) -> None:
    """It follows the schema, and the same image gives the same bytes, its own digest among them."""
    bill = bill_of_materials(amd64.image)
    check_bill(bill)
    assert bill == bill_of_materials(amd64.image)
    assert json.loads(bill)["metadata"]["component"]["hashes"][0]["content"] == amd64.image.digest.removeprefix(
        "sha256:"
    )


def test_base_without_a_digest_is_refused() -> None:
    """The build ends at once, and says why, where a tag is to decide what is shipped."""
    with locked(cache_folder("images")), buildah.store() as store:
        name, _, _ = provide_base(store, native_architecture()).partition("@")
        known = store.run("images", "--format", "{{.Name}}:{{.Tag}}").split()
        tagged = next(each for each in known if each.startswith(name))
        with pytest.raises(RigError, match="is not pinned: name it with its digest"):
            store.run_logged(["bud", "--pull-never", f"--build-arg=PYTHON_IMAGE={tagged}", str(REPOSITORY)])
