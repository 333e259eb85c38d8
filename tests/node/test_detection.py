"""Mode `private`, as it comes: which images go through the proxy is found out by asking their registries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demo.story import IMAGE, PROXIED, SECRET
from node.cluster_registry import run_registry
from node.conftest import Installed, Json
from rig.layout import HANGING_REGISTRY, PUBLIC_REGISTRY
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until

pytestmark = pytest.mark.node

PUBLIC = f"{PUBLIC_REGISTRY}/my-org/tool:v1"
REPLICAS = 2


@dataclass(frozen=True, slots=True)
class Own:
    """An image in a registry inside the cluster."""

    image: str
    namespace: str
    """Where that registry runs."""


@pytest.fixture(scope="module")
def pushed(installed: Installed) -> str:
    """An image that its registry gives to everybody."""
    installed.node.push_public_image(PUBLIC)
    return PUBLIC


@pytest.fixture
def public(installed: Installed, licensed: str, pushed: str) -> str:
    """Such an image that is known to be one."""
    await_known(installed, licensed, pushed)
    return pushed


def await_known(installed: Installed, namespace: str, image: str) -> None:
    """Wait until an image is left as it is: on a busy machine the answer may come after the first Pod's deadline."""

    def stays() -> bool:
        dry = ("run", "considered", "-n", namespace, f"--image={image}", "--dry-run=server", "-o", "jsonpath={..image}")
        return installed.kubectl(*dry) == image

    wait_until(stays, what=f"{image} to be known as public", seconds=60)


@pytest.fixture(scope="module")
def own(installed: Installed) -> Iterator[Own]:
    """An image in a registry that runs as a Pod of the cluster."""
    namespace = installed.create_namespace("registry")
    host = run_registry(installed, namespace)
    found = Own(f"{host}/team/service:v1", namespace)
    installed.node.push_public_image(found.image)
    yield found
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


def a_pod(namespace: str, name: str, *images: str) -> Json:
    """Write a Pod that pulls its images each time it starts."""
    containers = [
        {"name": f"c{number}", "image": image, "imagePullPolicy": "Always"} for number, image in enumerate(images)
    ]
    metadata = {"name": name, "namespace": namespace, "labels": {"test": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


def images_of(pod: Json) -> list[str]:
    """Return the images of a Pod's containers."""
    return [container["image"] for container in pod["spec"]["containers"]]


def debug(installed: Installed, namespace: str, pod: str, image: str) -> str:
    """Add a debug container as a user does, and return what kubectl said."""
    arguments = (
        "debug",
        pod,
        "-n",
        namespace,
        f"--image={image}",
        "--container=debugger",
        "--image-pull-policy=Always",
    )
    return installed.kubectl_with_warnings(*arguments, "--profile=general")


def test_public_image_stays_and_runs(installed: Installed, licensed: str, public: str) -> None:
    """What its registry gives to everybody keeps its name, needs no pull secret, and is pulled from there."""
    installed.apply(a_pod(licensed, "public", public))

    pod = installed.await_pod(licensed, "test=public")

    assert images_of(pod) == [public]
    assert "imagePullSecrets" not in pod["spec"]


def test_private_image_beside_a_public_one_is_rewritten_and_runs(
    installed: Installed, licensed: str, public: str
) -> None:
    """Each image of a Pod is decided by its own registry, and all of them are pulled."""
    installed.apply(a_pod(licensed, "both", public, IMAGE))

    pod = installed.await_pod(licensed, "test=both")

    assert images_of(pod) == [public, PROXIED]
    assert pod["spec"]["imagePullSecrets"] == [{"name": SECRET}]
    assert json.loads(pod["metadata"]["annotations"]["proxy.kots.io/original-images"]) == {"containers/c1": IMAGE}


@pytest.mark.own_node
def test_registry_on_the_cluster_s_own_network_is_left_alone(
    installed: Installed, licensed: str, own: Own, public: str
) -> None:
    """A name that leads to a Service is somebody's own registry: not asked, not rewritten, and its image runs."""
    untouched = ("untouched", "internal-host")
    before = installed.webhook_figures("images_total")[untouched]
    installed.apply(a_pod(licensed, "own", own.image, public))

    pod = installed.await_pod(licensed, "test=own")

    seen_by_own = installed.kubectl("logs", "registry", "-n", own.namespace)
    seen_by_public = (installed.node.workdir / "logs" / "public.log").read_text()
    assert images_of(pod) == [own.image, public]
    assert installed.webhook_figures("images_total")[untouched] == before + 1
    # It names itself to registries that it asks.
    assert (OPERATOR in seen_by_public, OPERATOR in seen_by_own) == (True, False)
    assert "containerd" in seen_by_own


def given_up(installed: Installed) -> int:
    """Count the reviews that waited for a registry until the deadline."""
    return installed.webhook_figures("detection_waits_total")["deadline",]


def test_hanging_registry_costs_a_pod_at_most_the_deadline_once(installed: Installed, licensed: str) -> None:
    """A replica waits a single time, whatever the number of images and Pods; all count as private meanwhile."""
    before = given_up(installed)
    names = [f"{HANGING_REGISTRY}/team/part{number}:v1" for number in range(4)]
    for number in range(6):
        installed.apply(a_pod(licensed, f"hanging-{number}", *names))

    pods = installed.get("pods", "-n", licensed)["items"]

    assert len(pods) == 6
    for pod in pods:
        assert images_of(pod) == [f"proxy.replicated.com/proxy/my-kots-app/{name}" for name in names]
    assert 1 <= given_up(installed) - before <= REPLICAS


def test_debug_container_of_a_rewritten_pod_is_pulled_through_the_proxy(installed: Installed, licensed: str) -> None:
    """`kubectl debug` with a private image works on a Pod that has the pull secret."""
    image = "quay.io/my-org/debugger:v1"
    installed.node.push_private_image(image)
    installed.apply(a_pod(licensed, "debugged", IMAGE))
    installed.await_pod(licensed, "test=debugged")

    said = debug(installed, licensed, "debugged", image)

    def running() -> Json:
        pod = installed.get("pod", "debugged", "-n", licensed)
        statuses = pod["status"].get("ephemeralContainerStatuses", [])
        return pod if statuses and "running" in statuses[0]["state"] else {}

    pod = wait_until(running, what="the debug container", seconds=60)
    (container,) = pod["spec"]["ephemeralContainers"]
    assert container["image"] == f"proxy.replicated.com/proxy/my-kots-app/{image}"
    assert "Warning" not in said


def test_debug_container_of_a_pod_without_the_secret_is_left_alone(
    installed: Installed, licensed: str, public: str
) -> None:
    """A Pod that cannot get the pull secret any more keeps the image as written, and kubectl says why."""
    installed.apply(a_pod(licensed, "plain", public))
    installed.await_pod(licensed, "test=plain")

    said = debug(installed, licensed, "plain", IMAGE)

    (container,) = installed.get("pod", "plain", "-n", licensed)["spec"]["ephemeralContainers"]
    assert container["image"] == IMAGE
    assert "Warning: " in said
    assert "debugger" in said
    assert "pull secret" in said


def test_image_volume_is_rewritten_and_mounted(installed: Installed, licensed: str, public: str) -> None:
    """A private image that a volume names is pulled through the proxy, and the container finds its files."""
    image = "quay.io/my-org/data:v1"
    installed.node.push_private_image(image)
    pod = a_pod(licensed, "volume", public)
    pod["spec"]["volumes"] = [{"name": "data", "image": {"reference": image, "pullPolicy": "Always"}}]
    # Runs the program that is in the volume.
    pod["spec"]["containers"][0] |= {
        "command": ["/data/pause"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    installed.apply(pod)

    running = installed.await_pod(licensed, "test=volume")

    (reference,) = [volume["image"]["reference"] for volume in running["spec"]["volumes"] if "image" in volume]
    assert reference == f"proxy.replicated.com/proxy/my-kots-app/{image}"
    assert images_of(running) == [public]
    assert running["spec"]["imagePullSecrets"] == [{"name": SECRET}]


def test_answers_outlive_the_replicas_that_got_them(installed: Installed, licensed: str) -> None:
    """New replicas know what the old ones learned: with the registry away a public image still counts as public."""
    image = f"{PUBLIC_REGISTRY}/my-org/remembered:v1"
    installed.node.push_public_image(image)
    await_known(installed, licensed, image)
    installed.apply(a_pod(licensed, "before", image))
    installed.await_pod(licensed, "test=before")

    def published() -> bool:
        table = installed.get("configmap", "replicated-proxy-routes", "-n", OPERATOR)
        return image.partition(":")[0] in table["data"].get("verdicts.json", "")

    wait_until(published, what="the answer to be published", seconds=120)
    webhook = f"deployment/{OPERATOR}-webhook"
    with installed.node.outage(PUBLIC_REGISTRY):
        installed.kubectl("rollout", "restart", webhook, "-n", OPERATOR)
        installed.kubectl("rollout", "status", webhook, "-n", OPERATOR, "--timeout=120s")
        wait_until(lambda: len(webhook_pods(installed)) == REPLICAS, what="the end of the old replicas", seconds=90)
        for number in range(4):
            installed.apply(a_pod(licensed, f"after-{number}", image))
        pods = installed.get("pods", "-n", licensed)["items"]
        answers = installed.webhook_figures("detection_answers_total")

    assert [images_of(pod) for pod in pods] == [[image]] * 5
    assert answers["hit",]
    assert not answers["miss",]


def webhook_pods(installed: Installed) -> list[Json]:
    """Return the replicas that are there, ending ones among them."""
    found: list[Json] = installed.get("pods", "-n", OPERATOR, "-l", "app.kubernetes.io/component=webhook")["items"]
    return found
