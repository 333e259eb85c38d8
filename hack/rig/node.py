"""A whole Kubernetes node in namespaces of its own: Linux and root, no Docker.

Everything runs below one first process (rig.first_process). When that ends, and it ends with this process even after a
SIGKILL, the kernel ends the rest; rig.sweeper then removes control groups and files.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig import archives, binaries, cgroups, containerd, packages, upstream
from rig.authority import Authority
from rig.cache import REPOSITORY, cache_folder
from rig.errors import RigError
from rig.kubeconfig import Server, write_kubeconfig
from rig.layout import NODE_ADDRESS, PAUSE_IMAGE, REGISTRY_NETWORK, Layout, names_by_address
from rig.namespaces import UNSHARE, entering, refuse_hidden_folders
from rig.processes import Process, run
from rig.progress import step
from rig.stand_in import StandIn
from rig.sweeping import Sweeping, python_environment
from rig.whole import WholeCluster

_READY_SECONDS = 180


class Node(WholeCluster):
    """One node with its control plane, its registries and the stand-in; a context manager."""

    def __init__(self, private_registries: Sequence[str] = ("quay.io",)) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise RigError("a node needs Linux and root (it makes namespaces and mounts); run it with sudo")
        refuse_hidden_folders([REPOSITORY, cache_folder(), Path(sys.prefix), Path(tempfile.gettempdir())])
        packages.ensure(packages.NODE)
        self.binaries = binaries.provide(binaries.NODE)
        self.workdir = Path(tempfile.mkdtemp(prefix="rig-node-"))
        self._layout = Layout(self.workdir)
        self._private_registries = tuple(private_registries)
        self._upstream = upstream.Upstream.create()
        self._first: Process | None = None
        self._sweeping: Sweeping | None = None
        self.stand_in = StandIn(self._layout.licenses, self._layout.logs / "stand-in.log")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; works on the host, through the loopback interface."""
        return self._layout.kubeconfig

    @property
    def registry_networks(self) -> Sequence[str]:
        """Nothing of the cluster is there."""
        return [REGISTRY_NETWORK]

    @property
    def address(self) -> str:
        """The node's address, inside its own network."""
        return NODE_ADDRESS

    @property
    def certificate_authority(self) -> Path:
        """The authority of every certificate in the node."""
        return self._layout.certificate_authority

    def up(self) -> None:
        """Start the node and wait until it is ready."""
        try:
            with step("starting the node"):
                self._start()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the node and wait until nothing of it is left on the host."""
        if self._first is not None:
            # No orderly end: everything on the node is disposable, and its first process takes it all along.
            self._first.kill()
            self._first = None
        if self._sweeping is not None:
            self._sweeping.finish()
            self._sweeping = None
        shutil.rmtree(self.workdir, ignore_errors=True)

    def run(self, command: Sequence[str], *, stdin: str | None = None) -> str:
        """Run a command inside the node: its network, its names, its mounts, its processes."""
        return run([*self._nsenter(), *command], stdin=stdin)

    def load_image(self, archive: Path) -> None:
        """Put an image archive on the node."""
        ctr = [str(self.binaries["ctr"]), *containerd.import_arguments(archive.resolve())]
        self.run(ctr)

    @contextmanager
    def outage(self, registry: str) -> Iterator[None]:
        """Refuse connections to a registry, the proxy included, for a while, as if it were not there."""
        address = next(
            address for address, names in names_by_address(self._private_registries).items() if registry in names
        )
        # Its port alone: the proxy shares its address with the API server.
        rule = ["INPUT", "--destination", address, "--protocol", "tcp", "--destination-port", "443"]
        rule += ["--jump", "REJECT", "--reject-with", "tcp-reset"]
        iptables = ["env", f"PATH={_environment()['PATH']}", "iptables", "--wait"]
        self.run([*iptables, "--insert", *rule])
        try:
            yield
        finally:
            self.run([*iptables, "--delete", *rule])

    def _crane(self, home: Path) -> list[str]:
        # NO_PROXY: what the host goes through is out of reach here.
        environment = ["NO_PROXY=*", f"SSL_CERT_FILE={self.certificate_authority}", f"HOME={home}"]
        return [*self._nsenter(), "env", *environment, str(self.binaries["crane"])]

    def _start(self) -> None:
        authority = Authority.create(self._layout.pki)
        self._layout.etc.mkdir()
        archives.pack(self.binaries["pause"], PAUSE_IMAGE, self.workdir / "pause.tar")
        groups = cgroups.create(self.workdir.name)
        self._sweeping = Sweeping.start(self.workdir, groups)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._write_settings(listener)
            # The first process itself joins the groups, so that nothing but the node is in them.
            command = [*UNSHARE, sys.executable, "-m", "rig.enter", *map(str, groups), "--", "unshare", "--cgroup"]
            command += [sys.executable, "-m", "rig.first_process", str(self.workdir)]
            log = self._layout.logs / "first-process.log"
            self._first = Process("node", command, log=log, env=_environment()).inheriting(listener.fileno())
            self._first.start()
            self._layout.process_id.write_text(str(self._first.pid))
            server = Server(f"https://127.0.0.1:{listener.getsockname()[1]}", self.certificate_authority)
        write_kubeconfig(self.kubeconfig, server, authority.client("rig-admin", ["system:masters"]))
        self._first.wait_ready(self._layout.ready.exists, what="a ready node", seconds=_READY_SECONDS)

    def _write_settings(self, listener: socket.socket) -> None:
        settings = {
            "binaries": {name: str(path) for name, path in self.binaries.items()},
            "private_registries": self._private_registries,
            "upstream_password": self._upstream.password,
            "listener": listener.fileno(),
        }
        self._layout.settings.write_text(json.dumps(settings))

    def _nsenter(self) -> list[str]:
        if self._first is None:
            raise RigError("the node is not up")
        return entering(self._layout)


def _environment() -> dict[str, str]:
    # Administration programs (iptables, mount) are not on every root's PATH, and no proxy of the host is in reach.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return {**python_environment(), "PATH": path, "NO_PROXY": "*", "no_proxy": "*"}


def load_into(workdir: Path, archive: Path) -> None:
    """Put an image archive on a node that another process keeps up."""
    layout = Layout(workdir)
    ctr = json.loads(layout.settings.read_text())["binaries"]["ctr"]
    run([*entering(layout), ctr, *containerd.import_arguments(archive.resolve())])
