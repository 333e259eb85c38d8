"""The control plane: etcd, kube-apiserver and kube-controller-manager, ready in seconds."""

import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from rig import flags
from rig.authority import Authority, KeyPair, write_signing_keys
from rig.binaries import CONTROL_PLANE, provide
from rig.errors import RigError
from rig.kubeconfig import Server, write_kubeconfig
from rig.ports import free_port
from rig.processes import Process, run
from rig.sweeping import Sweeping
from rig.up_and_down import UpAndDown
from rig.waiting import wait_until

_READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ControlPlaneOptions:
    """What differs between control planes."""

    address: str = "127.0.0.1"
    """Where the API server listens and what it advertises."""
    port: int = 0
    """The API server's port; 0 means: a free one."""
    extra_names: tuple[str, ...] = ()
    """More names and addresses for the API server's certificate."""
    fsync: bool = False
    """Whether etcd waits for the disk. Test data needs none of that; a benchmark of the API server does."""
    audit_log: bool = False
    """Whether every request is written to ``audit.log`` in the working folder (metadata only)."""
    api_server_flags: tuple[str, ...] = ()
    binaries: Mapping[str, Path] = field(default_factory=dict)
    """Programs that were built already; empty means: provide them."""


class ControlPlane(UpAndDown):
    """An API server with its storage and its controllers, without nodes; a context manager.

    ``api_server.stop()`` and ``api_server.start()`` simulate an outage: ports and data stay.
    """

    def __init__(self, workdir: Path | None = None, options: ControlPlaneOptions | None = None) -> None:
        self.options = options or ControlPlaneOptions()
        self.binaries = dict(self.options.binaries) or provide(
            CONTROL_PLANE, assets=os.environ.get("KUBEBUILDER_ASSETS")
        )
        self.workdir = workdir or Path(tempfile.mkdtemp(prefix="rig-control-plane-"))
        # A folder that was given is its giver's to remove.
        self._sweeping = None if workdir else Sweeping.start(self.workdir)
        self.port = self.options.port or free_port(self.options.address)
        self.authority = self._load_or_create_authority()
        self.etcd_port = free_port()
        ports = (self.etcd_port, free_port())
        self.etcd = self._process("etcd", flags.etcd(self.workdir, ports, fsync=self.options.fsync))
        self.api_server = ApiServer(self)
        self.controller_manager = self._process("kube-controller-manager", flags.controller_manager(self.workdir))

    @property
    def url(self) -> str:
        """Where the API server answers."""
        return f"https://{self.options.address}:{self.port}"

    @property
    def certificate_authority(self) -> Path:
        """The PEM file that clients of the API server trust."""
        return self.authority.pair.certificate

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (group system:masters)."""
        return self.workdir / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The audit log, one JSON event in each line; only with the option ``audit_log``."""
        return self.workdir / "audit.log"

    def up(self) -> None:
        """Start everything and wait until it is ready."""
        try:
            self._prepare()
            self.etcd.start()
            # Not waited for: the API server retries until etcd answers, and both start at once this way.
            self.api_server.start()
            self.controller_manager.start()
            self.controller_manager.wait_ready(
                self._has_default_service_account, what="the default service account", seconds=_READY_SECONDS
            )
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop everything and remove the data."""
        for process in (self.controller_manager, self.api_server, self.etcd):
            process.stop()
        if self._sweeping is not None:
            self._sweeping.finish()
            self._sweeping = None

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a kubeconfig for any user, identified by a client certificate."""
        path = self.workdir / f"{'-'.join([user, *groups]).replace(':', '.').replace('/', '.')}.kubeconfig"
        return self._write_kubeconfig(path, self.authority.client(user, groups))

    def kubeconfig_with_token(self, token: str, name: str = "token") -> Path:
        """Write a kubeconfig for a bearer token, such as that of a service account."""
        return self._write_kubeconfig(self.workdir / f"{name}.kubeconfig", token)

    def kubeconfig_for_service_account(self, namespace: str, name: str, seconds: int = 3600) -> Path:
        """Write a kubeconfig that acts as a service account, with a token that the API server issues."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={seconds}s")
        return self.kubeconfig_with_token(token.strip(), f"{namespace}.{name}")

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        """Run kubectl as the administrator and return what it printed."""
        return run([str(self.binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}", *args], stdin=input)

    def await_kinds(self, *kinds: str) -> None:
        """Wait until kinds are served (``licenses.kots.io``) whose definitions were just applied.

        Their condition is no help: it is true before that, and while there is none ``kubectl wait`` fails.
        """
        wait_until(lambda: self._lists(*kinds), what=f"{', '.join(kinds)} to be served", seconds=_READY_SECONDS)

    def _lists(self, *kinds: str) -> bool:
        try:
            self.kubectl("get", ",".join(kinds), "--all-namespaces", "--output=name")
        except RigError:
            return False
        return True

    def load_image(self, archive: Path) -> None:
        """Refuse: without a node there is nothing that could run an image."""
        raise RigError(f"a control plane has no node to load {archive} on; use the cluster 'node'")

    def _load_or_create_authority(self) -> Authority:
        folder = self.workdir / "pki"
        return Authority.load(folder) if (folder / "ca.key").exists() else Authority.create(folder)

    def _process(self, name: str, arguments: Sequence[str]) -> Process:
        return Process(name, [str(self.binaries[name]), *arguments], log=self.workdir / "logs" / f"{name}.log")

    def _prepare(self) -> None:
        pki = self.workdir / "pki"
        names = ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        names += [flags.KUBERNETES_SERVICE_ADDRESS, self.options.address, *self.options.extra_names]
        self.authority.server("api-server", list(dict.fromkeys(names)))
        write_signing_keys(pki)
        (self.workdir / "audit-policy.json").write_text(json.dumps(flags.AUDIT_POLICY))
        self._write_kubeconfig(self.kubeconfig, self.authority.client("rig-admin", ["system:masters"]))
        manager = self.authority.client("system:kube-controller-manager")
        self._write_kubeconfig(self.workdir / "controller-manager.kubeconfig", manager)

    def _write_kubeconfig(self, path: Path, credentials: KeyPair | str) -> Path:
        return write_kubeconfig(path, Server(self.url, self.certificate_authority), credentials)

    def _has_default_service_account(self) -> bool:
        # The last thing to appear: from now on Pods can be created, and everything before it is there.
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        return self.answers(path, client=self.workdir / "pki" / "client-rig-admin-system.masters")

    def answers(self, path: str, client: Path | None = None) -> bool:
        """Whether the API server answers ``path`` with 200; ``client`` names a certificate without its suffix."""
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        if client is not None:
            context.load_cert_chain(f"{client}.crt", f"{client}.key")
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5, context=context) as response:  # noqa: S310 - https
                return bool(response.status == HTTPStatus.OK)
        except (OSError, urllib.error.URLError):
            return False


class ApiServer(Process):
    """The API server: started again, it takes the same port and the same data."""

    def __init__(self, plane: ControlPlane) -> None:
        arguments = flags.api_server(plane.workdir, plane.options.address, plane.port, plane.etcd_port)
        if plane.options.audit_log:
            arguments += flags.audit(plane.workdir, plane.audit_log)
        command = [str(plane.binaries["kube-apiserver"]), *arguments, *plane.options.api_server_flags]
        super().__init__("kube-apiserver", command, log=plane.workdir / "logs" / "kube-apiserver.log")
        self._plane = plane

    def start(self) -> None:
        """Start it and wait until it is ready."""
        super().start()
        self.wait_ready(lambda: self._plane.answers("/readyz"), what="/readyz", seconds=_READY_SECONDS)

    def stop(self, seconds: float = 0) -> None:  # noqa: ARG002 - the signature of the base class
        """End it at once: an outage gives no notice, and SIGTERM would wait for open watches for a minute."""
        self.kill()
