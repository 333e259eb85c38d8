"""A cluster that is not ours: entered only by the name of its context, and left as it was found.

A node plays the part, and is known here by its kubeconfig alone.
"""

import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from demo.telling import StepFailed, Teller
from demo.visiting import tell_on_existing
from rig.cache import REPOSITORY
from rig.clusters import EXISTING, Wish
from rig.errors import RigError
from rig.images import build_operator_image
from rig.node import Node
from rig.roles import NAMESPACE, RELEASE

pytestmark = [pytest.mark.node, pytest.mark.host]

LICENSES = REPOSITORY / "charts" / "replicated-proxy-operator" / "files" / "crds" / "licenses.kots.io.yaml"
EVERYTHING = "namespaces,customresourcedefinitions,mutatingwebhookconfigurations,clusterroles,clusterrolebindings"


@pytest.fixture
def cluster(bare_node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """The node, with KUBECONFIG leading to it as a user has it."""
    monkeypatch.setenv("KUBECONFIG", str(bare_node.kubeconfig))
    yield bare_node
    bare_node.kubectl("delete", "namespace", "my-app", "--ignore-not-found")
    bare_node.kubectl("delete", "customresourcedefinition", "licenses.kots.io", "--ignore-not-found")


def tell(context: str, image: str) -> Teller:
    """Tell the story through the context, to nobody."""
    teller = Teller(Console(file=io.StringIO()))
    tell_on_existing(teller, Wish(EXISTING, context, image))
    return teller


def names(node: Node) -> list[str]:
    """Everything of the kinds that the operator's installation touches outside of namespaces."""
    return node.kubectl("get", EVERYTHING, "-o", "name").split()


def test_story_is_told_and_everything_taken_back(cluster: Node) -> None:
    """Install, license, rewriting, revocation; afterwards the cluster has what it had before, and no more."""
    image = build_operator_image()
    cluster.load_image(image.archive)
    before = names(cluster)

    assert tell("rig", image.name).steps == 5

    assert names(cluster) == before


def test_context_that_does_not_exist_is_refused(cluster: Node) -> None:
    """The message names the contexts that there are, and nothing is made."""
    before = names(cluster)
    with pytest.raises(RigError, match=r"no context 'prod'; it has: rig"):
        tell("prod", "registry.example.com/operator:1")
    assert names(cluster) == before


def test_namespace_of_somebody_else_is_refused_and_stays(cluster: Node) -> None:
    """What was there before is neither used nor deleted."""
    cluster.kubectl("create", "namespace", "my-app")
    cluster.kubectl("create", "configmap", "precious", "-n", "my-app")
    with pytest.raises(RigError, match="the namespace my-app exists in rig: nothing of it is touched"):
        tell("rig", "registry.example.com/operator:1")
    assert cluster.kubectl("get", "configmap", "precious", "-n", "my-app", "-o", "name").strip()


def test_cluster_that_serves_licenses_is_refused(cluster: Node) -> None:
    """Somebody's Licenses are nothing to try an operator on; their definition stays, and no namespace is made."""
    cluster.kubectl("apply", "-f", str(LICENSES))
    with pytest.raises(StepFailed, match=r"the cluster serves licenses\.kots\.io already"):
        tell("rig", "registry.example.com/operator:1")
    assert cluster.kubectl("get", "customresourcedefinition", "licenses.kots.io", "-o", "name").strip()
    assert f"namespace/{NAMESPACE}" not in names(cluster)


def test_failed_installation_is_taken_back_and_nothing_else(cluster: Node) -> None:
    """Helm refuses to take over what is there under our names: that stays, and what was made before goes."""
    foreign = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(foreign | {"metadata": {"name": RELEASE}}))
    before = names(cluster)
    with pytest.raises(RigError, match="cannot be imported into the current release"):
        tell("rig", "registry.example.com/operator:1")
    assert names(cluster) == before
    cluster.kubectl("delete", "mutatingwebhookconfiguration", RELEASE)


def test_kubeconfig_is_not_changed(cluster: Node) -> None:
    """The context is named on every call; which one is current stays the user's choice."""
    before = cluster.kubeconfig.read_text()
    with pytest.raises(RigError):
        tell("prod", "registry.example.com/operator:1")
    assert json.loads(before)["current-context"] == "rig"
    assert cluster.kubeconfig.read_text() == before
