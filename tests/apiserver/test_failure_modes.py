"""Lines of docs/operating/failure-modes.md that no other file proves: what comes of a part that is away."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from admitting import IMAGE, PATIENT, PROXY, Admission, a_pod, run_kubectl
from auditing import writes_of
from operating import ROUTES, Cluster, Json, a_license, an_application
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.roles import NAMESPACE as OPERATOR
from rig.roles import RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

HOME: Final = "app"
# A short Lease, so that a controller which cannot renew it is seen to stop writing soon.
_TERM: Final[Json] = {"leaseSeconds": 4, "renewSeconds": 3, "retrySeconds": 1}
VALUES: Final[Json] = {"settings": {"rewrite": {"mode": "all"}, "controller": _TERM}, "webhook": PATIENT}
# What another release in another namespace would have of its own; here it may write with the first one's account.
_OWN: Final[Json] = {
    "installation": "other/other",
    "routesConfigMap": "other-routes",
    "certificates": {"caSecret": "other-ca", "servingSecret": "other-serving"},
    "controller": _TERM | {"leaseName": "other"},
}
_SECOND: Final[Json] = {"settings": VALUES["settings"] | _OWN}
AS_SENT, REWRITTEN = {"containers/c0": IMAGE}, {"containers/c0": f"{PROXY}/{IMAGE}"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: these tests take its parts away."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(VALUES)
        cluster.kubectl("create", "namespace", HOME)
        cluster.apply(a_license(HOME))
        yield cluster


@pytest.fixture
def controller(cluster: Cluster, tmp_path: Path) -> Iterator[RoleProcess]:
    """The controller at work."""
    running = RoleProcess("controller", cluster, tmp_path, VALUES)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def admission(cluster: Cluster, controller: RoleProcess, tmp_path: Path) -> Iterator[Admission]:
    """The webhook at work, with the License in its table."""
    webhook = RoleProcess("webhook", cluster, tmp_path, VALUES)
    webhook.start()
    controller.await_ready()
    try:
        found = Admission(cluster, webhook, VALUES)
        found.await_told(a_pod(HOME), license="my-app")
        yield found
    finally:
        webhook.stop()


def try_pod(cluster: Cluster) -> str:
    """Create a Pod without storing it; return the API server's refusal, or nothing."""
    try:
        given = json.dumps(a_pod(HOME, metadata={"name": "tried"}))
        run_kubectl(cluster, "create", "--dry-run=server", "-f", "-", given=given)
    except RigError as refusal:
        return str(refusal)
    return ""


def test_pods_are_rewritten_while_the_controller_is_down(admission: Admission, controller: RoleProcess) -> None:
    """The published table goes on counting; what waits is the pull secret of a namespace that comes meanwhile."""
    cluster = admission.cluster
    cluster.apply(an_application(HOME, "later"))
    admission.await_told(a_pod(HOME), license="my-app")
    wait_until(lambda: "later" in str(cluster.get("configmap", ROUTES, "-n", OPERATOR)), what="the table", seconds=20)
    controller.kill()
    cluster.kubectl("create", "namespace", "later")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", "later", "--timeout=120s")

    assert admission.await_told(a_pod("later"), license="my-app").images == REWRITTEN
    assert cluster.secret("later") == {}

    controller.start()
    assert cluster.await_secret("later")


def test_lost_table_is_missed_by_new_replicas_only(
    admission: Admission, controller: RoleProcess, tmp_path: Path
) -> None:
    """A replica keeps the table that it has read; one that starts without any is not ready, and Pods pass unchanged."""
    cluster = admission.cluster
    controller.stop()
    cluster.kubectl("delete", "configmap", ROUTES, "-n", OPERATOR)

    assert admission.consider(a_pod(HOME)).images == REWRITTEN

    admission.webhook.stop()
    new = RoleProcess("webhook", cluster, tmp_path, VALUES, replica="new")
    new.start(ready=False)
    try:
        new.await_answer("/readyz", "routing table")
        assert admission.consider(a_pod(HOME)).images == AS_SENT

        controller.start()
        new.await_ready()
        assert admission.await_told(a_pod(HOME), license="my-app").images == REWRITTEN
    finally:
        new.stop()


def test_webhook_goes_on_when_the_api_server_comes_back(cluster: Cluster, admission: Admission) -> None:
    """An outage makes no replica unready, and the first Pod after it is rewritten with the table of before."""
    cluster.plane.api_server.stop()
    assert admission.webhook.answer("/readyz") == "ok\n"
    assert admission.webhook.answer("/livez") == "ok\n"
    cluster.plane.api_server.start()

    assert admission.await_told(a_pod(HOME), license="my-app").images == REWRITTEN


def test_full_etcd_stops_writing_and_nothing_else(
    cluster: Cluster, admission: Admission, controller: RoleProcess
) -> None:
    """With etcd out of space nobody writes and reviews go on; once there is space again what is missing is written."""
    cluster.await_secret(HOME)
    with out_of_space(cluster):
        cluster.kubectl("delete", "secret", "replicated-proxy-registry", "-n", HOME)
        with pytest.raises(RigError, match="database space exceeded"):
            cluster.kubectl("create", "namespace", "too-much")
        controller.await_answer("/metrics", "\nreplicated_proxy_leader 0.0\n")

        assert cluster.secret(HOME) == {}
        assert admission.await_told(a_pod(HOME), license="my-app").images == REWRITTEN

    assert cluster.await_secret(HOME, seconds=60)


def test_second_release_is_told_and_kept_at_a_pace(cluster: Cluster, admission: Admission, tmp_path: Path) -> None:
    """Two controllers of one License leave each other's copies alone, and take turns at its status ever less often."""
    account = f"{OPERATOR}:{RELEASE}-controller"
    cluster.kubectl(
        "create", "clusterrolebinding", "both", "--clusterrole=cluster-admin", f"--serviceaccount={account}"
    )
    before = cluster.await_secret(HOME)
    second = RoleProcess("controller", cluster, tmp_path, _SECOND, replica="second")
    # Never ready: the first release's policy keeps this account from making another release's certificate.
    second.start(ready=False)
    try:
        cluster.await_condition(HOME, "Synced", "Conflict")
        wait_until(
            lambda: "is there another release?" in second.log.read_text(encoding="utf-8"),
            what="the warning",
            seconds=60,
        )
        turns = [event for event in writes_of(cluster, second.identity) if event["objectRef"].get("subresource")]
        assert len(turns) <= 10
        assert cluster.secret(HOME) == before
        assert admission.consider(a_pod(HOME)).images == REWRITTEN
    finally:
        second.stop()
        cluster.kubectl("delete", "clusterrolebinding", "both")


@contextmanager
def out_of_space(cluster: Cluster) -> Iterator[None]:
    """Raise the alarm by which etcd refuses writes when its quota is used up."""
    alarm(cluster, "ACTIVATE")
    try:
        yield
    finally:
        alarm(cluster, "DEACTIVATE")


def alarm(cluster: Cluster, action: str) -> None:
    """Set or clear etcd's alarm for missing space, as it does itself and as `etcdctl alarm disarm` does."""
    body = json.dumps({"action": action, "alarm": "NOSPACE"}).encode()
    url = f"http://127.0.0.1:{cluster.plane.etcd_port}/v3/maintenance/alarm"
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        answer.read()


def allow_list(*prefixes: str) -> list[Json]:
    """Write a policy that allows images of some registries by name, as many clusters have one."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    allowed = " || ".join(f"c.image.startsWith('{prefix}')" for prefix in prefixes)
    message = "'not an allowed registry: ' + object.spec.containers[0].image"
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"object.spec.containers.all(c, {allowed})", "messageExpression": message}],
    }
    home = {"matchLabels": {"kubernetes.io/metadata.name": HOME}}
    binding = {
        "policyName": "registries",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": home},
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "registries"}}
    return [
        head | {"kind": "ValidatingAdmissionPolicy", "spec": policy},
        head | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


@pytest.mark.usefixtures("admission")
def test_allow_list_of_registries_sees_the_proxys_name(cluster: Cluster) -> None:
    """A policy that knows the vendor's registry alone refuses the rewritten Pod, until it allows the new name."""
    cluster.apply(*allow_list("quay.io/"))
    try:
        refusal = wait_until(lambda: try_pod(cluster), what="the policy to refuse", seconds=30)
        assert f"not an allowed registry: {PROXY}/{IMAGE}" in refusal

        cluster.apply(*allow_list("quay.io/", f"{PROXY}/quay.io/"))
        wait_until(lambda: not try_pod(cluster), what="the policy to allow it", seconds=30)
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            cluster.kubectl("delete", kind, "registries")
