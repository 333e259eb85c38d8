"""`helm test`, and the level of security that the operator's namespace enforces, on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operating import LICENSE_ID
from rig.errors import RigError
from rig.roles import NAMESPACE, RELEASE

if TYPE_CHECKING:
    from node.conftest import Installed

pytestmark = pytest.mark.node
_TEST = f"{NAMESPACE}-test"


def test_helm_test_sends_a_pod_through(installed: Installed) -> None:
    """The operator's own image has a Pod tried out; the log shows both names, and everything of the test goes again."""
    told = installed.node.helm("test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout", "3m")

    image = "helm-test.invalid/helm-test/app:v1"
    assert f"{image} became proxy.replicated.com/proxy/helm-test/{image}" in told
    assert "Phase:          Succeeded" in told
    for kind in ("pods", "serviceaccounts", "roles", "rolebindings"):
        assert not installed.get(kind, _TEST, "-n", NAMESPACE)
    left = installed.kubectl("get", "namespaces", "--field-selector=status.phase=Active", "-o", "name")
    assert _TEST not in left


def test_the_namespace_takes_restricted_pods_only(installed: Installed) -> None:
    """What runs here runs at that level: another Pod is refused, ours are there."""
    namespace = installed.get("namespace", NAMESPACE)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    with pytest.raises(RigError, match='violates PodSecurity "restricted:latest"'):
        installed.kubectl("run", "loose", "--image=busybox", "-n", NAMESPACE)

    pods = installed.get("pods", "-n", NAMESPACE)["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} >= {"controller", "webhook"}
    assert all(pod["status"]["phase"] == "Running" for pod in pods)
    assert LICENSE_ID not in installed.node.helm("get", "all", RELEASE, "--namespace", NAMESPACE)
