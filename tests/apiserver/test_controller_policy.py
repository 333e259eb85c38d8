"""What the controller's own account may write, by the chart's admission policy, tried with that account."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from operating import SECRET, Cluster
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.processes import run
from rig.roles import NAMESPACE
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
OTHER: Final = "other"
CA, SERVING = "replicated-proxy-ca", "replicated-proxy-serving"
DOCKER, TLS, TOKEN = "kubernetes.io/dockerconfigjson", "kubernetes.io/tls", "kubernetes.io/service-account-token"
_DATA: Final[dict[str, Json]] = {
    DOCKER: {".dockerconfigjson": "e30="},
    TLS: {"tls.crt": "eA==", "tls.key": "eA=="},
    "kubernetes.io/dockercfg": {".dockercfg": "e30="},
    "kubernetes.io/basic-auth": {"username": "eA==", "password": "eA=="},
}
Kubectl = Callable[..., str]


@dataclass(frozen=True)
class Tried:
    """A cluster with the release in it, and two who may try: the controller's account and the administrator."""

    cluster: Cluster
    controller: Kubectl

    def refusal(self, *arguments: str, document: Json) -> str:
        """Return what kubectl says when the controller's request must be refused."""
        with pytest.raises(RigError) as refused:
            self.controller(*arguments, stdin=json.dumps(document))
        return str(refused.value)


def a_secret(namespace: str, name: str, type_: str, **metadata: Any) -> Json:
    """Write a Secret that the API server takes for one of this type."""
    named = {"generateName": name} if name.endswith("-") else {"name": name}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, **named, **metadata},
        "type": type_,
        "data": _DATA.get(type_, {"x": "eA=="}),
    }


def a_token(namespace: str, name: str, account: str) -> Json:
    """Write a Secret that Kubernetes fills with an account's token."""
    secret = a_secret(namespace, name, TOKEN, annotations={"kubernetes.io/service-account.name": account})
    return {key: value for key, value in secret.items() if key != "data"}


@pytest.fixture(scope="module")
def tried() -> Iterator[Tried]:
    """A control plane with the release in it and its policy at work."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        cluster.kubectl("create", "namespace", OTHER)
        config = plane.kubeconfig_for_service_account(NAMESPACE, f"{NAMESPACE}-controller")
        program = str(plane.binaries["kubectl"])

        def act(*arguments: str, stdin: str | None = None) -> str:
            """Run kubectl as the controller's account."""
            return run([program, f"--kubeconfig={config}", *arguments], stdin=stdin)

        trying = Tried(cluster, act)
        probe = json.dumps(a_secret(OTHER, "probe", "Opaque"))

        def is_refused() -> bool:
            """Tell whether the policy is at work already."""
            try:
                act("create", "--dry-run=server", "-f", "-", stdin=probe)
            except RigError as error:
                return "ValidatingAdmissionPolicy" in str(error)
            return False

        wait_until(is_refused, what="the policy", seconds=60)
        yield trying


WORK: Final = [
    pytest.param(a_secret(OTHER, SECRET, DOCKER, labels={"app.kubernetes.io/managed-by": "x"}), id="pull secret"),
    pytest.param(a_secret("kube-public", SECRET, DOCKER), id="pull secret in any namespace"),
    pytest.param(a_secret(NAMESPACE, CA, TLS), id="authority at home"),
    pytest.param(a_secret(NAMESPACE, SERVING, TLS), id="serving certificate at home"),
]

ESCAPES: Final = [
    pytest.param(a_token(OTHER, SECRET, "default"), id="token under our name"),
    pytest.param(a_token("kube-system", SECRET, "clusterrole-aggregation-controller"), id="token of a mighty account"),
    pytest.param(a_token(NAMESPACE, CA, f"{NAMESPACE}-webhook"), id="token at home under a name that we read"),
    pytest.param(a_token(NAMESPACE, SECRET, f"{NAMESPACE}-webhook"), id="token at home under the pull secret's name"),
    pytest.param(a_secret(OTHER, "other-name", DOCKER), id="other name"),
    pytest.param(a_secret(OTHER, f"{SECRET}-", DOCKER), id="name that is generated"),
    pytest.param(a_secret(OTHER, "replicated-proxy-reg-", DOCKER), id="name that is generated from a part of ours"),
    pytest.param(a_secret(OTHER, SECRET, "Opaque"), id="other type"),
    pytest.param(a_secret(OTHER, SECRET, ""), id="no type"),
    pytest.param(a_secret(OTHER, SECRET, "kubernetes.io/dockercfg"), id="older type"),
    pytest.param(a_secret(OTHER, SECRET, "kubernetes.io/basic-auth"), id="password"),
    pytest.param(a_secret(OTHER, SERVING, TLS), id="certificate elsewhere"),
    pytest.param(a_secret(NAMESPACE, "sh.helm.release.v1.x.v1", "helm.sh/release.v1"), id="release at home"),
    pytest.param(a_secret(NAMESPACE, SECRET, DOCKER), id="pull secret at home"),
    pytest.param(a_secret("kube-system", "bootstrap-token-abcdef", "bootstrap.kubernetes.io/token"), id="bootstrap"),
]


@pytest.mark.parametrize("secret", WORK)
def test_work_is_done(tried: Tried, secret: Json) -> None:
    """What the controller has to write it may create, or every refusal would prove nothing."""
    assert "created" in tried.controller("create", "--dry-run=server", "-f", "-", stdin=json.dumps(secret))


@pytest.mark.parametrize("secret", ESCAPES)
def test_escape_is_refused(tried: Tried, secret: Json) -> None:
    """No other Secret can be made by the account, wherever, however named, and the refusal names the remedy."""
    told = tried.refusal("create", "-f", "-", document=secret)

    assert f"{NAMESPACE}-controller-secrets" in told
    assert "policies.controller of the chart" in told
    assert "replicated-proxy-" in told


@pytest.mark.parametrize("secret", ESCAPES)
def test_it_is_the_policy_that_refuses(tried: Tried, secret: Json) -> None:
    """RBAC lets the account create all of these, and the administrator can: without the policy they would be there."""
    access = ("auth", "can-i", "create", "secrets", "-n", secret["metadata"]["namespace"])

    assert tried.controller(*access).strip() == "yes"
    assert "created" in tried.cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(secret))


def test_written_secret_is_held_to_it_as_well(tried: Tried) -> None:
    """An update in place is the controller's work; changing the type is refused by the API server for everybody."""
    namespace = "rewritten"
    tried.cluster.kubectl("create", "namespace", namespace)
    secret = a_secret(namespace, SECRET, DOCKER)
    tried.controller("create", "-f", "-", stdin=json.dumps(secret))
    patch = '{"metadata":{"labels":{"x":"y"}},"data":{".dockerconfigjson":"e30K"}}'
    changed = tried.controller("patch", "secret", SECRET, "-n", namespace, "--type=merge", "-p", patch)
    with pytest.raises(RigError) as refused:
        tried.controller("patch", "secret", SECRET, "-n", namespace, "--type=merge", "-p", f'{{"type":"{TOKEN}"}}')

    assert "patched" in changed
    assert "Secret" in str(refused.value)
    assert tried.cluster.secret(namespace)["type"] == DOCKER


def test_foreign_secret_of_another_type_is_not_taken_over(tried: Tried) -> None:
    """What somebody else made under our name, of another type, the account cannot change."""
    tried.cluster.kubectl("create", "namespace", "taken")
    tried.cluster.apply(a_secret("taken", SECRET, "Opaque"))
    with pytest.raises(RigError) as refused:
        tried.controller("label", "secret", SECRET, "-n", "taken", "x=y")

    assert "policies.controller of the chart" in str(refused.value)
    assert "labels" not in tried.cluster.secret("taken")["metadata"]


def test_others_are_not_concerned(tried: Tried) -> None:
    """The webhook's account has no such right anyway, and everybody else creates Secrets as before."""
    made = a_secret(OTHER, "somebody-s", "Opaque")

    assert "created" in tried.cluster.kubectl("create", "-f", "-", input=json.dumps(made))
