"""The life of a release on the real API server: what helm leaves alone, and what the accounts may not do."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rig.binaries import provide
from rig.cache import REPOSITORY
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.processes import run
from rig.roles import KINDS
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

_CHART = REPOSITORY / "charts/replicated-proxy-operator"
_PULL_SECRET = "replicated-proxy-registry"
_FORBIDDEN = r"\([Ff]orbidden\)|is forbidden"
_NAMED = f"--field-selector=metadata.name={_PULL_SECRET}"

MakeNamespace = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Release:
    """An installed release, without Pods, since a control plane has no nodes."""

    plane: ControlPlane
    namespace: str
    name: str

    @property
    def fullname(self) -> str:
        """What its objects are called."""
        return f"{self.name}-replicated-proxy-operator"

    @property
    def cluster_name(self) -> str:
        """What its objects of the whole cluster are called."""
        return f"{self.fullname}.{self.namespace}"

    def helm(self, command: str, *arguments: str) -> str:
        """Run helm for this release."""
        helm = str(provide(["helm"])["helm"])
        common = [f"--kubeconfig={self.plane.kubeconfig}", f"--namespace={self.namespace}"]
        return run([helm, command, self.name, *arguments, *common])

    def upgrade(self, *arguments: str) -> None:
        """Install or upgrade; the definitions are the session's."""
        self.helm("upgrade", str(_CHART), "--install", "--set=crds.install=false", *arguments)

    def configuration(self) -> dict[str, Any]:
        """Read the webhook configuration."""
        text = self.plane.kubectl("get", "mutatingwebhookconfiguration", self.cluster_name, "--output=json")
        document: dict[str, Any] = json.loads(text)
        return document

    def acting_as(self, role: str) -> Callable[..., str]:
        """Return a kubectl that acts as one of the accounts."""
        config = self.plane.kubeconfig_for_service_account(self.namespace, f"{self.fullname}-{role}")
        kubectl = str(self.plane.binaries["kubectl"])
        return lambda *arguments: run([kubectl, f"--kubeconfig={config}", *arguments])


@pytest.fixture
def release(control_plane: ControlPlane, make_namespace: MakeNamespace) -> Iterator[Release]:
    """A release in a namespace of its own, taken down afterwards."""
    control_plane.kubectl("apply", "--filename", str(_CHART / "files/crds"))
    control_plane.await_kinds(*KINDS)
    installed = Release(control_plane, make_namespace("release"), f"r{secrets.token_hex(3)}")
    installed.upgrade()
    yield installed
    installed.helm("uninstall", "--ignore-not-found")


def test_upgrade_and_rollback_keep_the_bundle(release: Release) -> None:
    """`caBundle`, which the controller writes, survives upgrades and rollbacks; a deleted configuration comes back."""
    bundle = base64.b64encode(release.plane.certificate_authority.read_bytes()).decode()
    patch = json.dumps([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}])
    arguments = ("mutatingwebhookconfiguration", release.cluster_name, "--type=json", f"--patch={patch}")
    release.plane.kubectl("patch", *arguments, "--field-manager=replicated-proxy-operator")
    release.upgrade("--set=webhook.timeoutSeconds=7")
    (hook,) = release.configuration()["webhooks"]
    assert (hook["timeoutSeconds"], hook["clientConfig"]["caBundle"]) == (7, bundle)
    release.helm("rollback", "1")
    (hook,) = release.configuration()["webhooks"]
    assert (hook["timeoutSeconds"], hook["clientConfig"]["caBundle"]) == (5, bundle)
    release.plane.kubectl("delete", "mutatingwebhookconfiguration", release.cluster_name)
    release.upgrade()
    assert release.configuration()["webhooks"][0]["name"] == "pods.proxy.kots.io"


def test_uninstall_leaves_no_admission_behind(release: Release) -> None:
    """`helm uninstall` removes the webhook configuration and every permission."""
    release.helm("uninstall")
    kinds = "mutatingwebhookconfigurations,clusterroles,clusterrolebindings"
    assert release.fullname not in release.plane.kubectl("get", kinds, "--output=name")


def test_plain_manifests_apply(control_plane: ControlPlane, make_namespace: MakeNamespace) -> None:
    """`helm template | kubectl apply` installs the same, definitions included."""
    namespace = make_namespace("plain")
    helm = str(provide(["helm"])["helm"])
    manifests = run(
        [helm, "template", f"r{secrets.token_hex(3)}", str(_CHART), f"--namespace={namespace}", "--skip-tests"]
    )
    created = control_plane.kubectl("apply", "--filename=-", input=manifests)
    assert "customresourcedefinition.apiextensions.k8s.io/licenses.kots.io" in created

    def is_the_same() -> bool:
        try:
            return not control_plane.kubectl("diff", "--filename=-", input=manifests)
        except RigError:
            return False  # Controllers write what they found while kubectl compares.

    wait_until(is_the_same, what="what was applied", seconds=30)
    control_plane.kubectl("delete", "--filename=-", "--selector=app.kubernetes.io/component", input=manifests)


_CONTROLLER_MAY = [
    ("get", "licenses.kots.io,applications.kots.io", "--all-namespaces"),
    ("get", "namespaces"),
    ("get", "secrets", "--all-namespaces", _NAMED),
    (
        *("create", "secret", "docker-registry", _PULL_SECRET, "--namespace=default", "--dry-run=server"),
        *("--docker-server=proxy.replicated.com", "--docker-username=LICENSE_ID", "--docker-password=x"),
    ),
    ("get", "customresourcedefinition", "licenses.kots.io"),
]
_CONTROLLER_MAY_NOT = [
    ("get", "secrets", "--all-namespaces"),
    ("get", "secrets", "--namespace=kube-system"),
    ("get", "secret", "other", "--namespace=default"),
    ("delete", "secret", "other", "--namespace=default"),
    ("get", "pods", "--all-namespaces"),
    ("get", "configmaps", "--namespace=kube-system"),
    ("get", "serviceaccounts", "--namespace=default"),
    ("get", "nodes"),
    ("get", "mutatingwebhookconfigurations"),
    ("get", "customresourcedefinitions"),
    ("create", "namespace", "made-by-the-controller"),
    ("delete", "namespace", "default"),
    ("label", "namespace", "default", "touched=yes"),
    ("create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"),
    ("create", "token", "default", "--namespace=kube-system"),
    ("get", "secrets", "--all-namespaces", "--as=system:admin"),
]


def test_the_controller_may_do_its_work(release: Release) -> None:
    """The controller's account reads what it needs and writes Secrets of the pull secret's name."""
    kubectl = release.acting_as("controller")
    for command in _CONTROLLER_MAY:
        kubectl(*command)
    kubectl("get", "mutatingwebhookconfiguration", release.cluster_name)
    home = f"--namespace={release.namespace}"
    kubectl("create", "configmap", "replicated-proxy-routes", home)
    kubectl("get", "configmaps", home, "--field-selector=metadata.name=replicated-proxy-routes")
    kubectl("annotate", "configmap", "replicated-proxy-routes", home, "a=b")


def test_the_controller_may_do_nothing_else(release: Release) -> None:
    """Other Secrets, other objects and every way to more permissions are closed."""
    kubectl = release.acting_as("controller")
    for command in _CONTROLLER_MAY_NOT:
        with pytest.raises(RigError, match=_FORBIDDEN):
            kubectl(*command)


def test_the_webhook_may_do_next_to_nothing(release: Release) -> None:
    """The webhook's account reads one ConfigMap and one Secret in its own namespace."""
    kubectl, home = release.acting_as("webhook"), f"--namespace={release.namespace}"
    kubectl("get", "configmaps", home, "--field-selector=metadata.name=replicated-proxy-routes")
    kubectl("get", "secrets", home, "--field-selector=metadata.name=replicated-proxy-serving")
    for command in [
        ("get", "secret", "replicated-proxy-ca", home),
        ("get", "secret", _PULL_SECRET, "--namespace=default"),
        ("get", "secrets", home),
        ("get", "licenses.kots.io", "--all-namespaces"),
        ("get", "namespaces"),
        ("get", "pods", home),
        ("create", "configmap", "mine", home),
    ]:
        with pytest.raises(RigError, match=_FORBIDDEN):
            kubectl(*command)
