"""Real registries (distribution) on addresses of our own: without passwords, with passwords, with a token server."""

import secrets
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rig import archives
from rig.authority import Authority
from rig.binaries import provide
from rig.distribution import Distribution
from rig.loopback import Loopback
from rig.ports import free_port
from rig.processes import Process, run
from rig.token_server import ISSUER
from rig.upstream import htpasswd_line
from rig.waiting import port_answers

_READY_SECONDS = 30
_LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Registries:
    """Starts them over one storage, so that they hold the same images; ends them when closed."""

    folder: Path
    loopback: Loopback
    authority: Authority
    binaries: Mapping[str, Path] = field(default_factory=lambda: provide(["registry", "crane"]))
    _ends: ExitStack = field(default_factory=ExitStack)

    def fill(self, images: Iterable[str]) -> None:
        """Push small images, by a registry of the same storage that is gone afterwards."""
        address = f"{_LOOPBACK}:{free_port(_LOOPBACK)}"
        process = self._start(Distribution("filling", address, self._storage))
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            program = Path(scratch) / "program"
            program.write_bytes(b"\x7fELF")
            for image in images:
                archive = archives.pack(program, image, Path(scratch) / "image.tar")
                crane = [str(self.binaries["crane"]), "push", "--insecure", str(archive), f"{address}/{image}"]
                run(crane, env={"HOME": scratch, "NO_PROXY": "*"})
        process.stop()

    def start_open(self, name: str, number: int) -> None:
        """Start one that anybody may pull from."""
        self._serve(name, number, {})

    def start_with_passwords(self, name: str, number: int) -> None:
        """Start one that knows nobody without a password."""
        users = self.folder / f"{name}.htpasswd"
        users.write_text(htpasswd_line("somebody", secrets.token_urlsafe(16)))
        self._serve(name, number, {"htpasswd": {"realm": name, "path": str(users)}})

    def start_with_tokens(self, name: str, number: int, realm: str) -> None:
        """Start one that wants tokens of the server at ``realm``, signed below our authority."""
        token = {
            "realm": realm,
            "service": name,
            "issuer": ISSUER,
            "rootcertbundle": str(self.authority.pair.certificate),
        }
        self._serve(name, number, {"token": token})

    def close(self) -> None:
        """End all of them."""
        self._ends.close()

    def _serve(self, name: str, number: int, auth: Mapping[str, object]) -> None:
        pair = self.authority.server(name, [name])
        address = f"{self.loopback.address(number)}:{self.loopback.port}"
        self._start(Distribution(name, address, self._storage, pair, auth))

    @property
    def _storage(self) -> Path:
        return self.folder / "storage"

    def _start(self, registry: Distribution) -> Process:
        files = (self.folder / f"{registry.name}.yaml", self.folder / f"{registry.name}.log")
        process = registry.process(self.binaries["registry"], *files)
        self._ends.callback(process.stop)
        process.start()
        address, _, port = registry.address.rpartition(":")
        process.wait_ready(lambda: port_answers(address, int(port)), what="listening", seconds=_READY_SECONDS)
        return process
