"""Probes against servers on the loopback interface: names, addresses, an authority, and a prober that knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from replicated_proxy.core.images import parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.detection.asking import Prober
from replicated_proxy.detection.dialing import Lookups
from replicated_proxy.settings.detecting import DetectionSettings
from rig.authority import Authority, KeyPair
from rig.loopback import Loopback
from rig.scripted_server import Behaviour, ScriptedServer

PUBLIC = ProbeResult(ProbeOutcome.PUBLIC)
PRIVATE = ProbeResult(ProbeOutcome.PRIVATE)
INTERNAL = ProbeResult(ProbeOutcome.INTERNAL)
MISSING = ProbeResult(ProbeOutcome.MISSING)
# Nothing in these tests takes as long, on a busy machine either; those whose servers hang give up sooner, though not
# before they have connected.
PATIENCE = 120.0
IMPATIENCE = 1.5


def failed(cause: str) -> ProbeResult:
    """Return what a probe gives that learned nothing."""
    return ProbeResult(ProbeOutcome.FAILED, cause)


@dataclass(slots=True)
class Surroundings:
    """What a probe meets: names and the addresses behind them.

    Attributes:
        names: what DNS says; a name that is not there does not exist.
        asked: the names that were looked up, in order.
    """

    folder: Path
    loopback: Loopback
    authority: Authority
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> Surroundings:
        """Choose addresses and make an authority."""
        return cls(folder, Loopback.pick(), Authority.create(folder / "authority"))

    def look_up(self, host: str) -> list[str]:
        """Stand in for DNS."""
        self.asked.append(host)
        try:
            return list(self.names[host])
        except KeyError:
            raise OSError(f"no such name: {host}") from None

    def settings(self, **changes: object) -> DetectionSettings:
        """Return settings that allow the first network, and trust the authority."""
        settings = DetectionSettings(
            probe_seconds=PATIENCE,
            allowed_networks=(str(self.loopback.network),),
            ca_file=str(self.authority.pair.certificate),
        )
        return replace(settings, **changes)  # type: ignore[arg-type]

    def certificate(self, *names: str) -> KeyPair:
        """Return a server certificate."""
        return self.authority.server(names[0], names)

    @asynccontextmanager
    async def prober(self, **changes: object) -> AsyncIterator[Prober]:
        """Return a prober that is closed at the end."""
        prober = Prober(self.settings(**changes), lookups=Lookups(self.look_up), port=self.loopback.port)
        try:
            yield prober
        finally:
            await prober.close()

    async def probe(self, image: str, **changes: object) -> ProbeResult:
        """Ask about one image."""
        async with self.prober(**changes) as prober:
            return await prober.probe(parse_image(image))

    def serve(self, name: str, number: int, behave: Behaviour) -> ScriptedServer:
        """Return a server with a name, an address of the allowed network and a certificate for the name."""
        self.names[name] = [self.loopback.address(number)]
        return ScriptedServer(self.loopback.address(number), self.loopback.port, self.certificate(name), behave)

    def serve_forbidden(self, name: str, number: int, behave: Behaviour) -> ScriptedServer:
        """Return a server like any other, at an address that must not be asked."""
        self.names[name] = [self.loopback.other_address(number)]
        return ScriptedServer(self.loopback.other_address(number), self.loopback.port, self.certificate(name), behave)


def targets(server: ScriptedServer) -> Sequence[str]:
    """Return what a server was asked, as `METHOD path`."""
    return [f"{heard.method} {heard.path}" for heard in server.heard]
