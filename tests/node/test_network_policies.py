"""The chart's NetworkPolicies enforced on the node: everything of ours works, and what is not needed is closed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from demo.story import IMAGE, PROXIED
from node.conftest import Installed, Json
from node.enforcing import PodAddress, enforced
from rig.layout import DNS_ADDRESS, NODE_ADDRESS, PUBLIC_ADDRESS, PUBLIC_REGISTRY, REGISTRY_NETWORK
from rig.manifests import read_manifests
from rig.outages import container_process
from rig.processes import run
from rig.roles import CHART, RELEASE
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until

pytestmark = [pytest.mark.node, pytest.mark.own_node]

_VALUES: Final = (
    "networkPolicy.enabled=true",
    f"networkPolicy.apiServer.cidrs={{{NODE_ADDRESS}}}",
    f"networkPolicy.webhookCidrs={{{NODE_ADDRESS}}}",
    f"settings.detection.allowedNetworks={{{REGISTRY_NETWORK}}}",
)
_CONNECT: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
except OSError:
    print("closed")
else:
    print("open")
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """A Pod of the operator, seen from inside its network.

    Attributes:
        pod: as policies know it.
        process: the host's number of its process.
    """

    pod: PodAddress
    process: int

    def reaches(self, address: str, port: int) -> bool:
        """Tell whether a connection from this Pod comes about."""
        enter = ["nsenter", f"--net=/proc/{self.process}/ns/net", "--"]
        return run([*enter, sys.executable, "-c", _CONNECT, address, str(port)]).strip() == "open"


def _replicas(installed: Installed, role: str) -> list[Replica]:
    """Return the running Pods of a role."""
    selector = f"app.kubernetes.io/component={role}"
    items = installed.get("pods", "-n", OPERATOR, "-l", selector, "--field-selector=status.phase=Running")["items"]
    return [
        Replica(
            PodAddress(OPERATOR, item["metadata"]["labels"], item["status"]["podIP"]),
            container_process(item["status"]["containerStatuses"][0]["containerID"]),
        )
        for item in items
        if "deletionTimestamp" not in item["metadata"]
    ]


@dataclass(frozen=True, slots=True)
class Network:
    """The operator's Pods, and what they could reach before anything was closed."""

    controller: Replica
    webhooks: list[Replica]
    before: dict[tuple[str, int], bool]

    def flows(self) -> dict[tuple[str, int], tuple[Replica, bool]]:
        """Return connections by target and port: who begins them, and whether they are needed."""
        webhook = self.webhooks[0]
        return {
            ("controller to API server", 6443): (self.controller, True),
            ("controller to webhook", 10250): (self.controller, True),
            ("controller to name server", 53): (self.controller, True),
            ("controller to webhook's metrics", 8080): (self.controller, False),
            ("controller to registry", 443): (self.controller, False),
            ("webhook to API server", 6443): (webhook, True),
            ("webhook to name server", 53): (webhook, True),
            ("webhook to registry", 443): (webhook, True),
            ("webhook to other webhook", 10250): (webhook, False),
            ("webhook to controller's metrics", 8080): (webhook, False),
            ("webhook to kubelet", 10250): (webhook, False),
        }

    def address(self, what: str) -> str:
        """Return the address of a connection's target."""
        webhook, other = self.webhooks
        target = what.partition(" to ")[2]
        return {
            "API server": NODE_ADDRESS,
            "kubelet": NODE_ADDRESS,
            "name server": DNS_ADDRESS,
            "registry": PUBLIC_ADDRESS,
            "webhook": webhook.pod.address,
            "webhook's metrics": webhook.pod.address,
            "other webhook": other.pod.address,
            "controller's metrics": self.controller.pod.address,
        }[target]

    def look(self) -> dict[tuple[str, int], bool]:
        """Try every connection."""
        return {
            (what, port): source.reaches(self.address(what), port) for (what, port), (source, _) in self.flows().items()
        }


@pytest.fixture(scope="module")
def network(installed: Installed) -> Iterator[Network]:
    """The operator's Pods held to the chart's policies for this module."""
    values = [argument for value in _VALUES for argument in ("--set", value)]
    rendered = installed.node.helm("template", RELEASE, str(CHART), "--namespace", OPERATOR, *values)
    policies = [each for each in read_manifests(rendered) if each["kind"] == "NetworkPolicy"]
    (controller,), webhooks = _replicas(installed, "controller"), _replicas(installed, "webhook")
    open_ = Network(controller, webhooks, {})
    found = Network(controller, webhooks, open_.look())
    with enforced(installed.own_node, policies, [each.pod for each in (controller, *webhooks)]):
        yield found


def test_every_way_is_open_before(network: Network) -> None:
    """Without policies each of these connections comes about, so what is closed afterwards was closed by them."""
    assert [what for what, reached in network.before.items() if not reached] == []


def test_what_is_needed_is_open_and_the_rest_closed(network: Network) -> None:
    """Between Pods, to the node and to registries, exactly the listed connections come about."""
    assert network.look() == {key: needed for key, (_, needed) in network.flows().items()}


def test_the_operator_works(installed: Installed, network: Network, licensed: str) -> None:
    """A License is served, registries answer, Pods are rewritten or left, and what was learned is collected."""
    del network
    repository = f"{PUBLIC_REGISTRY}/my-org/behind-policies"
    installed.node.push_public_image(f"{repository}:v1")
    containers = [{"name": "public", "image": f"{repository}:v1"}, {"name": "private", "image": IMAGE}]
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "behind", "namespace": licensed}}
    text = json.dumps(pod | {"spec": {"containers": containers}})

    def images() -> list[str]:
        created = json.loads(installed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=text))
        return [each["image"] for each in created["spec"]["containers"]]

    # A registry that cannot be reached would make both private for good; one that is slow does so at first.
    wait_until(lambda: images() == [f"{repository}:v1", PROXIED], what="what the registries say", seconds=60)
    verdicts = ("configmap", "replicated-proxy-routes", "-n", OPERATOR)
    wait_until(
        lambda: repository in installed.get(*verdicts)["data"].get("verdicts.json", ""),
        what="the controller to collect the answer",
        seconds=60,
    )
