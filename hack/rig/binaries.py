"""Builds the pinned programs that a target needs, once, into the cache."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rig.cache import REPOSITORY, cache_folder, digest_of, locked, scratch
from rig.golang import go_command, required_version
from rig.progress import run_logged, step

_MODULES = REPOSITORY / "hack" / "modules"
KUBERNETES_VERSION = "v1.36.3"
# Without the version the API server calls itself v0.0.0, and kubectl and helm refuse to work with it.
_KUBERNETES_LD_FLAGS = " ".join(
    [
        "-s -w",
        f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
        f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}",
    ]
)


@dataclass(frozen=True, slots=True)
class Program:
    """One program of one of the modules under hack/modules/."""

    module: str
    package: str
    tags: str = ""
    """Build tags."""
    cgo: bool = False
    """Linked with C libraries; all others are static, so that they run in every image and on every libc."""

    @property
    def output(self) -> str:
        """What ``go build`` calls it: the last element of the package path that is no major version."""
        parts = [part for part in self.package.split("/") if part not in {"v2", "v3", "v4"}]
        return parts[-1]


# What the benchmark holds ours against; nothing else builds them.
BENCH = ("webhook-lean", "webhook-controller-runtime")
# What checks rules and dashboards; tests alone build them.
MONITORING = ("promtool", "selectors")
# Its controllers, for the tests of the chart's cert-manager mode alone.
CERT_MANAGER = "cert-manager"
_KIND = {"kind": "sigs.k8s.io/kind", "kubeadm": "k8s.io/kubernetes/cmd/kubeadm"}
PROGRAMS: Mapping[str, Program] = {
    "etcd": Program("kubernetes", "go.etcd.io/etcd/server/v3"),
    **{
        name: Program("kubernetes", f"k8s.io/kubernetes/cmd/{name}")
        for name in ("kube-apiserver", "kube-controller-manager", "kubectl", "kube-scheduler", "kubelet", "kube-proxy")
    },
    "helm": Program("helm", "helm.sh/helm/v4/cmd/helm"),
    **{
        name: Program("node", f"github.com/containerd/containerd/v2/cmd/{name}")
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    # Without the tag every Pod sandbox fails with "seccomp not supported".
    "runc": Program("node", "github.com/opencontainers/runc", tags="seccomp", cgo=True),
    "host-local": Program("node", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    "loopback": Program("node", "github.com/containernetworking/plugins/plugins/main/loopback"),
    "ptp": Program("node", "github.com/containernetworking/plugins/plugins/main/ptp"),
    "portmap": Program("node", "github.com/containernetworking/plugins/plugins/meta/portmap"),
    "registry": Program("node", "github.com/distribution/distribution/v3/cmd/registry"),
    "crane": Program("node", "github.com/google/go-containerregistry/cmd/crane"),
    "pause": Program("pause", "replicated-proxy-operator.test/hack/pause"),
    **{name: Program(name, f"replicated-proxy-operator.test/hack/{name}") for name in BENCH},
    "coredns": Program("coredns", "replicated-proxy-operator.test/hack/coredns"),
    # Without the clients of clouds that Prometheus can discover targets in.
    "promtool": Program("promtool", "github.com/prometheus/prometheus/cmd/promtool", tags="remove_all_sd"),
    "selectors": Program("promtool", "replicated-proxy-operator.test/hack/promtool/selectors", tags="remove_all_sd"),
    CERT_MANAGER: Program(CERT_MANAGER, f"replicated-proxy-operator.test/hack/{CERT_MANAGER}"),
    # Of a cluster that kind makes; nothing else builds them.
    **{name: Program(name, package) for name, package in _KIND.items()},
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE = tuple(name for name in PROGRAMS if name not in (*BENCH, *MONITORING, *_KIND, CERT_MANAGER))
KIND = ("kind", "kubectl", "helm", "registry", "crane", "pause")
"""What a cluster of kind needs on this side of Docker, and what runs beside it."""
KIND_NODE = (*NODE, "kubeadm")
"""What a node image that is assembled here is made of."""


def provide(names: Iterable[str], *, assets: str | None = None) -> dict[str, Path]:
    """Return the path of each program, building those that are neither in the folder ``assets`` nor in the cache."""
    found = {name: _from_assets(assets, name) or _cached(name) for name in names}
    for module in sorted({PROGRAMS[name].module for name, path in found.items() if not path.exists()}):
        with locked(_folder(module)):
            # Looked at again under the lock: another process may have built them meanwhile.
            missing = [name for name, path in found.items() if PROGRAMS[name].module == module and not path.exists()]
            for way in sorted({_way(name) for name in missing}):
                _build(module, [name for name in missing if _way(name) == way], way)
    return found


def _way(name: str) -> tuple[str, bool]:
    """Return tags and cgo: what one run of ``go build`` has in common."""
    return PROGRAMS[name].tags, PROGRAMS[name].cgo


def _from_assets(folder: str | None, name: str) -> Path | None:
    path = Path(folder) / name if folder else None
    return path if path is not None and path.exists() else None


def _cached(name: str) -> Path:
    return _folder(PROGRAMS[name].module) / "bin" / name


def _folder(module: str) -> Path:
    sources = [each for each in (_MODULES / module).rglob("*") if each.suffix in {".mod", ".sum", ".go"}]
    machine = f"{platform.system()}-{platform.machine()}"
    return cache_folder(f"{module}-{digest_of(sources, _ld_flags(module), machine)}")


def _ld_flags(module: str) -> str:
    return _KUBERNETES_LD_FLAGS if module in {"kubernetes", "kubeadm"} else "-s -w"


def _build(module: str, names: list[str], way: tuple[str, bool]) -> None:
    source, folder = _MODULES / module, _folder(module)
    # One Go for all modules: the newest that any of them asks for.
    go = go_command(required_version(_MODULES.glob("*/go.mod")))
    target = folder / "bin"
    target.mkdir(exist_ok=True)
    # Built beside the target and renamed, so that a build that was interrupted leaves no half a program.
    with scratch(folder) as build, step(f"building {', '.join(names)}"):
        packages = [PROGRAMS[name].package for name in names]
        tags, cgo = way
        command = [str(go), "build", *_flags(module, tags), "-o", f"{build}/", *packages]
        run_logged(command, folder / "build.log", cwd=source, env=_environment(cgo=cgo))
        for name in names:
            (build / PROGRAMS[name].output).rename(target / name)


def _flags(module: str, tags: str) -> list[str]:
    # -trimpath and no VCS stamp: the same binary from every checkout, and no commit makes the cache stale.
    flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", _ld_flags(module)]
    return [*flags, "-tags", tags] if tags else flags


def _environment(*, cgo: bool) -> dict[str, str]:
    return {"CGO_ENABLED": "1" if cgo else "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
