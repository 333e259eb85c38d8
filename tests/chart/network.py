"""Who may talk to whom under rendered NetworkPolicies: what a network that enforces them would decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection.

    Attributes:
        address: its IP address.
        labels: of the Pod; None where it is none, or one in its node's network.
        namespace: where the Pod is.
        namespace_labels: of that namespace.
    """

    address: str
    labels: dict[str, str] | None = None
    namespace: str = ""
    namespace_labels: dict[str, str] = field(default_factory=dict)


def allows(policies: list[Json], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Tell whether a connection comes about: both ends have to allow it, and what no policy selects allows all."""
    out = _one_end(policies, source, target, "Egress", (port, protocol))
    return out and _one_end(policies, target, source, "Ingress", (port, protocol))


def _one_end(policies: list[Json], here: End, there: End, direction: str, port: tuple[int, str]) -> bool:
    """Tell whether the policies of one end allow it."""
    mine = [
        policy["spec"]
        for policy in policies
        if here.labels is not None
        and policy["metadata"]["namespace"] == here.namespace
        and _matches(policy["spec"]["podSelector"], here.labels)
        and direction in policy["spec"]["policyTypes"]
    ]
    side, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    rules = [rule for spec in mine for rule in spec.get(side, [])]
    return not mine or any(
        _has_port(rule.get("ports"), port) and _has_peer(rule.get(peers), here, there) for rule in rules
    )


def _has_port(ports: list[Json] | None, port: tuple[int, str]) -> bool:
    """Tell whether a rule speaks of a port; one without ports speaks of all."""
    return not ports or port in {(each["port"], each["protocol"]) for each in ports}


def _has_peer(peers: list[Json] | None, here: End, there: End) -> bool:
    """Tell whether a rule speaks of the other end; one without peers speaks of everybody."""
    return not peers or any(_is_peer(peer, here, there) for peer in peers)


def _is_peer(peer: Json, here: End, there: End) -> bool:
    """Tell whether one peer is the other end."""
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ip_address(there.address)
        inside = [ip_network(each) for each in (block["cidr"], *block.get("except", []))]
        return address in inside[0] and not any(address in each for each in inside[1:])
    if there.labels is None:
        return False
    if "namespaceSelector" in peer:
        known = _matches(peer["namespaceSelector"], there.namespace_labels)
    else:
        known = there.namespace == here.namespace
    return known and _matches(peer.get("podSelector", {}), there.labels)


def _matches(selector: Json, labels: dict[str, str]) -> bool:
    """Tell whether labels meet a selector; the chart renders no expressions."""
    assert set(selector) <= {"matchLabels"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
