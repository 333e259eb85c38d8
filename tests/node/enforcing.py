"""NetworkPolicies at work on the rig's node, whose network knows none: the packet filter gets rules made of them.

Of Pods as they are when it begins, which is enough for a test; and of what the chart renders, not of everything that a
NetworkPolicy can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rig.node import Node

Json = dict[str, Any]
_CHAIN = "RIG-POLICIES"
_PROGRAMS = "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
_ANYWHERE = ip_network("0.0.0.0/0")


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A Pod as far as policies know it."""

    namespace: str
    labels: dict[str, str]
    address: str


@contextmanager
def enforced(node: Node, policies: list[Json], pods: list[PodAddress]) -> Iterator[None]:
    """Hold the Pods to the policies for a while."""
    filter_ = ["env", _PROGRAMS, "iptables", "--wait"]
    node.run(["env", _PROGRAMS, "iptables-restore", "--noflush", "--wait"], stdin=write_rules(policies, pods))
    # Packets between Pods are forwarded; those to the node and to what has an address on it come in. What the node
    # itself sends to its Pods goes out, and no policy is about that.
    hooks = ("FORWARD", "INPUT")
    for hook in hooks:
        node.run([*filter_, "--insert", hook, "--jump", _CHAIN])
    try:
        yield
    finally:
        for hook in hooks:
            node.run([*filter_, "--delete", hook, "--jump", _CHAIN])


def write_rules(policies: list[Json], pods: list[PodAddress]) -> str:
    """Write the packet filter's rules: a chain for each direction of each Pod that a policy selects."""
    lines, chains = [f"-A {_CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"], [_CHAIN]
    for number, pod in enumerate(pods):
        mine = [policy["spec"] for policy in policies if _selects(policy, pod)]
        for side, letter, here, there in (("egress", "o", "-s", "-d"), ("ingress", "i", "-d", "-s")):
            if mine:
                chain = f"{_CHAIN}-{letter}{number}"
                chains.append(chain)
                lines.append(f"-A {_CHAIN} {here} {pod.address} -j {chain}")
                rules = [rule for spec in mine for rule in spec.get(side, [])]
                lines += [
                    f"-A {chain} {match} -j RETURN" for rule in rules for match in _matches(rule, there, pod, pods)
                ]
                lines.append(f"-A {chain} -p tcp -j REJECT --reject-with tcp-reset")
                lines.append(f"-A {chain} -j REJECT")
    return "\n".join(["*filter", *(f":{chain} - [0:0]" for chain in chains), *lines, "COMMIT", ""])


def _selects(policy: Json, pod: PodAddress) -> bool:
    """Tell whether a policy is about a Pod."""
    wanted: dict[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    return policy["metadata"]["namespace"] == pod.namespace and wanted.items() <= pod.labels.items()


def _matches(rule: Json, there: str, pod: PodAddress, pods: list[PodAddress]) -> Iterator[str]:
    """Yield what a packet has to look like for a rule to let it pass."""
    peers = rule.get("from", rule.get("to"))
    networks = [_ANYWHERE] if peers is None else [each for peer in peers for each in _networks(peer, pod, pods)]
    for port in rule["ports"]:
        for network in networks:
            yield f"-p {port['protocol'].lower()} --dport {port['port']} {there} {network}"


def _networks(peer: Json, pod: PodAddress, pods: list[PodAddress]) -> Iterable[object]:
    """Return the networks that a peer stands for; the node knows addresses of the fourth version only."""
    if "ipBlock" in peer:
        block = ip_network(peer["ipBlock"]["cidr"])
        without = map(ip_network, peer["ipBlock"].get("except", []))
        return _subtract(block, [each for each in without if isinstance(each, IPv4Network)])
    wanted: dict[str, str] = peer["podSelector"]["matchLabels"]
    return [each.address for each in pods if each.namespace == pod.namespace and wanted.items() <= each.labels.items()]


def _subtract(block: object, without: list[IPv4Network]) -> list[IPv4Network]:
    """Return what is left of a network when others are taken out of it."""
    if not isinstance(block, IPv4Network):
        return []
    left = [block]
    for hole in without:
        left = [
            part
            for each in left
            for part in (each.address_exclude(hole) if hole.subnet_of(each) else [each])
            if not part.subnet_of(hole)
        ]
    return left
