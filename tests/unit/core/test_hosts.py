"""Which hosts a License pulls from."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_license, an_application, ids
from replicated_proxy.core.hosts import HostOverrides, Hosts, resolve_hosts

PROXY, REGISTRY = "proxy.replicated.com", "registry.replicated.com"
OKTETO = "okteto.repldev.com"

# replicated.md 3.3, without the Installation object.
ENDPOINTS = [
    ("", PROXY, REGISTRY),
    ("https://replicated.app", PROXY, REGISTRY),
    ("https://updates.example.io", PROXY, REGISTRY),
    ("protocol://user:pwd@staging.replicated.app", "proxy.staging.replicated.com", "registry.staging.replicated.com"),
    ("https://staging.replicated.app", "proxy.staging.replicated.com", "registry.staging.replicated.com"),
    ("https://evil-staging.replicated.app", PROXY, REGISTRY),
    ("https://staging.replicated.app.evil.com", PROXY, REGISTRY),
    (
        f"protocol://user:pwd@replicated-app-user1.{OKTETO}",
        f"registry-proxy-user1.{OKTETO}",
        f"vendor-registry-v2-user1.{OKTETO}",
    ),
    (f"https://replicated-app-.{OKTETO}", PROXY, REGISTRY),
    (f"https://replicated-app-user1.{OKTETO}.evil.com", PROXY, REGISTRY),
    ("<>invalidurl>>", PROXY, REGISTRY),
    # What Go's `url.Parse` refuses has no host, and what it takes has one.
    ("://staging.replicated.app", PROXY, REGISTRY),
    (" https://staging.replicated.app", PROXY, REGISTRY),
    ("https://staging.replicated.app:port", PROXY, REGISTRY),
    ("staging.replicated.app", PROXY, REGISTRY),
    ("https://staging.replicated.app:443/x?y@z", "proxy.staging.replicated.com", "registry.staging.replicated.com"),
    ("//staging.replicated.app", "proxy.staging.replicated.com", "registry.staging.replicated.com"),
]


@pytest.mark.parametrize(("endpoint", "proxy", "registry"), ENDPOINTS, ids=ids(ENDPOINTS))
def test_endpoint_gives_the_default_hosts(endpoint: str, proxy: str, registry: str) -> None:
    """Replicated's own environments have hosts of their own; everything else has the production ones."""
    hosts = resolve_hosts(a_license(endpoint=endpoint), [], HostOverrides())

    assert Hosts(proxy, registry, proxy, registry) == hosts


CHANNEL: dict[str, Any] = {"channels": [{"isDefault": True, "replicatedProxyDomain": "channel.acme.com"}]}
LICENSE: dict[str, Any] = {"replicatedProxyDomain": "license.acme.com"}
STAGING: dict[str, Any] = {"endpoint": "https://staging.replicated.app"}
OVERRIDES = HostOverrides({"my-app": "set.acme.com"}, {"my-app": "set-reg.acme.com"})
APPLICATION: dict[str, Any] = {"proxyRegistryDomain": "app.acme.com", "replicatedRegistryDomain": "app-reg.acme.com"}

PRECEDENCE: list[tuple[str, dict[str, Any], list[dict[str, Any]], HostOverrides, str, str]] = [
    ("nothing", {}, [], HostOverrides(), PROXY, REGISTRY),
    ("setting beats all", CHANNEL | LICENSE, [APPLICATION], OVERRIDES, "set.acme.com", "set-reg.acme.com"),
    (
        "setting of another application",
        {},
        [],
        HostOverrides({"other": "set.acme.com"}, {"other": "set-reg.acme.com"}),
        PROXY,
        REGISTRY,
    ),
    ("application", CHANNEL | LICENSE, [APPLICATION], HostOverrides(), "app.acme.com", "app-reg.acme.com"),
    (
        "only the application's proxy",
        {},
        [{"proxyRegistryDomain": "app.acme.com"}],
        HostOverrides(),
        "app.acme.com",
        REGISTRY,
    ),
    (
        "only the application's registry",
        CHANNEL,
        [{"replicatedRegistryDomain": "app-reg.acme.com"}],
        HostOverrides(),
        "channel.acme.com",
        "app-reg.acme.com",
    ),
    ("channel beats license", CHANNEL | LICENSE, [], HostOverrides(), "channel.acme.com", REGISTRY),
    ("license", LICENSE, [{}], HostOverrides(), "license.acme.com", REGISTRY),
    (
        "license beats endpoint",
        LICENSE | STAGING,
        [],
        HostOverrides(),
        "license.acme.com",
        "registry.staging.replicated.com",
    ),
    (
        "oldest application that sets one",
        {},
        [{}, {"proxyRegistryDomain": "old.acme.com"}, APPLICATION],
        HostOverrides(),
        "old.acme.com",
        "app-reg.acme.com",
    ),
]


@pytest.mark.parametrize(
    ("spec", "applications", "overrides", "proxy", "registry"), [row[1:] for row in PRECEDENCE], ids=ids(PRECEDENCE)
)
def test_first_host_that_is_set_counts(
    spec: dict[str, Any], applications: list[dict[str, Any]], overrides: HostOverrides, proxy: str, registry: str
) -> None:
    """Setting, Application, channel, License, endpoint, default; each of the two hosts by itself."""
    hosts = resolve_hosts(a_license(**spec), [an_application(**one) for one in applications], overrides)

    assert (proxy, registry) == (hosts.proxy, hosts.registry)


def test_default_hosts_stand_beside_custom_ones() -> None:
    """Custom domains do not hide the environment's own hosts, which older manifests name."""
    hosts = resolve_hosts(a_license(**LICENSE, **STAGING), [an_application(**APPLICATION)], HostOverrides())
    expected = ("proxy.staging.replicated.com", "registry.staging.replicated.com")

    assert expected == (
        hosts.default_proxy,
        hosts.default_registry,
    )
