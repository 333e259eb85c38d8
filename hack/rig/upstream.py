"""The registries of the world outside, by the real program (distribution): one for everybody, one behind a password.

The latter holds the images of every private registry, and what vendors push to Replicated itself.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from rig.authority import Authority
from rig.distribution import Distribution
from rig.errors import RigError
from rig.layout import PUBLIC_ADDRESS, PUBLIC_REGISTRY, REGISTRY_NAME, UPSTREAM_ADDRESS, Layout
from rig.processes import Process

USER = "rig-robot"
# Cheap on purpose: the password is random and lives for one run, and every request checks it.
_BCRYPT_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Upstream:
    """How to reach the private one; the customer never sees this."""

    password: str
    user: str = USER

    @classmethod
    def create(cls) -> "Upstream":
        """Choose a password."""
        return cls(secrets.token_urlsafe(24))


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry: where it listens, under which names, and who may pull."""

    name: str
    address: str
    hosts: tuple[str, ...]
    only: Upstream | None
    """Who may pull; None means everybody."""

    def process(self, layout: Layout, authority: Authority, binaries: Mapping[str, Path]) -> Process:
        """Write its configuration, its certificate and its users, and return it as a process."""
        pair = authority.server(self.name, [*self.hosts, self.address])
        storage = layout.workdir / "registries" / self.name
        registry = Distribution(self.name, f"{self.address}:443", storage, pair, self._auth(layout))
        log = layout.logs / f"{self.name}.log"
        return registry.process(binaries["registry"], layout.etc / f"{self.name}.yaml", log)

    def _auth(self, layout: Layout) -> Mapping[str, object]:
        if self.only is None:
            return {}
        users = layout.etc / f"{self.name}.htpasswd"
        users.write_text(htpasswd_line(self.only.user, self.only.password))
        return {"htpasswd": {"realm": self.name, "path": str(users)}}


def registries(upstream: Upstream, private_registries: Sequence[str]) -> tuple[Registry, ...]:
    """Return the registries of a node."""
    return (
        Registry("upstream", UPSTREAM_ADDRESS, tuple(private_registries), upstream),
        Registry("public", PUBLIC_ADDRESS, (PUBLIC_REGISTRY,), None),
    )


def htpasswd_line(user: str, password: str) -> str:
    """Return one line of an htpasswd file, in the only form that distribution reads."""
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS)).decode()}\n"


def address_of(name: str, private_registries: Sequence[str]) -> str:
    """Return where to push a private image of that name.

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
