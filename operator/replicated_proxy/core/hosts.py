"""Which proxy and registry host a License uses.

KOTS's precedence (kots `pkg/docker/registry/registry.go`), without the Installation object, which no cluster has,
and with the License's own proxy domains, which KOTS reads only in templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.core.applications import Application
from replicated_proxy.core.licenses import License

DEFAULT_PROXY_HOST: Final = "proxy.replicated.com"
DEFAULT_REGISTRY_HOST: Final = "registry.replicated.com"
_STAGING: Final = "staging.replicated.app"
_DEVELOPMENT: Final = re.compile(r"replicated-app-([a-z0-9-]+)\.okteto\.repldev\.com", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostOverrides:
    """Hosts that the administrator sets by application slug; they beat everything else."""

    proxy: Mapping[str, str] = field(default_factory=dict)
    registry: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where a License pulls from.

    Attributes:
        proxy, registry: the effective hosts: images are rewritten to them.
        default_proxy, default_registry: Replicated's own for the License's environment. They stay valid beside
            custom domains, so they stay in the pull secret, and `default_registry` is what gets swapped.
    """

    proxy: str
    registry: str
    default_proxy: str = DEFAULT_PROXY_HOST
    default_registry: str = DEFAULT_REGISTRY_HOST


def default_hosts(endpoint: str) -> tuple[str, str]:
    """Map the host of `spec.endpoint` to proxy and registry; anything unknown gives the production hosts."""
    if endpoint == _STAGING:
        return "proxy.staging.replicated.com", "registry.staging.replicated.com"
    if match := _DEVELOPMENT.fullmatch(endpoint):
        domain = f"{match[1]}.okteto.repldev.com"
        return f"registry-proxy-{domain}", f"vendor-registry-v2-{domain}"
    return DEFAULT_PROXY_HOST, DEFAULT_REGISTRY_HOST


def resolve_hosts(lic: License, applications: Sequence[Application], overrides: HostOverrides) -> Hosts:
    """Pick the first host that is set; of several Applications the oldest that sets one wins.

    Args:
        lic: the License.
        applications: those bound to it, oldest first.
        overrides: the administrator's settings.
    """
    default_proxy, default_registry = default_hosts(lic.endpoint)
    proxies = (
        overrides.proxy.get(lic.app_slug, ""),
        *(application.proxy_domain for application in applications),
        *lic.proxy_domains,
    )
    registries = (
        overrides.registry.get(lic.app_slug, ""),
        *(application.registry_domain for application in applications),
    )
    return Hosts(
        proxy=next(filter(None, proxies), default_proxy),
        registry=next(filter(None, registries), default_registry),
        default_proxy=default_proxy,
        default_registry=default_registry,
    )
