"""The stand-in's settings: the same wherever it runs, as a process of a node or as a container beside one."""

import json
from collections.abc import Sequence
from pathlib import Path

from rig.authority import Authority
from rig.layout import NODE_ADDRESS, PROXY_NAMES, REGISTRY_NAME, UPSTREAM_ADDRESS, Layout
from rig.upstream import Upstream


def stand_in_settings(layout: Layout) -> Path:
    """Return the file that they are in."""
    return layout.etc / "stand-in.json"


def write_stand_in_settings(
    layout: Layout, authority: Authority, upstream: Upstream, private_registries: Sequence[str]
) -> None:
    """Write them, with a certificate for the names of Replicated's service."""
    pair = authority.server("stand-in", [*PROXY_NAMES, NODE_ADDRESS])
    # What vendors push to Replicated itself lies in the same registry, which has no name of its own for that.
    addresses = {host: host for host in private_registries} | {REGISTRY_NAME: UPSTREAM_ADDRESS}
    registries = {
        host: {"url": f"https://{address}", "user": upstream.user, "password": upstream.password}
        for host, address in addresses.items()
    }
    settings = {
        "address": NODE_ADDRESS,
        "certificate": str(pair.certificate),
        "key": str(pair.key),
        "certificate_authority": str(layout.certificate_authority),
        "licenses": str(layout.licenses),
        "upstreams": registries,
    }
    stand_in_settings(layout).write_text(json.dumps(settings, indent=2))
