"""The private registry behind the proxy: the real one (distribution), refusing whoever has no password.

It holds the images of every private registry, and what vendors push to Replicated itself.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from rig.authority import Authority
from rig.errors import RigError
from rig.layout import REGISTRY_NAME, UPSTREAM_ADDRESS, Layout
from rig.processes import Process

USER = "rig-robot"
# Cheap on purpose: the password is random and lives for one run, and every request checks it.
_BCRYPT_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Upstream:
    """How to reach it; the customer never sees this."""

    password: str
    user: str = USER

    @classmethod
    def create(cls) -> "Upstream":
        """Choose a password."""
        return cls(secrets.token_urlsafe(24))


def htpasswd_line(user: str, password: str) -> str:
    """Return one line of an htpasswd file, in the only form that distribution reads."""
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS)).decode()}\n"


def address_of(name: str, private_registries: Sequence[str]) -> str:
    """Return where to push an image of that name.

    Raises:
        RigError: no registry of the node holds such images.
    """
    registry, _, repository = name.partition("/")
    if registry == REGISTRY_NAME:
        # The name itself is the stand-in's, where customers pull.
        return f"{UPSTREAM_ADDRESS}/{repository}"
    if registry not in private_registries:
        raise RigError(f"{name}: the node has no private registry {registry!r}; give Node its name")
    return name


def write_configuration(
    layout: Layout, authority: Authority, upstream: Upstream, private_registries: Sequence[str]
) -> None:
    """Write the registry's configuration, its certificate and its users."""
    pair = authority.server("upstream", [*private_registries, UPSTREAM_ADDRESS])
    (layout.etc / "htpasswd").write_text(htpasswd_line(upstream.user, upstream.password))
    configuration = {
        "version": "0.1",
        "log": {"level": "info", "fields": {"service": "upstream"}},
        "storage": {"filesystem": {"rootdirectory": str(layout.workdir / "upstream")}},
        "auth": {"htpasswd": {"realm": "upstream", "path": str(layout.etc / "htpasswd")}},
        "http": {
            "addr": f"{UPSTREAM_ADDRESS}:443",
            "secret": secrets.token_hex(16),
            "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        },
    }
    # JSON is YAML.
    (layout.etc / "upstream.yaml").write_text(json.dumps(configuration, indent=2))


def registry(layout: Layout, binaries: Mapping[str, Path]) -> Process:
    """Return the registry as a process."""
    command = [str(binaries["registry"]), "serve", str(layout.etc / "upstream.yaml")]
    # It would ask a collector on the internet's behalf otherwise, and log that there is none.
    return Process("upstream", command, log=layout.logs / "upstream.log", env={"OTEL_TRACES_EXPORTER": "none"})
