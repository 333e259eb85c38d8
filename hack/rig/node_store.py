"""The control plane's images, put into the store of an assembled node image's containerd."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from rig.archives import pack_files
from rig.binaries import KUBERNETES_VERSION
from rig.processes import run
from rig.progress import run_logged

_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
# The names and tags that kubeadm and kind's configuration of containerd ask for.
_OTHERS = {
    "etcd": ("etcd:3.6.8-0",),
    "coredns": ("coredns/coredns:v1.14.2",),
    "pause": ("pause:3.10", "pause:3.10.2"),
}
_REGISTRY = "registry.k8s.io"
# Their manifests call them without a path; these two are called by the path of their images.
_AT_THE_ROOT = ("coredns", "pause")
_TABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
# containerd needs no more than its own store here. It runs in the new root, with mounts that end with it.
_SCRIPT = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mkdir tmp/images
mount --bind "$1" tmp/images
chroot . containerd --config /dev/null & daemon=$!
tries=0
until chroot . ctr version >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 300 ] && kill -0 $daemon
  sleep 0.1
done
for image in "$1"/*.tar; do
  chroot . ctr --namespace k8s.io images import --local "/tmp/images/${image##*/}"
done
kill $daemon
wait $daemon || true
"""


def fill_store(root: Path, programs: Mapping[str, Path], log: Path) -> None:
    """Pack the images and import them."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        for number, (program, name) in enumerate(_images()):
            files = {_place(program): programs[program]}
            if program == "kube-proxy":
                files |= _tables(root)
            pack_files(files, f"{_REGISTRY}/{name}", Path(folder) / f"{number}.tar")
        # Its own process IDs: whatever containerd leaves running ends with it.
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--"]
        run_logged([*unshare, "sh", "-c", _SCRIPT, "sh", str(root), folder], log)


def _images() -> list[tuple[str, str]]:
    kubernetes = [(program, f"{program}:{KUBERNETES_VERSION}") for program in _KUBERNETES]
    return kubernetes + [(program, name) for program, names in _OTHERS.items() for name in names]


def _place(program: str) -> str:
    return program if program in _AT_THE_ROOT else f"usr/local/bin/{program}"


def _tables(root: Path) -> dict[str, Path]:
    """Return what kube-proxy calls: iptables by its names, its extensions, and the libraries of both."""
    program = root / "usr/sbin/xtables-nft-multi"
    extensions = sorted(root.glob("usr/lib/*/xtables/*.so"))
    files = {f"usr/sbin/{name}": program for name in _TABLES}
    files |= {str(extension.relative_to(root)): extension for extension in extensions}
    return files | _libraries(root, [program, *extensions])


def _libraries(root: Path, objects: Iterable[Path]) -> dict[str, Path]:
    """Return the shared libraries of programs and libraries, by the paths under which they are looked for."""
    names = [f"/{each.relative_to(root)}" for each in objects]
    found = {}
    for line in run(["chroot", str(root), "ldd", *names]).splitlines():
        # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", and for the loader itself only the path.
        path = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), None)
        if path is not None:
            found[path.lstrip("/")] = root / path.lstrip("/")
    return found
