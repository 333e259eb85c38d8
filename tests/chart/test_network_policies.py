"""What goes through where the network enforces the chart's NetworkPolicies: what is needed, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from chart.network import End, allows

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Json

_HOME = "operator-home"
_ON: Json = {"networkPolicy": {"enabled": True}}


def _role(role: str, address: str) -> End:
    """Write a Pod of the release."""
    labels = {
        "app.kubernetes.io/name": "replicated-proxy-operator",
        "app.kubernetes.io/instance": "proxy",
        "app.kubernetes.io/component": role,
    }
    return End(address, labels, _HOME)


CONTROLLER, WEBHOOK, OTHER_WEBHOOK = (
    _role("controller", "10.1.0.2"),
    _role("webhook", "10.1.0.3"),
    _role("webhook", "10.1.0.4"),
)
CLEANUP, TEST = _role("cleanup", "10.1.0.5"), _role("test", "10.1.0.6")
API_SERVER = End("172.20.0.10")
DNS = End("10.1.0.53", {"k8s-app": "kube-dns"}, "kube-system", {"kubernetes.io/metadata.name": "kube-system"})
NODE_DNS = End("169.254.20.10")
PROMETHEUS = End("10.1.0.60", {"app": "prometheus"}, "monitoring", {"kubernetes.io/metadata.name": "monitoring"})
TENANT = End("10.1.0.70", {"app": "api"}, "shop", {"kubernetes.io/metadata.name": "shop"})
NEIGHBOUR = End("10.1.0.71", {"app": "other"}, _HOME)
REGISTRY, REGISTRY_6 = End("3.94.224.37"), End("2600:1f18::5")
METADATA, INTRANET, INTRANET_6 = End("169.254.169.254"), End("192.168.7.7"), End("fd00::7")
EGRESS_PROXY = End("10.9.0.1")

Flow = tuple[End, End, int]


def _policies(chart: Chart, values: Json) -> list[Json]:
    """Render the policies of both roles and of the hooks."""
    every = [*chart.objects(values), *chart.tests(values)]
    return [each for each in every if each["kind"] == "NetworkPolicy"]


def _network(**values: object) -> Json:
    """Write values with the policies on, and some of their own."""
    return {"networkPolicy": {"enabled": True, **values}}


_NEEDED: list[Flow] = [
    (API_SERVER, WEBHOOK, 10250),
    (CONTROLLER, WEBHOOK, 10250),
    (CONTROLLER, API_SERVER, 443),
    (CONTROLLER, API_SERVER, 6443),
    (CONTROLLER, DNS, 53),
    (WEBHOOK, API_SERVER, 443),
    (WEBHOOK, API_SERVER, 6443),
    (WEBHOOK, DNS, 53),
    (WEBHOOK, NODE_DNS, 53),
    (WEBHOOK, REGISTRY, 443),
    (WEBHOOK, REGISTRY_6, 443),
    (PROMETHEUS, CONTROLLER, 8080),
    (PROMETHEUS, WEBHOOK, 8080),
    (CLEANUP, API_SERVER, 6443),
    (TEST, API_SERVER, 6443),
]
_NOT_NEEDED: list[Flow] = [
    (TENANT, CONTROLLER, 10250),
    (TENANT, WEBHOOK, 22),
    (CONTROLLER, REGISTRY, 80),
    (CONTROLLER, TENANT, 8080),
    (CONTROLLER, WEBHOOK, 8080),
    (WEBHOOK, CONTROLLER, 8080),
    (WEBHOOK, OTHER_WEBHOOK, 10250),
    (WEBHOOK, TENANT, 80),
    (WEBHOOK, REGISTRY, 80),
    (WEBHOOK, REGISTRY, 22),
    (TENANT, CLEANUP, 8080),
    (TENANT, TEST, 8080),
    (CLEANUP, REGISTRY, 80),
    (TEST, DNS, 53),
]


def test_there_are_none_unless_asked_for(chart: Chart) -> None:
    """Where the API server is cannot be known to the chart, so a default would cut some installations off."""
    assert not _policies(chart, {})


def test_what_is_needed_goes_through(chart: Chart) -> None:
    """Admission, collection of verdicts, API server, names, registries, metrics; over UDP for names, too."""
    policies = _policies(chart, {**_ON, "cleanup": {"onUninstall": True}})
    assert len(policies) == 4
    for source, target, port in _NEEDED:
        assert allows(policies, source, target, port), (source, target, port)
    for source in (CONTROLLER, WEBHOOK):
        assert allows(policies, source, DNS, 53, "UDP")


def test_everything_else_is_closed(chart: Chart) -> None:
    """Other ports, other Pods, and the ways between replicas that nothing takes."""
    policies = _policies(chart, {**_ON, "cleanup": {"onUninstall": True}})
    for source, target, port in _NOT_NEEDED:
        assert not allows(policies, source, target, port), (source, target, port)
    assert not allows(policies, WEBHOOK, TENANT, 443, "UDP")


def test_nobody_elses_pods_are_touched(chart: Chart) -> None:
    """Pods of others, in the release's namespace too, send and get what they did before."""
    policies = _policies(chart, _ON)
    assert allows(policies, NEIGHBOUR, TENANT, 5432)
    assert allows(policies, TENANT, NEIGHBOUR, 5432)


def test_with_the_api_servers_networks_the_way_to_others_is_closed(chart: Chart) -> None:
    """Metadata services, the intranet and other Pods cannot be reached on the ports of registries."""
    network = _network(apiServer={"cidrs": ["172.20.0.0/24"], "ports": [6443]})
    policies = _policies(chart, {**network, "cleanup": {"onUninstall": True}})
    assert allows(policies, WEBHOOK, API_SERVER, 6443)
    assert allows(policies, WEBHOOK, REGISTRY, 443)
    for target in (METADATA, INTRANET, INTRANET_6, TENANT, API_SERVER):
        assert not allows(policies, WEBHOOK, target, 443), target
    for role in (CONTROLLER, CLEANUP, TEST):
        assert not allows(policies, role, REGISTRY, 443)


def test_the_settings_of_detection_count(chart: Chart) -> None:
    """Networks that the webhook may ask are open, those that it must not are closed, and no rule is illegal."""
    values = _network(apiServer={"cidrs": ["172.20.0.10"], "ports": [6443]})
    detection = {
        "allowedNetworks": ["192.168.7.0/24", "fd00::7"],
        "internalNetworks": ["3.94.0.0/16", "2600:1f18::/32"],
    }
    policies = _policies(chart, {**values, "settings": {"detection": detection}})
    assert allows(policies, WEBHOOK, INTRANET, 443)
    assert allows(policies, WEBHOOK, INTRANET_6, 443)
    assert allows(policies, WEBHOOK, API_SERVER, 6443)
    assert not allows(policies, WEBHOOK, REGISTRY, 443)
    assert not allows(policies, WEBHOOK, REGISTRY_6, 443)
    for block in _blocks(policies):
        outer = ip_network(block["cidr"])
        assert all(ip_network(each).version == outer.version for each in block.get("except", []))


def _blocks(policies: list[Json]) -> list[Json]:
    """Return every network that a rule speaks of."""
    rules = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
    return [peer["ipBlock"] for rule in rules for peer in rule.get("to", []) if "ipBlock" in peer]


def test_behind_an_egress_proxy_that_alone_is_reached(chart: Chart) -> None:
    """The proxy asks registries, so the webhook needs no way to them."""
    network = _network(apiServer={"cidrs": ["172.20.0.10"], "ports": [6443]}, registries={"proxyCidrs": ["10.9.0.1"]})
    values = {**network, "settings": {"detection": {"httpProxy": "http://proxy.corp.example:3128"}}}
    policies = _policies(chart, values)
    assert allows(policies, WEBHOOK, EGRESS_PROXY, 3128)
    assert not allows(policies, WEBHOOK, REGISTRY, 3128)
    assert not allows(policies, WEBHOOK, REGISTRY, 443)


@pytest.mark.parametrize("mode", ["all", "listed", "off"])
def test_where_no_registry_is_asked_the_way_is_closed(chart: Chart, mode: str) -> None:
    """Neither names nor registries nor collected answers are needed then."""
    network = _network(apiServer={"cidrs": ["172.20.0.10"], "ports": [6443]})
    policies = _policies(chart, {**network, "settings": {"rewrite": {"mode": mode}}})
    assert allows(policies, API_SERVER, WEBHOOK, 10250)
    for target, port in ((REGISTRY, 443), (DNS, 53)):
        assert not allows(policies, WEBHOOK, target, port)
    assert not allows(policies, CONTROLLER, WEBHOOK, 10250)


def test_callers_can_be_narrowed_down(chart: Chart) -> None:
    """With the API server's networks and Prometheus' namespace named, nobody else reaches the ports."""
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    policies = _policies(chart, _network(webhookCidrs=["172.20.0.0/24"], metricsFrom=[monitoring]))
    assert allows(policies, API_SERVER, WEBHOOK, 10250)
    assert allows(policies, CONTROLLER, WEBHOOK, 10250)
    assert not allows(policies, TENANT, WEBHOOK, 10250)
    for role in (CONTROLLER, WEBHOOK):
        assert allows(policies, PROMETHEUS, role, 8080)
        assert not allows(policies, TENANT, role, 8080)


def test_ports_follow_the_settings(chart: Chart) -> None:
    """Other ports of ours, of name servers and of registries are the ones that are open."""
    ports = {"webhook": {"port": 10260, "healthPort": 9090}, "controller": {"healthPort": 9091}}
    network = _network(dns={"ports": [5353]}, registries={"ports": [443, 5000]})
    policies = _policies(chart, {**network, "settings": ports})
    opened = [
        (API_SERVER, WEBHOOK, 10260),
        (CONTROLLER, WEBHOOK, 10260),
        (PROMETHEUS, WEBHOOK, 9090),
        (PROMETHEUS, CONTROLLER, 9091),
        (WEBHOOK, DNS, 5353),
        (WEBHOOK, REGISTRY, 5000),
    ]
    closed = [(API_SERVER, WEBHOOK, 10250), (PROMETHEUS, WEBHOOK, 8080), (WEBHOOK, DNS, 53)]
    assert all(allows(policies, *flow) for flow in opened)
    assert not any(allows(policies, *flow) for flow in closed)


def test_in_the_nodes_network_replicas_have_no_pods_address(chart: Chart) -> None:
    """The controller reaches them on their port wherever they are."""
    policies = _policies(chart, {**_ON, "webhook": {"hostNetwork": True}, "settings": {"webhook": {"port": 10260}}})
    on_node = replace(WEBHOOK, labels=None, address="172.20.0.77")
    assert allows(policies, CONTROLLER, on_node, 10260)
