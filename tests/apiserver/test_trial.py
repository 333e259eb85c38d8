"""`helm test` on the real API server: its objects, its account and its command, with a webhook and without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm_chart import Chart
from operating import Cluster
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE, RELEASE, RoleProcess

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
_ACCOUNT = f"{NAMESPACE}-test"


@dataclass(frozen=True, slots=True)
class HelmTest:
    """What `helm test` would run, on a cluster without Pods.

    Attributes:
        cluster: where its objects are.
        namespace: where it tries its Pods.
        arguments: of its container.
    """

    cluster: Cluster
    namespace: str
    arguments: list[str]

    def run(self, folder: Path, *, seconds: int = 60, namespace: str = "") -> tuple[int, list[Json]]:
        """Run the command as its account does; returns the exit code and the log."""
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(self.cluster.settings()), encoding="utf-8")
        places = {
            "/etc/replicated-proxy/settings.yaml": str(settings),
            "60": str(seconds),
            self.namespace: namespace or self.namespace,
        }
        account = self.cluster.plane.kubeconfig_for_service_account(NAMESPACE, _ACCOUNT)
        done = subprocess.run(  # noqa: S603 - arguments of ours.
            [
                sys.executable,
                "-m",
                "replicated_proxy",
                *(places.get(word, word) for word in self.arguments),
                f"--kubeconfig={account}",
            ],
            env={"POD_NAMESPACE": NAMESPACE},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


@pytest.fixture(scope="module")
def helm_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HelmTest]:
    """An installation at its defaults with both roles, and the objects of its test in the order of their hooks."""
    helm = provide(["helm"])["helm"]
    with ControlPlane() as plane:
        cluster = Cluster(plane, helm, webhook=True)
        cluster.install()
        controller = RoleProcess("controller", cluster, tmp_path_factory.mktemp("controller"))
        controller.start()
        webhook = RoleProcess("webhook", cluster, tmp_path_factory.mktemp("webhook"))
        webhook.start()
        objects = list(Chart(helm).tests(namespace=NAMESPACE, release=RELEASE))
        (pod,) = (each for each in objects if each["kind"] == "Pod")
        objects.remove(pod)
        cluster.apply(*sorted(objects, key=lambda each: int(each["metadata"]["annotations"]["helm.sh/hook-weight"])))
        (namespace,) = (each["metadata"]["name"] for each in objects if each["kind"] == "Namespace")
        yield HelmTest(cluster, namespace, pod["spec"]["containers"][0]["args"])
        webhook.stop()
        controller.stop()


def test_a_pod_goes_through(helm_test: HelmTest, tmp_path: Path) -> None:
    """The API server sends the Pod back rewritten, the log says from what to what, and nothing is stored."""
    code, log = helm_test.run(tmp_path)

    assert code == 0, log
    image = "helm-test.invalid/helm-test/app:v1"
    words = f"{image} became proxy.replicated.com/proxy/helm-test/{image}"
    assert words in log[-1]["message"]
    assert not helm_test.cluster.exists("pods", "--all-namespaces")


def test_where_no_license_reaches_it_fails_with_the_remedy(helm_test: HelmTest, tmp_path: Path) -> None:
    """A namespace without a License changes no image; the message names image, namespace and where to look."""
    cluster = helm_test.cluster
    cluster.kubectl("create", "namespace", "bare")
    cluster.kubectl("create", "role", "try", "-n", "bare", "--verb=create", "--resource=pods")
    account = f"--serviceaccount={NAMESPACE}:{_ACCOUNT}"
    cluster.kubectl("create", "rolebinding", "try", "-n", "bare", "--role=try", account)

    code, log = helm_test.run(tmp_path, seconds=2, namespace="bare")

    assert code == 1
    message = log[-1]["message"]
    for words in ("no Pod in bare", "came back as it was", "kubectl get licenses.kots.io", "docs/reasons.md"):
        assert words in message


def test_what_the_api_server_refuses_is_told(helm_test: HelmTest, tmp_path: Path) -> None:
    """A namespace that does not exist, or that the account may not create Pods in, is in the message."""
    code, log = helm_test.run(tmp_path, seconds=1, namespace="default")

    assert code == 1
    assert "cannot create resource" in log[-1]["message"]


def test_its_account_may_create_pods_in_one_namespace(helm_test: HelmTest) -> None:
    """Nothing else, there or elsewhere."""
    user = f"--as=system:serviceaccount:{NAMESPACE}:{_ACCOUNT}"

    def may(*question: str) -> bool:
        return helm_test.cluster.kubectl("auth", "can-i", "--quiet=false", *question, user).strip() == "yes"

    def listed(namespace: str) -> set[str]:
        text = helm_test.cluster.kubectl("auth", "can-i", "--list", "--no-headers", "-n", namespace, user)
        return {line.split()[0] for line in text.splitlines() if not line.startswith(" ")}

    assert may("create", "pods", "-n", helm_test.namespace)
    assert listed(helm_test.namespace) - listed("default") == {"pods"}
