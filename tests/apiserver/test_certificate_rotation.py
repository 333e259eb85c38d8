"""Whole rotations within seconds, authority included, while Pods are created without pause and nothing may fail.

And what comes of a certificate that nobody renews.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from admitting import IMAGE, PATIENT, PROXY, WEBHOOK, a_pod
from balancing import Balancer
from certifying import KIND
from operating import Cluster, Json, a_license
from pod_stream import Outcome, PodStream, describe
from replicated_proxy.certificates.issuing import webhook_name
from replicated_proxy.certificates.verifying import split_bundle
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

APP = "rotation-app"
ROTATIONS = 2
VALUES: Json = {
    "settings": {
        "rewrite": {"mode": "all"},
        "certificates": {"caLifetime": "24s", "leafLifetime": "12s", "propagationDelay": "2s"},
    },
    "webhook": PATIENT | {"failurePolicy": "Fail"},
}
_BRIEF: Json = {"leafLifetime": "6s", "propagationDelay": "1s"}
BRIEF: Json = VALUES | {"settings": VALUES["settings"] | {"certificates": _BRIEF}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane with a License, a controller, and two replicas of the webhook behind one address."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(VALUES)
        cluster.kubectl("create", "namespace", APP)
        cluster.apply(a_license(APP))
        yield cluster


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[list[RoleProcess]]:
    """A controller and two replicas; only the Service that the API server calls has the port that it knows."""
    controller = RoleProcess("controller", cluster, tmp_path, VALUES)
    sites = [Cluster(cluster.plane, provide(["helm"])["helm"], webhook=True) for _ in range(2)]
    replicas = [RoleProcess("webhook", each, tmp_path, VALUES, replica=str(n)) for n, each in enumerate(sites)]
    with ExitStack() as stack:
        for role in (controller, *replicas):
            stack.callback(role.stop)
            role.start()
        stack.enter_context(Balancer(port_of(cluster), [port_of(site) for site in sites]))
        yield [controller, *replicas]


def port_of(cluster: Cluster) -> int:
    """Return the webhook's port of an installation."""
    port: int = cluster.settings(VALUES)["webhook"]["port"]
    return port


def published_bundle(cluster: Cluster) -> str:
    """Read `caBundle`."""
    (entry,) = cluster.get(KIND, RELEASE)["webhooks"]
    return base64.b64decode(entry["clientConfig"]["caBundle"]).decode()


def bad_calls(cluster: Cluster) -> dict[str, float]:
    """Read from the API server's own metrics which calls of the webhook did not do; series that are 0 do not exist."""
    text = cluster.kubectl("get", "--raw", "/metrics")
    series = rf'^(apiserver_admission_webhook_(?:rejection|fail_open)_count{{[^}}]*name="{WEBHOOK}"[^}}]*}}) (\S+)$'
    return {name: float(value) for name, value in re.findall(series, text, re.MULTILINE)}


def good_calls(cluster: Cluster) -> float:
    """Read from the API server's own metrics how many calls of the webhook were answered."""
    text = cluster.kubectl("get", "--raw", "/metrics")
    series = rf'^apiserver_admission_webhook_request_total{{[^}}]*name="{WEBHOOK}"[^}}]*}} (\S+)$'
    return sum(map(float, re.findall(series, text, re.MULTILINE)))


class Handshakes:
    """Opens connection after connection, each verified by the bundle that is published at that moment.

    Attributes:
        leaves: every certificate that was shown.
        authorities: every authority that was published.
        failures: what went wrong.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._port = port_of(cluster)
        self._ending = threading.Event()
        self.leaves: set[bytes] = set()
        self.authorities: list[bytes] = []
        self.failures: list[str] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Shake hands while the test does something."""
        thread = threading.Thread(target=self._shake, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    def _shake(self) -> None:
        """Shake hands again and again."""
        while not self._ending.is_set():
            bundle = published_bundle(self._cluster)
            self.authorities += [each for each in split_bundle(bundle.encode()) if each not in self.authorities]
            try:
                self.leaves.add(show_certificate(self._port, bundle))
            except OSError as error:
                # One that changed meanwhile was not that of this moment.
                if published_bundle(self._cluster) == bundle:
                    self.failures.append(f"{type(error).__name__}: {error}")


def show_certificate(port: int, bundle: str) -> bytes:
    """Shake hands as the API server does, and return the certificate that is shown."""
    context = ssl.create_default_context(cadata=bundle)
    name = webhook_name(f"{RELEASE}-webhook", NAMESPACE)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def wait_for_authorities(handshakes: Handshakes, count: int) -> None:
    """Wait until so many authorities have been published, and the last one's leaf is shown too."""
    wait_until(lambda: len(handshakes.authorities) >= count, what=f"{count} authorities", seconds=120)
    known = len(handshakes.leaves)
    wait_until(lambda: len(handshakes.leaves) > known, what="a certificate after that", seconds=60)


def test_rotations_fail_no_review(cluster: Cluster, operator: list[RoleProcess]) -> None:
    """With `failurePolicy: Fail` every Pod is created and rewritten, through renewals of the leaf and the authority."""
    handshakes = Handshakes(cluster)
    stream = PodStream(cluster.plane.kubeconfig, APP, IMAGE, f"{PROXY}/{IMAGE}")
    with stream, handshakes.going_on():
        wait_for_authorities(handshakes, 1 + ROTATIONS)

    assert handshakes.failures == []
    assert len(handshakes.leaves) > ROTATIONS
    assert bad_calls(cluster) == {}
    assert good_calls(cluster) >= len(stream.creations()) > 0
    assert list(stream.outcomes()) == [Outcome.REWRITTEN], describe(stream.creations())

    for replica in operator[1:]:
        replica.kill()
    with pytest.raises(RigError, match=WEBHOOK):
        cluster.kubectl("run", "refused", f"--image={IMAGE}", "-n", APP)
    assert bad_calls(cluster), "a call that fails is counted"


@pytest.fixture
def pair(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[RoleProcess, RoleProcess]]:
    """A controller and one replica, whose certificates last for seconds."""
    controller, webhook = (RoleProcess(role, cluster, tmp_path, BRIEF) for role in ("controller", "webhook"))
    with ExitStack() as stack:
        for role in (controller, webhook):
            stack.callback(role.stop)
            role.start()
        yield controller, webhook


def refusal(cluster: Cluster) -> str:
    """Try to create a Pod; return why the API server refuses it, or nothing where it would be rewritten."""
    try:
        pod = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(a_pod(APP)))
    except RigError as refused:
        return str(refused)
    assert json.loads(pod)["spec"]["containers"][0]["image"] == f"{PROXY}/{IMAGE}"
    return ""


def test_certificate_that_nobody_renews_ends(cluster: Cluster, pair: tuple[RoleProcess, RoleProcess]) -> None:
    """Without a controller the replica says on `/readyz` that it ended; with one again all goes on by itself."""
    controller, webhook = pair
    controller.kill()
    webhook.await_answer("/readyz", "cert is not valid at validation time")

    assert "certificate has expired" in refusal(cluster)
    assert webhook.answer("/livez") == "ok\n"

    controller.start()
    webhook.await_ready()
    wait_until(lambda: not refusal(cluster), what="a rewritten Pod", seconds=30)
