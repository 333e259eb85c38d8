"""The registries and the stand-in as containers of a Docker network, under their real names.

Docker answers the names to every container of the network, the cluster's node included, whose own name service passes
them on to Pods. So nothing in the cluster is told of them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig import archives, upstream
from rig.authority import Authority
from rig.cache import REPOSITORY
from rig.docker import Docker
from rig.errors import RigError
from rig.layout import (
    GATEWAY_ADDRESS,
    HANGING_ADDRESS,
    NODE_ADDRESS,
    PREFIX_LENGTH,
    PUBLIC_ADDRESS,
    UPSTREAM_ADDRESS,
    Layout,
    names_by_address,
)
from rig.outside import stand_in_settings, write_stand_in_settings
from rig.processes import Process, tail_of

# The layout's addresses, and beside them those that Docker gives to the cluster's node.
_SUBNET = "10.9.0.0/16"
_FREE_ADDRESSES = f"10.9.2.0/{PREFIX_LENGTH}"
_CARRIER = "rig.local/carrier:1"
"""An image with next to nothing in it: what runs lies in the working folder."""
_SILENT = "import signal, socket; server = socket.create_server(('', 443), backlog=1024); signal.pause()"
# Tries until each address takes connections; the time is bounded by the container that it runs beside.
_PROBE = """
import socket, sys, time
for address in sys.argv[1:]:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((address, 443), timeout=1).close()
            break
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{address}: {error}")
            time.sleep(0.1)
"""
# Where the operator's image has its own.
_PYTHON = "python"


class Surroundings:
    """A Docker network and what answers on it."""

    def __init__(self, docker: Docker, network: str, binaries: Mapping[str, Path], layout: Layout) -> None:
        self._docker = docker
        self._layout = layout
        self._binaries = binaries
        self._followers: list[Process] = []
        self._private: tuple[str, ...] = ()
        self.network = network

    def up(
        self, authority: Authority, user: upstream.Upstream, private_registries: Sequence[str], python_image: str
    ) -> None:
        """Bring all of it up. The image must have Python with aiohttp: the operator's has."""
        self._private = tuple(private_registries)
        self._copy_programs()
        write_stand_in_settings(self._layout, authority, user, self._private)
        network = ["--subnet", _SUBNET, "--ip-range", _FREE_ADDRESSES, "--gateway", GATEWAY_ADDRESS]
        self._docker.run("network", "create", "--driver", "bridge", *network, self.network)
        archive = archives.pack(self._binaries["pause"], _CARRIER, self._layout.workdir / "carrier.tar")
        self._docker.run("load", "--quiet", "--input", str(archive))
        for registry in upstream.registries(user, self._private):
            command = registry.process(self._layout, authority, {"registry": self._programs / "registry"}).command
            self._start(registry.name, registry.address, _CARRIER, command)
        server = [_PYTHON, "-m", "rig.stand_in_server", str(stand_in_settings(self._layout))]
        self._start("stand-in", NODE_ADDRESS, python_image, server)
        self._start("hanging", HANGING_ADDRESS, python_image, [_PYTHON, "-c", _SILENT])
        self._await(NODE_ADDRESS, UPSTREAM_ADDRESS, PUBLIC_ADDRESS)

    def forget(self) -> None:
        """Read no more logs: what they are of is about to end."""
        for follower in self._followers:
            follower.stop()
        self._followers.clear()

    def down(self) -> None:
        """Remove all of it."""
        filters = ["--filter", f"network={self.network}"]
        for container in self._docker.run("ps", "--all", "--quiet", *filters).split():
            self._docker.run("rm", "--force", "--volumes", container)
        if self._docker.run("network", "ls", "--quiet", "--filter", f"name=^{self.network}$").strip():
            self._docker.run("network", "rm", self.network)

    def crane(self, home: Path) -> list[str]:
        """Return the command of crane, run beside the registries."""
        environment = {"SSL_CERT_FILE": str(self._layout.certificate_authority), "HOME": str(home)}
        given = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        inside = [self._container("upstream"), str(self._programs / "crane")]
        return [*self._docker.command("exec", "--interactive", *given), *inside]

    def _await(self, *addresses: str) -> None:
        """Wait until everything takes connections; where something has ended, its log says why."""
        try:
            self._docker.run("exec", self._container("hanging"), _PYTHON, "-c", _PROBE, *addresses)
        except RigError as error:
            logs = (f"--- end of {each.log}:\n{tail_of(each.log)}" for each in self._followers)
            raise RigError("\n".join([str(error), *logs])) from None

    @property
    def _programs(self) -> Path:
        return self._layout.workdir / "programs"

    def _container(self, name: str) -> str:
        return f"{self.network}-{name}"

    def _copy_programs(self) -> None:
        # The working folder is all that containers see of this machine.
        self._programs.mkdir()
        for name in ("registry", "crane"):
            shutil.copy2(self._binaries[name], self._programs / name)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "hack" / "rig", self._programs / "rig", ignore=ignore)

    def _start(self, name: str, address: str, image: str, command: Sequence[str]) -> None:
        names = names_by_address(self._private)[address]
        folder = str(self._layout.workdir)
        arguments = [
            *("--detach", "--name", self._container(name), "--network", self.network, "--ip", address),
            *(word for alias in names for word in ("--network-alias", alias)),
            # Root: the keys are readable by nobody else.
            *("--user", "0", "--volume", f"{folder}:{folder}", "--entrypoint", command[0]),
            *("--env", f"PYTHONPATH={self._programs}", "--env", "OTEL_TRACES_EXPORTER=none"),
        ]
        self._docker.run("run", *arguments, image, *command[1:])
        log = self._layout.logs / f"{name}.log"
        follower = Process(f"{name}-log", self._docker.command("logs", "--follow", self._container(name)), log=log)
        follower.start()
        self._followers.append(follower)
