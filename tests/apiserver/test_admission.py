"""The webhook on a real API server: whoever creates a Pod, its images and its pull secret are what they should be.

The chart's objects, both roles as processes under the chart's service accounts, and the webhook called by URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from admitting import REWRITE_EVERYTHING
from operating import SECRET, Cluster, Json, a_license, an_application
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

IMAGE: Final = "quay.io/my-org/api:v1.0.1"
PROXY: Final = "proxy.replicated.com/proxy/my-app"
ANNOTATION: Final = "proxy.kots.io/original-images"
REWRITE: Final = "proxy.kots.io/rewrite"
NAMESPACE: Final = "app"
WILDCARD_ONLY: Final = "bystander"
UNREWRITTEN: Final = "unrewritten"
# No registry is asked: what these tests look at is what becomes of images that are wanted.
VALUES: Final = REWRITE_EVERYTHING


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own with the release in it: others on a shared one would meet its webhook."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(VALUES)
        for name in (NAMESPACE, WILDCARD_ONLY, UNREWRITTEN):
            cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", UNREWRITTEN, f"{REWRITE}=disabled")
        cluster.apply(a_license(NAMESPACE), an_application(NAMESPACE, "*", UNREWRITTEN))
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleProcess]:
    """The controller, which makes the certificate, the routing table and the pull secrets."""
    running = RoleProcess("controller", cluster, tmp_path_factory.mktemp("controller"), VALUES)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def webhook(
    cluster: Cluster, controller: RoleProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RoleProcess]:
    """The webhook, once a Pod of the application is rewritten: the API server learns of it by and by."""
    del controller
    running = RoleProcess("webhook", cluster, tmp_path_factory.mktemp("webhook"), VALUES)
    running.start()
    await_rewriting(cluster)
    yield running
    running.stop()


@pytest.fixture
def pods(cluster: Cluster, webhook: RoleProcess) -> Iterator[Callable[..., Json]]:
    """Create Pods and read them as they were stored; they are gone when the test has ended."""
    del webhook

    def create(pod: Json) -> Json:
        created: Json = json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(pod)))
        return created

    yield create
    for namespace in (NAMESPACE, WILDCARD_ONLY, UNREWRITTEN):
        cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")


def a_pod(name: str = "main", *, namespace: str = NAMESPACE, metadata: Json | None = None, **spec: Any) -> Json:
    """Write a Pod with one container of the application."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **(metadata or {})},
        "spec": {"containers": [{"name": "api", "image": IMAGE}], **spec},
    }


def a_template(**differs: Any) -> Json:
    """Write the Pod template of a workload."""
    pod = a_pod()
    return {"metadata": {"labels": {"app": "api"}}, "spec": pod["spec"] | differs}


def image_of(pod: Json) -> str:
    """Return the image of the first container."""
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def secrets_of(pod: Json) -> list[str]:
    """Return the names in a Pod's list of pull secrets."""
    return [entry["name"] for entry in pod["spec"].get("imagePullSecrets", [])]


def await_rewriting(cluster: Cluster) -> None:
    """Wait until a Pod would be rewritten."""

    def rewritten() -> bool:
        text = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(a_pod("probe")))
        return image_of(json.loads(text)).startswith(PROXY)

    wait_until(rewritten, what="a Pod to be rewritten", seconds=60)


def await_pod_of(cluster: Cluster, label: str) -> Json:
    """Wait for a workload's Pod and return it."""

    def found() -> Json | None:
        items: list[Json] = cluster.get("pods", "-n", NAMESPACE, "-l", label)["items"]
        return items[0] if items else None

    return wait_until(found, what=f"a Pod with {label}", seconds=60)


def test_every_carrier_is_rewritten(pods: Callable[[Json], Json]) -> None:
    """Containers, init containers, sidecars and image volumes of a Pod made by hand."""
    volume = {"name": "model", "image": {"reference": "ghcr.io/my-org/model:v2", "pullPolicy": "IfNotPresent"}}
    inits = [
        {"name": "migrate", "image": "migrate"},
        {"name": "sidecar", "image": "quay.io/my-org/sidecar@sha256:" + "0" * 64, "restartPolicy": "Always"},
    ]
    pod = pods(a_pod(initContainers=inits, volumes=[volume]))

    assert image_of(pod) == f"{PROXY}/{IMAGE}"
    assert [item["image"] for item in pod["spec"]["initContainers"]] == [f"{PROXY}/{item['image']}" for item in inits]
    (stored,) = (item for item in pod["spec"]["volumes"] if item["name"] == "model")
    assert stored["image"]["reference"] == f"{PROXY}/ghcr.io/my-org/model:v2"
    assert secrets_of(pod) == [SECRET]
    assert json.loads(pod["metadata"]["annotations"][ANNOTATION]) == {
        "containers/api": IMAGE,
        "initContainers/migrate": "migrate",
        "initContainers/sidecar": inits[1]["image"],
        "volumes/model": "ghcr.io/my-org/model:v2",
    }


def test_pod_of_a_deployment_is_rewritten(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A Deployment keeps its images, and its Pods get theirs."""
    del pods
    spec = {"selector": {"matchLabels": {"app": "api"}}, "template": a_template()}
    metadata = {"name": "api", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    pod = await_pod_of(cluster, "app=api")
    template = cluster.get("deployment", "api", "-n", NAMESPACE)["spec"]["template"]
    cluster.kubectl("delete", "deployment", "api", "-n", NAMESPACE)

    assert (image_of(pod), secrets_of(pod)) == (f"{PROXY}/{IMAGE}", [SECRET])
    assert image_of(template) == IMAGE


def test_pod_of_a_job_is_rewritten(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A Job's Pods are rewritten."""
    del pods
    spec = {"template": a_template(restartPolicy="Never")}
    metadata = {"name": "once", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    pod = await_pod_of(cluster, "job-name=once")
    cluster.kubectl("delete", "job", "once", "-n", NAMESPACE)

    assert (image_of(pod), secrets_of(pod)) == (f"{PROXY}/{IMAGE}", [SECRET])


def test_pod_of_a_cron_job_is_rewritten(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A CronJob's Pods are rewritten; a run that it believes to have missed starts at once."""
    del pods
    template = a_template(restartPolicy="Never")
    template["metadata"]["labels"] = {"of": "cron"}
    spec = {"schedule": "0 * * * *", "suspend": True, "jobTemplate": {"spec": {"template": template}}}
    metadata = {"name": "hourly", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    missed = json.dumps({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}})
    cluster.kubectl("patch", "cronjob", "hourly", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", missed)
    cluster.kubectl("patch", "cronjob", "hourly", "-n", NAMESPACE, "-p", '{"spec":{"suspend":false}}')
    pod = await_pod_of(cluster, "of=cron")
    cluster.kubectl("delete", "cronjob", "hourly", "-n", NAMESPACE)

    assert (image_of(pod), secrets_of(pod)) == (f"{PROXY}/{IMAGE}", [SECRET])


def add_debugger(cluster: Cluster, pod: str, *names: str) -> list[str]:
    """Add ephemeral containers by the subresource, as `kubectl debug` does; returns the images as stored."""
    stored = cluster.get("pod", pod, "-n", NAMESPACE)
    debuggers = stored["spec"].setdefault("ephemeralContainers", [])
    debuggers += [{"name": name, "image": "docker.io/my-org/debug:v1"} for name in names]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/ephemeralcontainers"
    cluster.kubectl("replace", "--raw", path, "-f", "-", input=json.dumps(stored))
    spec = cluster.get("pod", pod, "-n", NAMESPACE)["spec"]
    return [item["image"] for item in spec["ephemeralContainers"]]


def test_new_ephemeral_containers_are_rewritten(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A debug container is rewritten by the subresource; those that are there already stay as they are."""
    pods(a_pod())
    expected = f"{PROXY}/docker.io/my-org/debug:v1"
    assert add_debugger(cluster, "main", "first") == [expected]
    assert add_debugger(cluster, "main", "second") == [expected, expected]


def test_ephemeral_container_without_pull_secret_stays(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A Pod that has no pull secret cannot get one any more: its debug image stays, so that it can be pulled."""
    pods(a_pod(containers=[{"name": "api", "image": "localhost/api"}]))
    assert add_debugger(cluster, "main", "first") == ["docker.io/my-org/debug:v1"]


def test_own_output_is_left_alone(pods: Callable[[Json], Json]) -> None:
    """A Pod made from what the webhook made of another one is stored as it was sent."""
    first = pods(a_pod())
    again = {"name": "again", "namespace": NAMESPACE, "annotations": first["metadata"]["annotations"]}
    second = pods(first | {"metadata": again})
    assert second["spec"] == first["spec"]
    assert second["metadata"]["annotations"] == first["metadata"]["annotations"]


def test_pull_secrets_keep_their_order(pods: Callable[[Json], Json]) -> None:
    """Secrets that a Pod names stay where they are, and ours comes last; named already, it stays in its place."""
    named = [{"name": "zeta"}, {"name": "alpha"}]
    assert secrets_of(pods(a_pod(imagePullSecrets=named))) == ["zeta", "alpha", SECRET]
    ours_first = [{"name": SECRET}, {"name": "alpha"}]
    assert secrets_of(pods(a_pod("second", imagePullSecrets=ours_first))) == [SECRET, "alpha"]


def test_pull_secrets_of_the_service_account_stay(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """What the ServiceAccount brings is in the list before ours."""
    account = {"name": "with-secrets", "namespace": NAMESPACE}
    secrets = [{"name": "zeta-of-account"}, {"name": "alpha-of-account"}]
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account, "imagePullSecrets": secrets})
    of_account = [entry["name"] for entry in secrets]
    assert secrets_of(pods(a_pod(serviceAccountName="with-secrets"))) == [*of_account, SECRET]


def test_service_account_that_enforces_its_secrets_has_to_list_ours(
    cluster: Cluster, pods: Callable[[Json], Json]
) -> None:
    """Such a ServiceAccount makes the API server refuse the Pod, until it lists the pull secret as documented."""
    metadata = {"name": "strict", "namespace": NAMESPACE}
    enforcing = {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata | enforcing}
    cluster.apply(account)
    with pytest.raises(RigError) as refusal:
        pods(a_pod(serviceAccountName="strict"))

    assert f'imagePullSecrets[0].name="{SECRET}" is not allowed' in str(refusal.value)

    cluster.apply(account | {"imagePullSecrets": [{"name": SECRET}]})

    def created() -> Json | None:
        try:
            return pods(a_pod(serviceAccountName="strict"))
        except RigError:
            return None  # The API server learns of the ServiceAccount by and by.

    assert image_of(wait_until(created, what="the Pod to be accepted", seconds=20)).startswith(PROXY)


def test_nothing_else_of_a_pod_changes(pods: Callable[[Json], Json]) -> None:
    """Fields that the webhook knows nothing of are stored as they are without it."""
    differs: Json = {
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db"]}],
        "securityContext": {"fsGroup": 5},
        "readinessGates": [{"conditionType": "example.com/ready"}],
        "containers": [
            {
                "name": "api",
                "image": IMAGE,
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"limits": {"memory": "64Mi"}},
                "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            }
        ],
    }
    rewritten = pods(a_pod(**differs))
    plain = pods(a_pod("plain", metadata={"labels": {REWRITE: "disabled"}}, **differs))
    assert image_of(rewritten) == f"{PROXY}/{IMAGE}"
    rewritten["spec"]["containers"][0]["image"] = IMAGE
    del rewritten["spec"]["imagePullSecrets"]
    assert _without_random_names(rewritten["spec"]) == _without_random_names(plain["spec"])


def _without_random_names(spec: Json) -> Json:
    """Return a spec with the token volume's random suffix cut off."""
    plain: Json = json.loads(re.sub(r"kube-api-access-\w+", "kube-api-access", json.dumps(spec)))
    return plain


@pytest.mark.parametrize("place", ["labels", "annotations"])
def test_pod_may_opt_out(pods: Callable[[Json], Json], place: str) -> None:
    """A Pod that asks to be left alone is."""
    pod = pods(a_pod(metadata={place: {REWRITE: "disabled"}}))
    assert (image_of(pod), secrets_of(pod)) == (IMAGE, [])


def test_namespace_may_opt_out(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """In a namespace that opts out of rewriting there is the pull secret, and Pods stay as they are."""
    pod = pods(a_pod(namespace=UNREWRITTEN))
    assert (image_of(pod), secrets_of(pod)) == (IMAGE, [])
    assert cluster.await_secret(UNREWRITTEN)


def test_dry_run_is_answered_and_counted_apart(
    cluster: Cluster, webhook: RoleProcess, pods: Callable[[Json], Json]
) -> None:
    """A server-side dry run shows the images as they would be, stores nothing and is counted by itself."""
    del pods
    sample = re.compile(r'reviews_total\{dry_run="true",outcome="patched"\} (\d+)')
    before = sample.search(webhook.answer("/metrics"))
    await_rewriting(cluster)
    after = sample.search(webhook.answer("/metrics"))
    assert before
    assert after
    assert int(after[1]) == int(before[1]) + 1
    assert not cluster.exists("pod", "probe", "-n", NAMESPACE)


def test_wildcard_alone_makes_nobody_s_image_the_application_s(pods: Callable[[Json], Json]) -> None:
    """Where only `"*"` covers, an unclaimed Pod stays as it is, and one that names the application is rewritten."""
    unclaimed, labels = pods(a_pod(namespace=WILDCARD_ONLY)), {"labels": {"proxy.kots.io/app": "my-app"}}
    assert (image_of(unclaimed), secrets_of(unclaimed)) == (IMAGE, [])
    assert image_of(pods(a_pod("claimed", namespace=WILDCARD_ONLY, metadata=labels))) == f"{PROXY}/{IMAGE}"


def test_namespace_and_pod_in_one_manifest(cluster: Cluster, pods: Callable[[Json], Json]) -> None:
    """A Pod that is applied together with its new namespace is rewritten: the table holds rules, not namespaces."""
    del pods
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "brand-new"}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own", "namespace": "brand-new"}}
    metadata = {"labels": {"proxy.kots.io/app": "my-app"}}
    cluster.apply(namespace, account, a_pod(namespace="brand-new", metadata=metadata, serviceAccountName="own"))
    pod = cluster.get("pod", "main", "-n", "brand-new")
    cluster.kubectl("delete", "namespace", "brand-new", "--wait=false")
    assert (image_of(pod), secrets_of(pod)) == (f"{PROXY}/{IMAGE}", [SECRET])


def test_new_table_and_new_certificate_are_taken_over(
    cluster: Cluster, webhook: RoleProcess, pods: Callable[[Json], Json]
) -> None:
    """A namespace that is listed later, and a certificate made anew, take effect in the running replica."""
    pid = webhook.pid

    def taken_over() -> int:
        return webhook.log.read_text(encoding="utf-8").count("serving certificate taken over")

    before = taken_over()
    cluster.apply(an_application(NAMESPACE, "*", UNREWRITTEN, WILDCARD_ONLY))
    serial = cluster.get("secret", "replicated-proxy-serving", "-n", "replicated-proxy-operator")["data"]["tls.crt"]
    cluster.kubectl("delete", "secret", "replicated-proxy-serving", "-n", "replicated-proxy-operator")

    def listed() -> bool:
        pod = json.dumps(a_pod("probe", namespace=WILDCARD_ONLY))
        text = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=pod)
        return image_of(json.loads(text)).startswith(PROXY)

    wait_until(listed, what="the listed namespace to be rewritten", seconds=30)
    wait_until(lambda: taken_over() > before, what="the new certificate to be served", seconds=30)
    cluster.apply(an_application(NAMESPACE, "*", UNREWRITTEN))
    renewed = cluster.get("secret", "replicated-proxy-serving", "-n", "replicated-proxy-operator")["data"]["tls.crt"]
    assert renewed != serial
    assert image_of(pods(a_pod())) == f"{PROXY}/{IMAGE}"
    assert webhook.pid == pid


def test_pods_are_admitted_while_the_webhook_is_down(
    cluster: Cluster, webhook: RoleProcess, pods: Callable[[Json], Json]
) -> None:
    """Without the webhook a Pod is stored as it was sent; with it again, Pods are rewritten again."""
    webhook.stop()
    down = pods(a_pod())
    webhook.start()
    await_rewriting(cluster)
    up = pods(a_pod("up"))
    assert (image_of(down), secrets_of(down)) == (IMAGE, [])
    assert image_of(up) == f"{PROXY}/{IMAGE}"


def test_logs_hold_nothing_secret(webhook: RoleProcess, controller: RoleProcess) -> None:
    """After all of that, no log line holds the license ID or a key, and each is JSON."""
    for role in (webhook, controller):
        text = role.log.read_text(encoding="utf-8")
        assert all(json.loads(line)["message"] for line in text.splitlines())
        assert "planted-license-id" not in text
        assert "PRIVATE KEY" not in text
