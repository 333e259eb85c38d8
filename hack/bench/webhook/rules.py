"""What all servers under test know: which namespaces are covered, and what becomes of images there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.review import NAMESPACE as POD_NAMESPACE
from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.routes import Route, RoutingTable

SECRET_NAME = "replicated-proxy-registry"  # noqa: S105 - the name of a Secret.
_LICENSES = 20
_COVERING = 10
_PROXY = "proxy.replicated.com"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in the form that the comparisons take.

    Attributes:
        prefixes: by namespace, what is put before an image.
        proxy: the host whose images stay.
        secret: the pull secret.
    """

    prefixes: Mapping[str, str]
    proxy: str = _PROXY
    secret: str = SECRET_NAME


def write_rules(folder: Path) -> None:
    """Write them for the comparisons."""
    prefixes = {f"team-{number}": _prefix(number) for number in range(_LICENSES)}
    rules = Rules({**prefixes, POD_NAMESPACE: _prefix(_COVERING)})
    (folder / "rules.json").write_text(json.dumps(asdict(rules)), encoding="utf-8")


def read_rules(folder: Path) -> Rules:
    """Read them."""
    return Rules(**json.loads((folder / "rules.json").read_text(encoding="utf-8")))


def routing_table() -> RoutingTable:
    """Return the same as our routing table: one License covers the Pods' namespace by name, among others."""
    hosts = Hosts(_PROXY, "registry.replicated.com")
    routes = tuple(
        Route(f"team-{number}/license", f"uid-{number}", f"team-{number}", f"app-{number}", hosts)
        for number in range(_LICENSES)
    )
    return RoutingTable(SECRET_NAME, routes, {POD_NAMESPACE: (_COVERING,)})


def _prefix(number: int) -> str:
    """Return what is put before the images of an application."""
    return f"{_PROXY}/proxy/app-{number}/"
