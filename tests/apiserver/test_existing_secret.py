"""The chart's existing-secret mode: a Secret that somebody else keeps, on a real API server with both roles running."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest

from admitting import IMAGE, PATIENT, PROXY
from operating import Cluster, Json, a_license
from pod_stream import Outcome, PodStream, describe
from replicated_proxy.certificates.documents import SECRET_TYPE, serving_data
from replicated_proxy.certificates.issuing import (
    Authority,
    Leaf,
    make_authority,
    make_leaf,
    service_names,
    webhook_name,
)
from replicated_proxy.clock import SystemClock
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until
from serving import a_review, to_bytes

pytestmark = pytest.mark.apiserver

APP: Final = "existing-app"
SECRET: Final = "kept-by-somebody"
SERVICE: Final = f"{RELEASE}-webhook"
REFUSED: Final = "replicated_proxy_serving_secret_refused"
LIFE: Final = timedelta(days=2)
FIRST, SECOND = (make_authority(SystemClock().now(), LIFE) for _ in range(2))


def values(*authorities: Authority) -> Json:
    """Write the values of an administrator who publishes these authorities."""
    return {
        "settings": {
            "rewrite": {"mode": "all"},
            "certificates": {"mode": "ExistingSecret", "servingSecret": SECRET},
        },
        "webhook": PATIENT | {"failurePolicy": "Fail", "caBundle": bundle_of(*authorities)},
    }


def bundle_of(*authorities: Authority) -> str:
    """Write authorities as PEM."""
    return b"".join(each.certificate_pem for each in authorities).decode()


def a_leaf(authority: Authority) -> Leaf:
    """Issue a certificate for the webhook's Service, and for the address where it is called here."""
    return make_leaf(authority, (*service_names(SERVICE, NAMESPACE), "localhost"), SystemClock().now(), LIFE)


def keep(cluster: Cluster, leaf: Leaf, *authorities: Authority) -> None:
    """Write the Secret as its keeper does."""
    data = dict(serving_data(leaf, bundle_of(*authorities).encode()))
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": SECRET_TYPE, "data": data})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane with the chart in this mode, and a License; the Secret is not there yet."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(values(FIRST))
        cluster.kubectl("create", "namespace", APP)
        cluster.apply(a_license(APP))
        yield cluster


@pytest.fixture(scope="module")
def webhook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleProcess]:
    """Both roles; the webhook waits for the Secret."""
    folder = tmp_path_factory.mktemp("roles")
    controller, webhook = (RoleProcess(role, cluster, folder, values(FIRST)) for role in ("controller", "webhook"))
    try:
        controller.start()
        webhook.start(ready=False)
        webhook.await_answer("/readyz", "the serving Secret does not exist")
        keep(cluster, a_leaf(FIRST), FIRST)
        webhook.await_ready()
        yield webhook
    finally:
        webhook.stop()
        controller.stop()


class Connection:
    """One connection to the webhook that is kept open, and what it was shown when it opened."""

    def __init__(self, cluster: Cluster, *authorities: Authority) -> None:
        context = ssl.create_default_context(cadata=bundle_of(*authorities))
        port = cluster.settings(values(FIRST))["webhook"]["port"]
        self._http = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
        self._http.connect()
        self.certificate = ssl.DER_cert_to_PEM_cert(self._http.sock.getpeercert(binary_form=True) or b"")

    def review(self) -> int:
        """Send a review; http.client would open another connection if this one had been closed, so that is told."""
        assert self._http.sock is not None, "the connection was closed"
        self._http.request("POST", "/mutate", to_bytes(a_review()), {"Content-Type": "application/json"})
        answer = self._http.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """End."""
        self._http.close()


def shown(cluster: Cluster, *authorities: Authority) -> str:
    """Return the certificate that a new connection is shown."""
    connection = Connection(cluster, *authorities)
    connection.close()
    return connection.certificate


def test_rotation_is_picked_up(cluster: Cluster, webhook: RoleProcess) -> None:
    """A new certificate is served from the next connection on, and the open one goes on; no Pod is refused.

    The administrator does what the guide says: publish both authorities first, then write the Secret.
    """
    stream = PodStream(cluster.plane.kubeconfig, APP, IMAGE, f"{PROXY}/{IMAGE}")
    with stream:
        connection = Connection(cluster, FIRST)
        assert connection.review() == http.HTTPStatus.OK
        cluster.install(values(FIRST, SECOND))
        stream.await_more()
        newer = a_leaf(SECOND)
        keep(cluster, newer, FIRST, SECOND)
        wait_until(lambda: shown(cluster, FIRST, SECOND) == newer.certificate_pem.decode(), what="it", seconds=30)
        assert connection.review() == http.HTTPStatus.OK
        connection.close()
        stream.await_more()

    assert list(stream.outcomes()) == [Outcome.REWRITTEN], describe(stream.creations())
    assert webhook.answer("/readyz") == "ok\n"


def test_bad_secret_keeps_what_is_served_and_is_told(cluster: Cluster, webhook: RoleProcess) -> None:
    """A key of another certificate, or no Secret at all: the last good one is served, and metric and log say so."""
    good = a_leaf(SECOND)
    keep(cluster, good, FIRST, SECOND)
    wait_until(lambda: shown(cluster, SECOND) == good.certificate_pem.decode(), what="the good one", seconds=30)
    for spoil in (
        lambda: keep(cluster, Leaf(good.certificate_pem, a_leaf(SECOND).key_pem), SECOND),
        lambda: cluster.kubectl("delete", "secret", SECRET, "-n", NAMESPACE),
    ):
        spoil()
        webhook.await_answer("/metrics", f"{REFUSED} 1.0")
        assert shown(cluster, SECOND) == good.certificate_pem.decode()
        assert webhook.answer("/readyz") == "ok\n"
        keep(cluster, good, FIRST, SECOND)
        webhook.await_answer("/metrics", f"{REFUSED} 0.0")
    told = [json.loads(line)["message"] for line in webhook.log.read_text().splitlines() if line.startswith("{")]
    for words in ("tls.key is not the key of tls.crt", "the serving Secret does not exist"):
        assert any(words in message for message in told)


def test_name_of_the_service_is_what_counts(cluster: Cluster, webhook: RoleProcess) -> None:
    """A certificate for other names is refused while the one in use is good, in words that name what is asked for."""
    good = shown(cluster, SECOND)
    keep(cluster, make_leaf(SECOND, ("localhost",), SystemClock().now(), LIFE), SECOND)
    webhook.await_answer("/metrics", f"{REFUSED} 1.0")
    assert shown(cluster, SECOND) == good
    assert webhook_name(SERVICE, NAMESPACE) in webhook.log.read_text()
