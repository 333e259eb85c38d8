"""Only the API server is answered, where it shows a certificate: tried with a real one that is configured for it."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from admitting import IMAGE, PROXY, a_pod
from operating import Cluster, a_license
from rig.authority import Authority, KeyPair
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until
from serving import a_review

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
APP: Final = "app"
CALLER: Final = "api-server-of-the-test"


class Callers:
    """The authority that callers' certificates come from, and what the API server shows to webhooks."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder / "callers")
        self.right = self.authority.client(CALLER)
        self.other_name = self.authority.client("somebody-else")
        self.strange = Authority.create(folder / "strangers").client(CALLER)
        self.flags = (f"--admission-control-config-file={folder / 'admission.json'}",)
        self._credentials = folder / "webhooks.kubeconfig"
        plugin = {
            "name": "MutatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": str(self._credentials),
            },
        }
        kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [plugin]}
        (folder / "admission.json").write_text(json.dumps(kind), encoding="utf-8")
        self.let_api_server_show(self.right)

    def let_api_server_show(self, pair: KeyPair | None) -> None:
        """Write what an API server that starts from now on shows to every webhook."""
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)} if pair else {}
        document = {"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}] if pair else []}
        self._credentials.write_text(json.dumps(document), encoding="utf-8")


@dataclass
class Guarded:
    """A cluster whose webhook takes reviews from one caller."""

    cluster: Cluster
    callers: Callers
    webhook: RoleProcess
    controller: RoleProcess
    port: int

    def image(self) -> str:
        """Return the image of a Pod as it would be stored."""
        pod = json.dumps(a_pod(APP))
        text = self.cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=pod)
        return str(json.loads(text)["spec"]["containers"][0]["image"])

    def ask(self, path: str, pair: KeyPair | None) -> tuple[int, str]:
        """Ask the webhook's port oneself; returns status and text of the answer."""
        (entry,) = self.cluster.get("mutatingwebhookconfiguration", NAMESPACE)["webhooks"]
        bundle = base64.b64decode(entry["clientConfig"]["caBundle"]).decode()
        context = ssl.create_default_context(cadata=bundle)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        request = urllib.request.Request(
            f"https://localhost:{self.port}{path}",
            data=json.dumps(a_review(namespace=APP)).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310 - likewise.
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def set_failure_policy(self, word: str) -> None:
        """Change what becomes of Pods that nobody answers for."""
        patch = json.dumps([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": word}])
        self.cluster.kubectl("patch", "mutatingwebhookconfiguration", NAMESPACE, "--type=json", "-p", patch)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Both roles, and an API server that shows the right certificate."""
    folder = tmp_path_factory.mktemp("callers")
    callers = Callers(folder)
    asked = {"clientCaFile": str(callers.authority.pair.certificate), "clientNames": [CALLER]}
    detection = {"assume": {"quay.io": "Private"}, "collectSeconds": 1}
    values = {"settings": {"detection": detection, "webhook": asked}}
    with ControlPlane(options=ControlPlaneOptions(api_server_flags=callers.flags)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(values)
        cluster.kubectl("create", "namespace", APP)
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", APP, "--timeout=120s")
        cluster.apply(a_license(APP))
        webhook, controller = (RoleProcess(role, cluster, folder, values) for role in ("webhook", "controller"))
        made = Guarded(cluster, callers, webhook, controller, cluster.settings(values)["webhook"]["port"])
        try:
            made.controller.start()
            made.webhook.start()
            wait_until(lambda: made.image() == f"{PROXY}/{IMAGE}", what="a rewritten Pod", seconds=60)
            yield made
        finally:
            made.webhook.stop()
            made.controller.stop()


def test_api_server_with_the_certificate_is_answered(guarded: Guarded) -> None:
    """Configured as Kubernetes documents it, the API server shows its certificate and Pods are rewritten."""
    assert guarded.image() == f"{PROXY}/{IMAGE}"


def test_others_are_refused(guarded: Guarded) -> None:
    """Who shows none, or one of another name, learns nothing; one of another authority ends the handshake."""
    nobody, other = guarded.ask("/mutate", None), guarded.ask("/mutate", guarded.callers.other_name)
    with pytest.raises((ssl.SSLError, OSError)):
        guarded.ask("/mutate", guarded.callers.strange)

    assert nobody == (403, '{"error":"reviews are taken from the API server only, by its client certificate"}')
    assert other == (403, '{"error":"this client certificate is not the API server\'s"}')
    assert guarded.ask("/mutate", guarded.callers.right)[0] == 200
    assert 'requests_refused_total{reason="caller"} 2.0' in guarded.webhook.answer("/metrics")


def test_probes_and_the_collection_of_verdicts_go_on(guarded: Guarded) -> None:
    """Probes have a port of their own, and the controller shows a token where others show a certificate."""
    assert guarded.webhook.answer("/readyz") == "ok\n"
    assert guarded.ask("/verdicts", guarded.callers.right)[0] == 404
    collected = re.compile(r'verdict_collections_total{result="unchanged"} [1-9]')
    wait_until(lambda: collected.search(guarded.controller.answer("/metrics")), what="a collection", seconds=30)


@pytest.mark.parametrize("shown", ["none", "other name"])
def test_api_server_without_it_is_refused_as_configured(guarded: Guarded, shown: str) -> None:
    """Then Pods pass unchanged with Ignore and are refused with Fail; with the certificate all is well again."""
    plane, callers = guarded.cluster.plane, guarded.callers
    callers.let_api_server_show(None if shown == "none" else callers.other_name)
    plane.api_server.stop()
    plane.api_server.start()
    try:
        assert guarded.image() == IMAGE
        guarded.set_failure_policy("Fail")
        with pytest.raises(RigError) as refused:
            wait_until(lambda: guarded.image() != IMAGE, what="a refusal", seconds=30)
    finally:
        guarded.set_failure_policy("Ignore")
        callers.let_api_server_show(callers.right)
        plane.api_server.stop()
        plane.api_server.start()

    assert 'failed calling webhook "pods.proxy.kots.io"' in str(refused.value)
    wait_until(lambda: guarded.image() == f"{PROXY}/{IMAGE}", what="a rewritten Pod", seconds=60)
