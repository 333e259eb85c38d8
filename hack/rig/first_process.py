"""The first process of a node: ``python -m rig.first_process WORKDIR``, inside the node's namespaces.

It prepares them, starts every program, says when the node is ready, and then only reaps. Its end is the node's end.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig import containerd, dns, kubelet, namespaces, upstream
from rig.authority import Authority
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.layout import API_SERVER_PORT, HANGING_ADDRESS, NODE_ADDRESS, NODE_NAME, Layout
from rig.outside import stand_in_settings, write_stand_in_settings
from rig.processes import Process, run
from rig.waiting import port_answers

_READY_SECONDS = 90


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the host decided."""

    layout: Layout
    binaries: dict[str, Path]
    private_registries: tuple[str, ...]
    upstream_password: str
    listener: int

    @classmethod
    def read(cls, layout: Layout) -> "NodeSettings":
        """Read them from the working folder."""
        given = json.loads(layout.settings.read_text())
        binaries = {name: Path(path) for name, path in given["binaries"].items()}
        registries = tuple(given["private_registries"])
        return cls(layout, binaries, registries, given["upstream_password"], given["listener"])


class FirstProcess:
    """Everything that runs on the node."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._layout = settings.layout
        self._authority = Authority.load(settings.layout.pki)
        self._processes: list[Process] = []
        self._upstream = upstream.Upstream(settings.upstream_password)

    def run(self) -> None:
        """Bring everything up, then stay until told to end."""
        hold_signals()
        namespaces.prepare(self._layout, self._settings.private_registries)
        self._write_configurations()
        # Independent of the API server, so they start up beside it.
        runtime = containerd.containerd(self._layout, self._settings.binaries)
        stand_in, forwarder = self._stand_in(), self._forwarder()
        servers = {stand_in: NODE_ADDRESS}
        for each in upstream.registries(self._upstream, self._settings.private_registries):
            servers[each.process(self._layout, self._authority, self._settings.binaries)] = each.address
        self._start(runtime, forwarder, *servers)
        # Kept and never accepted from: the kernel takes connections, and nobody answers.
        hanging = socket.create_server((HANGING_ADDRESS, 443))
        plane = self._control_plane()
        plane.up()
        names = self._serve_names(plane)
        self._import_pause_image(runtime)
        self._start(*kubelet.processes(self._layout, self._settings.binaries))
        for server, address in servers.items():
            server.wait_ready(partial(port_answers, address, 443), what="port 443", seconds=_READY_SECONDS)
        self._wait_for_node(plane)
        names.wait_ready(dns.is_ready, what="the cluster's names", seconds=_READY_SECONDS)
        self._layout.ready.touch()
        with hanging:
            reap()

    def _write_configurations(self) -> None:
        layout, registries = self._layout, self._settings.private_registries
        containerd.write_configuration(layout, self._settings.binaries)
        kubelet.write_configuration(layout, self._authority)
        dns.write_configuration(layout, self._authority, registries)
        write_stand_in_settings(layout, self._authority, self._upstream, registries)

    def _python(self, name: str, module: str, arguments: Sequence[str]) -> Process:
        return Process(name, [sys.executable, "-m", module, *arguments], log=self._layout.logs / f"{name}.log")

    def _stand_in(self) -> Process:
        return self._python("stand-in", "rig.stand_in_server", [str(stand_in_settings(self._layout))])

    def _forwarder(self) -> Process:
        arguments = [str(self._settings.listener), NODE_ADDRESS, str(API_SERVER_PORT)]
        return self._python("forwarder", "rig.forwarder", arguments).inheriting(self._settings.listener)

    def _control_plane(self) -> ControlPlane:
        options = ControlPlaneOptions(
            address=NODE_ADDRESS,
            port=API_SERVER_PORT,
            api_server_flags=kubelet.api_server_flags(self._layout, self._authority),
            binaries=self._settings.binaries,
        )
        return ControlPlane(self._layout.workdir, options)

    def _start(self, *processes: Process) -> None:
        for process in processes:
            process.start()
            self._processes.append(process)

    def _serve_names(self, plane: ControlPlane) -> Process:
        plane.kubectl(
            "apply", "-f", "-", input=json.dumps({"kind": "List", "apiVersion": "v1", "items": dns.permissions()})
        )
        server = dns.server(self._layout, self._settings.binaries)
        self._start(server)
        return server

    def _import_pause_image(self, runtime: Process) -> None:
        runtime.wait_ready(Path(containerd.SOCKET).exists, what="its socket", seconds=_READY_SECONDS)
        arguments = containerd.import_arguments(self._layout.workdir / "pause.tar")
        run([str(self._settings.binaries["ctr"]), *arguments])

    def _wait_for_node(self, plane: ControlPlane) -> None:
        agent = next(process for process in self._processes if process.name == "kubelet")
        query = ["get", "node", NODE_NAME, "--ignore-not-found", "-o"]
        path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
        agent.wait_ready(lambda: plane.kubectl(*query, path) == "True", what="a ready node", seconds=_READY_SECONDS)


def hold_signals() -> None:
    """Keep for ``reap`` what it waits for. The first process of namespaces does this before it starts anything."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})


def reap() -> None:
    """Bury the orphans that end up with a first process, until SIGTERM."""
    while signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) != signal.SIGTERM:
        # Signals of the same kind merge: one SIGCHLD may stand for several children.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    FirstProcess(NodeSettings.read(Layout(Path(sys.argv[1])))).run()
