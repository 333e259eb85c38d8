"""A real registry (distribution): its configuration and its process."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rig.authority import KeyPair
from rig.processes import Process


@dataclass(frozen=True, slots=True)
class Distribution:
    """One registry that is not up yet."""

    name: str
    address: str
    """Address and port."""
    storage: Path
    """The images; registries over the same folder have the same ones."""
    pair: KeyPair | None = None
    """Its certificate; None means plain HTTP."""
    auth: Mapping[str, object] = field(default_factory=dict)
    """Who may pull and push, in distribution's own words; empty means everybody."""

    def process(self, program: Path, configuration: Path, log: Path) -> Process:
        """Write its configuration, and return it as a process."""
        # JSON is YAML.
        configuration.write_text(json.dumps(self._configuration(), indent=2))
        # It would ask a collector on the internet's behalf otherwise, and log that there is none.
        environment = {"OTEL_TRACES_EXPORTER": "none"}
        return Process(self.name, [str(program), "serve", str(configuration)], log=log, env=environment)

    def _configuration(self) -> Mapping[str, object]:
        http: dict[str, object] = {"addr": self.address, "secret": secrets.token_hex(16)}
        if self.pair is not None:
            http["tls"] = {"certificate": str(self.pair.certificate), "key": str(self.pair.key)}
        return {
            "version": "0.1",
            "log": {"level": "info", "fields": {"service": self.name}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}},
            "http": http,
            **({"auth": self.auth} if self.auth else {}),
        }
