"""The life of a release on a node of its own: two controllers, one of which leads, and an end that leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from operating import LICENSE_ID, SECRET, a_license, an_application, content_of, foreign_secret
from rig.images import build_operator_image
from rig.node import Node
from rig.release import install_release, render_release
from rig.roles import CHART, NAMESPACE, RELEASE
from rig.waiting import wait_until

pytestmark = [pytest.mark.node, pytest.mark.own_node]
Json = dict[str, Any]
LEASE = "replicated-proxy-controller"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node with the operator installed by helm, a License that covers every namespace, and a foreign Secret."""
    image = build_operator_image()
    with Node() as node:
        install_release(node, image)
        for namespace in ("app", "foreign"):
            node.kubectl("create", "namespace", namespace)
        objects = [foreign_secret("foreign"), a_license("app"), an_application("app", "*")]
        node.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
        wait_until(lambda: secret(node, "app"), what="the pull secret", seconds=60)
        yield node


def get(node: Node, *what: str) -> Json:
    """Read an object, or an empty one where it does not exist."""
    text = node.kubectl("get", *what, "--ignore-not-found", "-o", "json")
    found: Json = json.loads(text) if text.strip() else {}
    return found


def secret(node: Node, namespace: str) -> Json:
    """Read a namespace's Secret of our name."""
    return get(node, "secret", SECRET, "-n", namespace)


def leader(node: Node) -> str:
    """Return the Pod that holds the Lease."""
    return str(get(node, "lease", LEASE, "-n", NAMESPACE).get("spec", {}).get("holderIdentity", ""))


def controllers(node: Node) -> set[str]:
    """Return the names of the controller's Pods."""
    items = get(node, "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")["items"]
    return {item["metadata"]["name"] for item in items}


def upgrade(node: Node, *values: str) -> None:
    """Change the release's values."""
    settings = [argument for value in values for argument in ("--set", value)]
    where = ("--namespace", NAMESPACE, "--reset-then-reuse-values", "--wait", "--timeout", "3m")
    node.helm("upgrade", RELEASE, str(CHART), *where, *settings)


def test_controller_rolls_to_two_replicas_and_one_leads(node: Node) -> None:
    """The upgrade waits for both to be ready; the holder of the Lease is one of them, and work goes on."""
    upgrade(node, "controller.replicas=2")
    wait_until(lambda: len(controllers(node)) == 2, what="the end of the old controller", seconds=60)
    wait_until(lambda: leader(node) in controllers(node), what="a leader among the new ones", seconds=30)
    node.kubectl("create", "namespace", "later")
    wait_until(lambda: secret(node, "later"), what="the pull secret of a new namespace", seconds=30)

    assert leader(node) in controllers(node)


def test_standby_takes_over_when_the_leader_is_deleted(node: Node) -> None:
    """The Lease changes hands, and a namespace that comes then is served."""
    before = leader(node)
    node.kubectl("delete", "pod", before, "-n", NAMESPACE, "--wait=false")
    wait_until(lambda: leader(node) not in {"", before}, what="another leader", seconds=30)
    node.kubectl("create", "namespace", "afterwards")
    found = wait_until(lambda: secret(node, "afterwards"), what="the pull secret", seconds=30)

    assert LICENSE_ID not in json.dumps(get(node, "lease", LEASE, "-n", NAMESPACE))
    assert content_of(found) == content_of(secret(node, "app"))


def test_uninstall_leaves_pull_secrets_and_a_new_release_knows_them(node: Node) -> None:
    """By default nothing is taken from anybody's Pods; the same release, installed again, goes on where it was."""
    kept = secret(node, "app")
    node.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    left = secret(node, "app")
    install_release(node, build_operator_image())
    changed = a_license("app", licenseID="another-license-id")
    node.kubectl("apply", "-f", "-", input=yaml.safe_dump(changed))
    wait_until(lambda: content_of(secret(node, "later")) != content_of(kept), what="the new ID", seconds=60)

    assert left == kept
    assert secret(node, "later")["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "replicated-proxy-operator"
    wait_until(lambda: content_of(secret(node, "app")) != content_of(kept), what="the new ID at home", seconds=30)
    assert secret(node, "app")["metadata"]["uid"] == kept["metadata"]["uid"]


def test_uninstall_with_clean_up_removes_ours_and_only_ours(node: Node) -> None:
    """The hook deletes our pull secrets and what the controller made at home; the foreign Secret stays as it was."""
    foreign = secret(node, "foreign")
    upgrade(node, "cleanup.onUninstall=true")
    node.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--timeout", "4m")
    wait_until(
        lambda: not any(secret(node, namespace) for namespace in ("app", "later", "afterwards")),
        what="the end of our pull secrets",
        seconds=60,
    )
    home = node.kubectl("get", "configmaps,secrets,leases", "-n", NAMESPACE, "-o", "name").split()
    webhooks = node.kubectl("get", "mutatingwebhookconfigurations,validatingadmissionpolicies", "-o", "name").split()
    accounts = node.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").split()

    assert secret(node, "foreign") == foreign
    assert [name for name in home if "replicated-proxy" in name] == []
    assert [name for name in webhooks + accounts if RELEASE in name] == []


def test_plain_manifests_install_the_same_without_hooks(node: Node) -> None:
    """`helm template | kubectl apply` brings both roles up and to work; applied once more it changes nothing."""
    image = build_operator_image()
    node.load_image(image.archive)
    manifests = render_release(node, image)
    assert "helm.sh/hook" not in manifests

    def apply() -> dict[str, int]:
        node.kubectl("apply", "--server-side", "-f", "-", input=manifests)
        for role in ("controller", "webhook"):
            node.kubectl("rollout", "status", f"deployment/{RELEASE}-{role}", "-n", NAMESPACE, "--timeout=180s")
        items = get(node, "deployments", "-n", NAMESPACE)["items"]
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in items}

    before = apply()
    # The License outlived the release.
    wait_until(lambda: secret(node, "app"), what="the pull secret", seconds=60)
    bundle = caller(node)["caBundle"]

    assert bundle
    assert apply() == before
    assert caller(node)["caBundle"] == bundle


def caller(node: Node) -> Json:
    """Read how the API server calls the webhook."""
    (hook,) = get(node, "mutatingwebhookconfiguration", RELEASE)["webhooks"]
    found: Json = hook["clientConfig"]
    return found
