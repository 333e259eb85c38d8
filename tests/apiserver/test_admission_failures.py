"""The webhook is not there yet, gone, or hangs: Pods are created all the same, and who looks can see that it was so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from admitting import IMAGE, PROXY, WEBHOOK, Admission, Seen, a_pod, mutations_of
from operating import Cluster, Json, a_license
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.roles import NAMESPACE as OPERATOR
from rig.roles import RoleProcess

pytestmark = pytest.mark.apiserver

HOME: Final = "app"
VALUES: Final[Json] = {"settings": {"rewrite": {"mode": "all"}}, "webhook": {"timeoutSeconds": 1}}
FAILED_OPEN: Final = "failed-open.mutation.webhook.admission.k8s.io/round_0_index_0"
AS_SENT, REWRITTEN = {"containers/c0": IMAGE}, {"containers/c0": f"{PROXY}/{IMAGE}"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The release without its roles: the registration is there before any server."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(VALUES)
        cluster.kubectl("create", "namespace", HOME)
        cluster.apply(a_license(HOME))
        yield cluster


@pytest.fixture(scope="module")
def idle(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Admission:
    """The installation with a webhook that was not started yet."""
    return Admission(cluster, RoleProcess("webhook", cluster, tmp_path_factory.mktemp("idle"), VALUES), VALUES)


@pytest.fixture
def admission(cluster: Cluster, tmp_path: Path) -> Iterator[Admission]:
    """The installation with both roles at work."""
    controller, webhook = (RoleProcess(role, cluster, tmp_path, VALUES) for role in ("controller", "webhook"))
    try:
        controller.start()
        webhook.start()
        yield Admission(cluster, webhook, VALUES)
    finally:
        webhook.stop()
        controller.stop()


def was_let_through(seen: Seen) -> bool:
    """Tell whether the API server wrote down that it went on without us."""
    return seen.audit.get(FAILED_OPEN) == WEBHOOK


def test_registration_before_its_server_stops_nobody(idle: Admission) -> None:
    """Between `helm install` and the first replica Pods are created as they are sent, and the audit log says so."""
    seen = idle.consider(a_pod(HOME))

    assert (seen.images, was_let_through(seen)) == (AS_SENT, True)


def test_own_and_system_namespaces_never_wait_for_us(idle: Admission) -> None:
    """The operator's own Pods and the system's are not even asked about, so that nothing waits for itself."""
    for namespace in (OPERATOR, "kube-system"):
        seen = idle.consider(a_pod(namespace))

        assert (mutations_of(seen.audit), was_let_through(seen)) == ([], False)


def test_webhook_that_ended_stops_nobody(admission: Admission) -> None:
    """Without a replica Pods are created as they are sent."""
    assert admission.await_told(a_pod(HOME), license="my-app").images == REWRITTEN
    admission.webhook.stop()
    seen = admission.consider(a_pod(HOME))

    assert (seen.images, was_let_through(seen)) == (AS_SENT, True)


def test_webhook_that_hangs_costs_its_timeout_and_no_pod(admission: Admission) -> None:
    """A replica that accepts connections and never answers is given up; once it goes on, Pods are rewritten again."""
    admission.await_told(a_pod(HOME), license="my-app")
    os.kill(admission.webhook.pid, signal.SIGSTOP)
    try:
        seen = admission.consider(a_pod(HOME))
    finally:
        os.kill(admission.webhook.pid, signal.SIGCONT)

    assert (seen.images, was_let_through(seen)) == (AS_SENT, True)
    assert admission.await_told(a_pod(HOME), license="my-app").images == REWRITTEN


def test_mode_off_leaves_every_pod_alone(admission: Admission, tmp_path: Path) -> None:
    """With `rewrite.mode: off` there are pull secrets and no rewriting, and the audit log says why."""
    admission.webhook.stop()
    off = RoleProcess("webhook", admission.cluster, tmp_path, {"settings": {"rewrite": {"mode": "off"}}}, replica="off")
    off.start()
    try:
        seen = Admission(admission.cluster, off, VALUES).await_told(a_pod(HOME), reason="mode-off")
    finally:
        off.stop()

    assert (seen.images, seen.secrets, seen.warnings) == (AS_SENT, [], [])
    assert admission.cluster.await_secret(HOME)


def test_metrics_say_whether_any_review_ever_came(admission: Admission) -> None:
    """A replica that the control plane does not reach says "ready" and counts no review: that can be alerted on."""
    assert "\nreplicated_proxy_review_seconds_count 0.0\n" in admission.webhook.answer("/metrics")

    admission.await_told(a_pod(HOME), license="my-app")
    assert admission.count("review_seconds_count") >= 1
