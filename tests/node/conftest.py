"""One node for the session, with the operator installed by helm from its real image."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from demo.story import IMAGE, LICENSE_ID, SECRET
from kept import KeptLogs, KeptObjects
from operating import a_license
from rig.clusters import make_whole
from rig.layout import Layout
from rig.node import Node
from rig.processes import run
from rig.release import install_release
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until
from rig.whole import WholeCluster
from selecting import chosen_cluster

Json = dict[str, Any]
Figures = Counter[tuple[str, ...]]
SLUG = "my-kots-app"


class Installed:
    """The node with the operator in it, in the words of a user."""

    def __init__(self, node: WholeCluster, kept: Sequence[KeptLogs | KeptObjects] = ()) -> None:
        self.node = node
        self._kept = kept

    def kept_places(self) -> dict[str, str]:
        """Return what was written since the node came up, that of Pods and objects included that are gone."""
        return {name: text for kept in self._kept for name, text in kept.places().items()}

    @property
    def own_node(self) -> Node:
        """The cluster as the rig's own node, for what no other can do; tests that use it are marked `own_node`."""
        if not isinstance(self.node, Node):
            pytest.fail("this test reaches into the rig's own node: mark it with `own_node`")
        return self.node

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it.
        """Run kubectl as the administrator."""
        return self.node.kubectl(*arguments, input=input)

    def kubectl_with_warnings(self, *arguments: str) -> str:
        """Run kubectl and return what it printed on both of its streams."""
        command = [str(self.node.binaries["kubectl"]), f"--kubeconfig={self.node.kubeconfig}", *arguments]
        return run(["sh", "-c", 'exec "$@" 2>&1', "sh", *command])

    def apply(self, *objects: Json) -> None:
        """Apply objects in one manifest."""
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def get(self, *what: str) -> Json:
        """Read an object, or an empty one where it does not exist."""
        text = self.kubectl("get", *what, "--ignore-not-found", "-o", "json")
        found: Json = json.loads(text) if text.strip() else {}
        return found

    def create_namespace(self, word: str) -> str:
        """Create a namespace of its own for a test, ready for Pods."""
        name = f"{word}-{secrets.token_hex(3)}"
        self.kubectl("create", "namespace", name)
        self.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=120s")
        return name

    def await_secret(self, namespace: str) -> None:
        """Wait for a namespace's pull secret."""
        wait_until(lambda: self.get("secret", SECRET, "-n", namespace), what=f"secret in {namespace}", seconds=30)

    def await_pod(self, namespace: str, selector: str, condition: str = "Ready") -> Json:
        """Wait for the Pods of a selector, and return the first."""
        wait_until(
            lambda: self.get("pods", "-n", namespace, "-l", selector).get("items"), what=f"Pods {selector}", seconds=90
        )
        self.kubectl("wait", f"--for=condition={condition}", "pod", "-n", namespace, "-l", selector, "--timeout=180s")
        pod: Json = self.get("pods", "-n", namespace, "-l", selector)["items"][0]
        return pod

    def webhook_figures(self, name: str) -> Figures:
        """Add up a metric over the replicas of the webhook; without its prefix, by the values of its labels."""
        found: Figures = Counter()
        for pod in self.get("pods", "-n", OPERATOR, "-l", "app.kubernetes.io/component=webhook")["items"]:
            found += self.figures_of(pod["metadata"]["name"], name)
        return found

    def figures_of(self, pod: str, name: str) -> Figures:
        """Read a metric of one Pod of the operator."""
        found: Figures = Counter()
        path = f"/api/v1/namespaces/{OPERATOR}/pods/{pod}:8080/proxy/metrics"
        for family in text_string_to_metric_families(self.kubectl("get", "--raw", path)):
            for sample in family.samples:
                if sample.name == f"replicated_proxy_{name}":
                    found[tuple(sample.labels.values())] += int(sample.value)
        return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Search for leaked licenses last: everything else has left its traces by then."""
    items.sort(key=lambda item: item.path.name == "test_no_leaks.py")


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """A node with the private image in its upstream registry and the operator ready."""
    node = make_whole(chosen_cluster()[0])
    image = node.operator_image()
    with node:
        node.push_private_image(IMAGE)
        node.stand_in.issue(LICENSE_ID, SLUG)
        with ExitStack() as stack:
            kept = keepers(node)
            for keeper in kept:
                stack.enter_context(keeper)
            install_release(node, image)
            yield Installed(node, kept)


def keepers(node: WholeCluster) -> list[KeptLogs | KeptObjects]:
    """Return what keeps the traces of the run for the search for licenses, none of them at work yet."""
    kubectl = [str(node.binaries["kubectl"]), f"--kubeconfig={node.kubeconfig}"]
    found: list[KeptLogs | KeptObjects] = [KeptObjects(kubectl, SECRET, node.workdir / "kept-objects")]
    if isinstance(node, Node):
        pods = Layout(node.workdir).mounts / "var-log" / "pods"
        found.append(KeptLogs(pods, OPERATOR, node.workdir / "kept-logs"))
    return found


@pytest.fixture
def licensed(installed: Installed) -> Iterator[str]:
    """A namespace with a License and its pull secret; the License is deleted afterwards."""
    namespace = installed.create_namespace("app")
    installed.apply(a_license(namespace, appSlug=SLUG, licenseID=LICENSE_ID))
    installed.await_secret(namespace)
    yield namespace
    installed.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "-n", namespace)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")
