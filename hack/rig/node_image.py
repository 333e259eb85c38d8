"""kind's node image, assembled where none can be pulled: Debian, kind's own files for it, programs from modules.

What kind's release builds with Docker is laid out here as files: a root of Debian's packages, the files that kind's
module brings for its base image (taken from Go's module cache each time; nothing of them is kept in this repository),
our programs, and the control plane's images in containerd's store. Read images/base/Dockerfile of kind beside it.
"""

import shutil
from pathlib import Path

from rig import binaries
from rig.cache import REPOSITORY, cache_folder, digest_of, locked, scratch
from rig.debian import provide_root
from rig.docker import Docker
from rig.module_files import module_folder
from rig.node_programs import install_programs
from rig.node_store import fill_store
from rig.processes import run
from rig.progress import run_logged, step

# What kind's Dockerfile installs, but for storage that nobody uses here.
_PACKAGES = (
    *("systemd", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod"),
    *("libseccomp2", "pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps"),
)
_MODULE = REPOSITORY / "hack" / "modules" / "kind"
_LUGGAGE = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
# Units that make no sense in a container; what kind needs of them it enables again.
_UNWANTED_UNITS = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
)
_UNITS = ("kubelet.service", "containerd.service", "undo-mount-hacks.service")
# How a container of it is started and ended: systemd asks for this by its interface for containers.
_DOCKERFILE = """FROM {base}
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
"""
NAME = "rig.local/kind-node:1"


def load_node_image(docker: Docker) -> str:
    """Put the image into a daemon, and return its name there."""
    archive = provide_node_image()
    with step("loading kind's node image"):
        base = docker.run("import", str(archive)).strip()
        docker.run("build", "--tag", NAME, "-", stdin=_DOCKERFILE.format(base=base))
    return NAME


def provide_node_image() -> Path:
    """Return the image's root file system as an archive; assembled on the first call."""
    base, programs = provide_root("kind-node", _PACKAGES), binaries.provide(binaries.KIND_NODE)
    ours = [Path(__file__), *(Path(__file__).with_name(f"{name}.py") for name in ("node_programs", "node_store"))]
    # A program's folder in the cache is named by what it is built from.
    versions = sorted(str(path.relative_to(cache_folder())) for path in programs.values())
    folder = cache_folder(f"kind-node-{digest_of([*ours, _MODULE / 'go.sum'], base.parent.name, *versions)}")
    archive, log = folder / "root.tar", folder / "assembling.log"
    with locked(folder):
        if not archive.exists():
            with step("assembling kind's node image"), scratch(folder) as unfinished:
                root = unfinished / "root"
                run_logged(["cp", "--archive", str(base), str(root)], log)
                _assemble(root, programs, log)
                made = unfinished / "root.tar"
                run_logged(["tar", "--numeric-owner", "-C", str(root), "-cf", str(made), "."], log)
                made.rename(archive)
    return archive


def _assemble(root: Path, programs: dict[str, Path], log: Path) -> None:
    for luggage in _LUGGAGE:
        shutil.rmtree(root / luggage, ignore_errors=True)
    _lay_files(root)
    for pattern in _UNWANTED_UNITS:
        for unit in root.glob(pattern):
            unit.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as configuration:
        configuration.write("ReadKMsg=no\n")
    (root / "sbin/init").unlink(missing_ok=True)
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")
    for command in (["enable", *_UNITS], ["mask", "systemd-binfmt.service"]):
        run(["chroot", str(root), "systemctl", *command])
    install_programs(root, programs)
    fill_store(root, programs, log)


def _lay_files(root: Path) -> None:
    """Lay kind's files over the root: scripts executable, all else not."""
    source = module_folder("kind", "sigs.k8s.io/kind") / "images" / "base" / "files"
    for file in (each for each in source.rglob("*") if each.is_file()):
        target = root / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if target.parent.name == "bin" else 0o644)
    (root / "kind/version").write_text(binaries.KUBERNETES_VERSION)
    (root / "etc/kubernetes/manifests").mkdir(parents=True, exist_ok=True)
