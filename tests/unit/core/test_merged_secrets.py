"""What the kubelet takes from a pull secret that several Licenses share: for every path the right license.

The secrets are planned from Licenses and Applications as the controller does, and read by the model of the kubelet's
keyring (tests/keyring.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from builders import a_license, an_application
from keyring import Keyring, read_docker_config
from replicated_proxy.core.applications import Application
from replicated_proxy.core.coverage import CoverageSettings, Sources, plan_table
from replicated_proxy.core.hosts import DEFAULT_PROXY_HOST, DEFAULT_REGISTRY_HOST, Hosts
from replicated_proxy.core.licenses import ExpiryPolicy, License
from replicated_proxy.core.routes import Covering, Route, RoutingTable
from replicated_proxy.core.secret_contents import SecretContents
from replicated_proxy.core.validity import Moment, ValidityPolicy

SHARED = "shared"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
REVOKING = CoverageSettings("pull", frozenset(), validity=ValidityPolicy(on_expiry=ExpiryPolicy.REVOKE))
ENDED = {"expires_at": {"value": "2026-05-01T00:00:00Z", "valueType": "String"}}

# Prefixes of one another, and names that mean something in paths of the proxy or to the keyring.
SLUGS = ("app", "app2", "app-x", "app.x", "ap", "proxy", "v1", "v2", "library", "anonymous")
DOMAINS = ("", "", "proxy.acme.com", "reg.acme.com", "a.proxy.acme.com", "reg.acme.com:5000", DEFAULT_REGISTRY_HOST)
ENDPOINTS = ("", "", "https://staging.replicated.app", "https://replicated-app-x.okteto.repldev.com")


@dataclass(frozen=True, slots=True)
class Vendor:
    """One application's License, and what makes it cover the shared namespace."""

    lic: License
    application: Application

    @property
    def password(self) -> str:
        """The license ID."""
        return self.lic.license_id.reveal()


def a_vendor(
    slug: str, number: int = 0, *, proxy: str = "", registry: str = "", home: str = "", **spec: object
) -> Vendor:
    """Make a License in a namespace of its own, and an Application that reaches everywhere; the number is its age."""
    place = home or f"home-{number}"
    metadata = {"namespace": place, "name": f"{slug}-{number}", "creationTimestamp": f"2026-01-01T00:00:{number:02}Z"}
    lic = a_license(slug, metadata=metadata, licenseID=f"id-{number}-of-{slug}", **spec)
    application = an_application(
        "*",
        metadata=metadata | {"labels": {"kots.io/app-slug": slug}},
        proxyRegistryDomain=proxy,
        replicatedRegistryDomain=registry,
    )
    return Vendor(lic, application)


@st.composite
def some_vendors(draw: st.DrawFn, *, least: int = 1) -> list[Vendor]:
    """Make Licenses that share hosts, slugs and namespaces or do not; the first is the oldest."""
    choice = st.tuples(
        st.sampled_from(SLUGS),
        st.sampled_from(DOMAINS),
        st.sampled_from(DOMAINS),
        st.sampled_from(DOMAINS),
        st.sampled_from(ENDPOINTS),
        st.booleans(),
    )
    return [
        a_vendor(
            slug,
            number,
            proxy=proxy,
            registry=registry,
            home=SHARED if at_home else "",
            replicatedProxyDomain=domain,
            endpoint=endpoint,
        )
        for number, (slug, proxy, registry, domain, endpoint, at_home) in enumerate(
            draw(st.lists(choice, min_size=least, max_size=5))
        )
    ]


def plan(vendors: Iterable[Vendor], settings: CoverageSettings = REVOKING) -> SecretContents:
    """Plan the contents as the controller does."""
    vendors = list(vendors)
    sources = Sources(
        licenses=tuple(vendor.lic for vendor in vendors),
        applications=tuple(vendor.application for vendor in vendors),
        moment=Moment(NOW, NOW),
    )
    table = plan_table(sources, (), settings, RoutingTable("pull"))
    return SecretContents(table, {vendor.lic.identity.uid: vendor.lic for vendor in vendors})


def content_in(contents: SecretContents, namespace: str = SHARED) -> bytes:
    """Return the bytes for a namespace."""
    desired = contents.desired(namespace, None)
    assert desired is not None
    return desired.content


def passwords(content: bytes, repository: str) -> list[str]:
    """Return the passwords that the kubelet tries for a repository, in its order."""
    return [found.password for found in Keyring(read_docker_config(content)).lookup(repository)]


def covering(contents: SecretContents) -> list[Covering]:
    """Return the Licenses that cover the shared namespace and are not revoked, oldest first."""
    return [item for item in contents.plan.table.covering(SHARED) if not item.route.expired]


def paths_of(route: Route) -> list[str]:
    """Return repositories of an application, on each host that its license is good for."""
    hosts = route.hosts
    proxied = [f"{host}/proxy/{route.app_slug}/" for host in (hosts.proxy, hosts.default_proxy)]
    hosted = [f"{host}/{route.app_slug}/" for host in (hosts.registry, hosts.default_registry)]
    return [f"{start}quay.io/org/api" for start in proxied] + [f"{start}images/api" for start in hosted]


def misdirected(contents: SecretContents) -> list[tuple[str, list[str]]]:
    """Return the paths for which the kubelet would first try another license than the application's."""
    content = content_in(contents)
    return [
        (path, tried)
        for item in covering(contents)
        for path in paths_of(item.route)
        if (tried := passwords(content, path))[:1] != [contents.licenses[item.route.uid].license_id.reveal()]
    ]


@given(some_vendors())
@example([a_vendor("app", 0), a_vendor("v2", 1), a_vendor("v1", 2)])
@example([a_vendor("app", 0, proxy="reg.acme.com"), a_vendor("app2", 1, registry="reg.acme.com")])
@example([a_vendor("app", 0, registry=DEFAULT_PROXY_HOST), a_vendor("ap", 1)])
def test_every_path_gets_its_own_license_first(vendors: list[Vendor]) -> None:
    """For each path of each covering License, on its own hosts and the default ones, its credential comes first."""
    assert misdirected(plan(vendors)) == []


@given(some_vendors(least=2))
def test_no_third_license_is_tried(vendors: list[Vendor]) -> None:
    """After a path's own license the kubelet tries the oldest one's at most; for the slug `proxy` see below."""
    contents = plan(vendor for vendor in vendors if vendor.lic.app_slug != "proxy" or vendor is vendors[0])
    content, items = content_in(contents), covering(contents)
    own = {item.route.uid: contents.licenses[item.route.uid].license_id.reveal() for item in items}

    for item in items:
        for path in paths_of(item.route):
            assert set(passwords(content, path)) <= {own[item.route.uid], own[items[0].route.uid]}


@given(some_vendors(least=2), st.data())
def test_others_pull_on_when_one_license_goes(vendors: list[Vendor], data: st.DataObject) -> None:
    """Without any one of the Licenses the paths of the others still get their own, and nothing of it is left."""
    gone = data.draw(st.sampled_from(vendors))
    rest = plan(vendor for vendor in vendors if vendor is not gone)

    assert misdirected(rest) == []
    assert gone.password not in {entry.password for entry in read_docker_config(content_in(rest)).values()}


@given(some_vendors(least=2), st.data())
def test_others_pull_on_when_one_license_expires(vendors: list[Vendor], data: st.DataObject) -> None:
    """A License that expires under `Revoke` loses its entries, also to another of its slug; others keep theirs."""
    gone = data.draw(st.sampled_from(vendors))
    ended = replace(gone.lic, expiry=a_license("x", entitlements=ENDED).expiry)
    contents = plan(replace(vendor, lic=ended) if vendor is gone else vendor for vendor in vendors)

    assert misdirected(contents) == []
    assert gone.password not in {entry.password for entry in read_docker_config(content_in(contents)).values()}


@given(some_vendors())
def test_whole_hosts_are_the_oldest_license_s(vendors: list[Vendor]) -> None:
    """What names no application is pulled with the oldest License on its hosts, and anonymously from other ones."""
    contents = plan(vendors)
    content = content_in(contents)
    routes = [item.route for item in covering(contents)]
    oldest = contents.licenses[routes[0].uid].license_id.reveal()
    whole = {host for host in read_docker_config(content) if "/" not in host}

    assert whole == set(hosts_of(routes[0].hosts))
    for host in {host for route in routes for host in hosts_of(route.hosts)}:
        assert passwords(content, f"{host}/nobody/image") == ([oldest] if host in whole else [])


@given(some_vendors())
def test_no_license_is_sent_to_a_host_that_is_not_its_own(vendors: list[Vendor]) -> None:
    """Every entry of a secret is for a host of the License whose credential it holds."""
    contents = plan(vendors)
    hosts = {
        contents.licenses[item.route.uid].license_id.reveal(): hosts_of(item.route.hosts) for item in covering(contents)
    }

    for key, entry in read_docker_config(content_in(contents)).items():
        assert key.partition("/")[0] in hosts[entry.password]


def hosts_of(hosts: Hosts) -> tuple[str, ...]:
    """Return the hosts that a license is good for."""
    return (hosts.proxy, hosts.registry, hosts.default_proxy, hosts.default_registry)


@given(some_vendors(least=2), st.data())
def test_content_does_not_depend_on_the_order_of_listing(vendors: list[Vendor], data: st.DataObject) -> None:
    """The API server's order of Licenses decides nothing: the same Licenses give the same bytes."""
    shuffled = data.draw(st.permutations(vendors))

    assert content_in(plan(vendors)) == content_in(plan(shuffled))


@given(some_vendors(least=2))
def test_one_license_of_each_slug_gives_entries(vendors: list[Vendor]) -> None:
    """Of several Licenses of one slug one alone has entries: the namespace's own, else the oldest."""
    best: dict[str, Vendor] = {}
    for vendor in sorted(vendors, key=lambda item: item.lic.identity.namespace != SHARED):
        best.setdefault(vendor.lic.app_slug, vendor)

    found = {entry.password for entry in read_docker_config(content_in(plan(vendors))).values()}

    assert found == {vendor.password for vendor in best.values()}


@given(st.sampled_from(SLUGS), st.sampled_from(ENDPOINTS))
def test_one_license_gives_kots_bytes_whatever_its_slug(slug: str, endpoint: str) -> None:
    """Alone in a namespace a License stands under its two hosts only, in the bytes that KOTS writes."""
    vendor = a_vendor(slug, endpoint=endpoint)
    contents = plan([vendor])
    (item,) = covering(contents)
    entry = {"auth": base64.b64encode(f"LICENSE_ID:{vendor.password}".encode()).decode()}
    expected = dict.fromkeys(sorted({item.route.hosts.proxy, item.route.hosts.registry}), entry)

    assert content_in(contents) == json.dumps({"auths": expected}, separators=(",", ":")).encode()


def test_path_that_two_applications_may_mean_is_tried_with_both_licenses() -> None:
    """An application named `proxy`, whose registry host is another's proxy host, shares paths with it.

    Nothing in such a path tells whose it is. The kubelet tries the proxied application's license first and the other
    one after it, so that either pull succeeds.
    """
    named_proxy = a_vendor("proxy", 1, registry="images.acme.com")
    proxied = a_vendor("app", 2, proxy="images.acme.com")
    content = content_in(plan([a_vendor("oldest", 0), named_proxy, proxied]))

    assert passwords(content, "images.acme.com/proxy/app/image") == [proxied.password, named_proxy.password]
    assert passwords(content, "images.acme.com/proxy/image") == [named_proxy.password]


def test_shadowed_license_gives_no_entry_even_for_hosts_of_its_own() -> None:
    """Two Licenses of one slug are one application: the loser's staging hosts are pulled from anonymously."""
    production = a_vendor("app", 0)
    staging = a_vendor("app", 1, endpoint="https://staging.replicated.app")
    content = content_in(plan([production, staging]))

    assert passwords(content, "proxy.replicated.com/proxy/app/quay.io/org/api") == [production.password]
    assert passwords(content, "proxy.staging.replicated.com/proxy/app/quay.io/org/api") == []
