"""The main path on a real node: Pods that really pull through the proxy, and what happens when parts are away."""

from __future__ import annotations

import pytest

from demo.story import IMAGE, LICENSE_ID, PROXIED, SECRET
from node.conftest import SLUG, Installed, Json
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until

pytestmark = pytest.mark.node


def template(restart: str) -> Json:
    """Write a Pod template with the private image as container, and again as init container where it may end."""
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Always"}
    return {"metadata": {"labels": {"test": "journey"}}, "spec": {"restartPolicy": restart, "containers": [container]}}


def workload(kind: str, namespace: str) -> Json:
    """Write a workload of a kind that makes Pods with the private image."""
    metadata = {"name": "journey", "namespace": namespace}
    job = {"template": template("Never")}
    shapes: dict[str, Json] = {
        "Deployment": {
            "apiVersion": "apps/v1",
            "spec": {"selector": {"matchLabels": {"test": "journey"}}, "template": template("Always")},
        },
        "Job": {"apiVersion": "batch/v1", "spec": job},
        "CronJob": {"apiVersion": "batch/v1", "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}},
        "Pod": {"apiVersion": "v1", "spec": template("Always")["spec"]},
    }
    shape = shapes[kind] | {"kind": kind, "metadata": metadata}
    if kind == "Pod":
        shape["metadata"] = metadata | {"labels": {"test": "journey"}}
    return shape


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "Job", "CronJob"])
def test_every_kind_of_workload_runs_through_the_proxy(installed: Installed, licensed: str, kind: str) -> None:
    """Whoever creates the Pod, its image is rewritten, the pull secret is there, and it comes up Running."""
    installed.apply(workload(kind, licensed))
    if kind == "CronJob":
        installed.kubectl("create", "job", "now", "--from=cronjob/journey", "-n", licensed)

    pod = installed.await_pod(licensed, "test=journey")

    assert pod["spec"]["containers"][0]["image"] == PROXIED
    assert pod["spec"]["imagePullSecrets"] == [{"name": SECRET}]
    assert pod["status"]["phase"] == "Running"


def test_pull_is_made_with_the_license_and_the_slug(installed: Installed, licensed: str) -> None:
    """Replicated's service is asked for the application's path, and the upstream registry not by the node."""
    before = len(installed.node.stand_in.requests())
    installed.apply(workload("Pod", licensed))
    installed.await_pod(licensed, "test=journey")

    answered = installed.node.stand_in.requests()[before:]

    assert {item.slug for item in answered if item.status == 200 and item.slug} == {SLUG}
    assert any(item.path.startswith(f"/v2/proxy/{SLUG}/quay.io/my-org/api/manifests/") for item in answered)


def test_namespace_and_pod_of_one_manifest_are_served_under_the_wildcard(installed: Installed, licensed: str) -> None:
    """A claimed Pod in a namespace that did not exist a moment ago is rewritten and runs."""
    application = {
        "apiVersion": "kots.io/v1beta1",
        "kind": "Application",
        "metadata": {"name": "everywhere", "namespace": licensed},
        "spec": {"title": "Everywhere", "additionalNamespaces": ["*"]},
    }
    installed.apply(application)
    installed.await_secret("default")
    namespace = f"{licensed}-fresh"
    pod = workload("Pod", namespace)
    pod["metadata"]["labels"]["proxy.kots.io/app"] = SLUG

    installed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, pod)
    running = installed.await_pod(namespace, "test=journey")

    assert running["spec"]["containers"][0]["image"] == PROXIED

    installed.kubectl("delete", "application.kots.io", "everywhere", "-n", licensed)
    wait_until(
        lambda: not installed.get("secret", SECRET, "-n", "default"), what="the wildcard's secrets to go", seconds=30
    )
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


def test_revoked_license_is_refused_at_the_next_pull(installed: Installed, licensed: str) -> None:
    """A license that Replicated revokes pulls nothing any more, and restored it does again."""
    installed.node.stand_in.revoke(LICENSE_ID)
    installed.apply(workload("Pod", licensed))

    def waiting() -> str:
        statuses = installed.get("pod", "journey", "-n", licensed).get("status", {}).get("containerStatuses", [])
        reason: str = statuses[0]["state"].get("waiting", {}).get("reason", "") if statuses else ""
        return reason if reason in {"ErrImagePull", "ImagePullBackOff"} else ""

    assert wait_until(waiting, what="the pull to be refused", seconds=60)

    installed.node.stand_in.restore(LICENSE_ID)
    installed.kubectl("delete", "pod", "journey", "-n", licensed, "--now")
    installed.apply(workload("Pod", licensed))

    assert installed.await_pod(licensed, "test=journey")["status"]["phase"] == "Running"


def test_uncovered_namespace_is_left_alone(installed: Installed) -> None:
    """Where no License reaches, a Pod keeps its image and gets no secret."""
    namespace = installed.create_namespace("bystander")
    installed.apply(workload("Pod", namespace))

    pod = installed.get("pod", "journey", "-n", namespace)

    assert pod["spec"]["containers"][0]["image"] == IMAGE
    assert "imagePullSecrets" not in pod["spec"]

    installed.kubectl("delete", "namespace", namespace, "--wait=false")


def test_operator_pods_meet_the_restricted_profile(installed: Installed) -> None:
    """The operator's namespace can enforce the restricted Pod Security Standard: its Pods start again under it."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    output = installed.kubectl("label", "namespace", OPERATOR, label, "--overwrite")
    installed.kubectl("rollout", "restart", "deployment", "-n", OPERATOR)

    for role in ("controller", "webhook"):
        installed.kubectl("rollout", "status", f"deployment/{OPERATOR}-{role}", "-n", OPERATOR, "--timeout=120s")

    assert "violate" not in output.lower()


def test_pods_are_admitted_while_the_webhook_is_down(installed: Installed, licensed: str) -> None:
    """With no replica left a Pod is created unchanged; with the replicas back the next one is rewritten."""
    webhook = f"deployment/{OPERATOR}-webhook"
    installed.kubectl("scale", webhook, "-n", OPERATOR, "--replicas=0")
    selector = "app.kubernetes.io/component=webhook"
    wait_until(
        lambda: not installed.get("pods", "-n", OPERATOR, "-l", selector).get("items"), what="no replica", seconds=90
    )

    installed.apply(workload("Pod", licensed))

    assert installed.get("pod", "journey", "-n", licensed)["spec"]["containers"][0]["image"] == IMAGE

    installed.kubectl("delete", "pod", "journey", "-n", licensed, "--now")
    installed.kubectl("scale", webhook, "-n", OPERATOR, "--replicas=2")
    installed.kubectl("rollout", "status", webhook, "-n", OPERATOR, "--timeout=120s")

    def rewritten() -> bool:
        dry = installed.kubectl(
            "run", "probe", "-n", licensed, f"--image={IMAGE}", "--dry-run=server", "-o", "jsonpath={..image}"
        )
        return dry == PROXIED

    assert wait_until(rewritten, what="the webhook to be called again", seconds=60)
