"""The chart's cert-manager mode with cert-manager's own definitions, controllers and CA injector."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator

import pytest
from cryptography import x509

from admitting import IMAGE, PATIENT, PROXY
from certifying import KIND
from operating import Cluster, Json, a_license
from pod_stream import Outcome, PodStream, describe
from rig.binaries import CERT_MANAGER, provide
from rig.controlplane import ControlPlane
from rig.module_files import module_folder
from rig.processes import Process
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

APP = "cert-manager-app"
LEAF, AUTHORITY = f"{RELEASE}-webhook", f"{RELEASE}-ca"
SERVING = "replicated-proxy-serving"
VALUES: Json = {
    "settings": {
        "rewrite": {"mode": "all"},
        "certificates": {"mode": "CertManager", "extraNames": ["localhost", "127.0.0.1"]},
    },
    "webhook": PATIENT | {"failurePolicy": "Fail"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with cert-manager at work, the chart in its cert-manager mode, and a License."""
    program = provide([CERT_MANAGER])[CERT_MANAGER]
    definitions = module_folder(CERT_MANAGER, "github.com/cert-manager/cert-manager") / "deploy" / "crds"
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.kubectl("apply", "--server-side", "-f", str(definitions))
        defined = plane.kubectl("get", "crd", "--output=jsonpath={.items[*].metadata.name}").split()
        plane.await_kinds(*defined)
        log = tmp_path_factory.mktemp("cert-manager") / "cert-manager.log"
        manager = Process(CERT_MANAGER, [str(program), f"--kubeconfig={plane.kubeconfig}"], log=log)
        manager.start()
        try:
            cluster.install(VALUES)
            cluster.kubectl("create", "namespace", APP)
            cluster.apply(a_license(APP))
            yield cluster
        finally:
            manager.stop()


@pytest.fixture(scope="module")
def webhook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleProcess]:
    """Both roles, as the service accounts that the chart makes in this mode."""
    folder = tmp_path_factory.mktemp("roles")
    controller, webhook = (RoleProcess(role, cluster, folder, VALUES) for role in ("controller", "webhook"))
    try:
        controller.start()
        webhook.start()
        yield webhook
    finally:
        webhook.stop()
        controller.stop()


def serving_secret(cluster: Cluster) -> dict[str, bytes]:
    """Read what cert-manager issued; empty before."""
    data = cluster.get("secret", SERVING, "-n", NAMESPACE).get("data", {})
    return {name: base64.b64decode(text) for name, text in data.items()}


def injected_bundle(cluster: Cluster) -> bytes:
    """Read what cert-manager's injector wrote into `caBundle`; empty before."""
    (entry,) = cluster.get(KIND, RELEASE)["webhooks"]
    return base64.b64decode(entry["clientConfig"].get("caBundle", ""))


def renew(cluster: Cluster, certificate: str) -> None:
    """Have a certificate renewed, as `cmctl renew` does, and wait until that is done."""
    resource = ("certificates.cert-manager.io", certificate, "-n", NAMESPACE)
    status = cluster.get(*resource)["status"]
    before = status["revision"]
    now = status["conditions"][0]["lastTransitionTime"]
    due = {"type": "Issuing", "status": "True", "reason": "Renewed", "message": "", "lastTransitionTime": now}
    change = json.dumps({"status": {"conditions": [*status["conditions"], due]}})
    cluster.kubectl("patch", *resource, "--subresource=status", "--type=merge", "-p", change)
    wait_until(
        lambda: cluster.get(*resource)["status"]["revision"] > before, what=f"renewal of {certificate}", seconds=60
    )


def await_trust(cluster: Cluster, webhook: RoleProcess, secret: dict[str, bytes]) -> None:
    """Wait until the webhook serves what is in a Secret and the API server has its authority, among others or alone."""
    wait_until(lambda: secret["ca.crt"].strip() in injected_bundle(cluster), what="the injected bundle", seconds=60)
    wait_until(lambda: shown(cluster, secret["ca.crt"]) == secret["tls.crt"].decode(), what="the leaf", seconds=60)
    assert webhook.answer("/readyz") == "ok\n"


def shown(cluster: Cluster, bundle: bytes) -> str:
    """Return the certificate that a connection which trusts a bundle is shown, or nothing where it is refused."""
    context = ssl.create_default_context(cadata=bundle.decode())
    port = cluster.settings(VALUES)["webhook"]["port"]
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"")
    except ssl.SSLError:
        return ""


def test_certificate_is_issued_and_trusted(cluster: Cluster, webhook: RoleProcess) -> None:
    """Cert-manager issues what the chart asks for, its injector publishes the authority, and the replica is ready."""
    await_trust(cluster, webhook, serving_secret(cluster))
    leaf = x509.load_pem_x509_certificate(serving_secret(cluster)["tls.crt"])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"{LEAF}.{NAMESPACE}.svc" in names.get_values_for_type(x509.DNSName)
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_renewals_fail_no_review(cluster: Cluster, webhook: RoleProcess) -> None:
    """With `failurePolicy: Fail` every Pod is created and rewritten while leaf, authority and leaf again are renewed.

    The authority keeps its key, so that what is published and what is served need not change at one moment.
    """
    before = serving_secret(cluster)
    await_trust(cluster, webhook, before)
    stream = PodStream(cluster.plane.kubeconfig, APP, IMAGE, f"{PROXY}/{IMAGE}")
    with stream:
        renew(cluster, LEAF)
        renewed = serving_secret(cluster)
        await_trust(cluster, webhook, renewed)
        renew(cluster, AUTHORITY)
        renew(cluster, LEAF)
        after = serving_secret(cluster)
        await_trust(cluster, webhook, after)
        stream.await_more()

    assert len({each["tls.crt"] for each in (before, renewed, after)}) == 3
    assert (before["ca.crt"] == renewed["ca.crt"], renewed["ca.crt"] == after["ca.crt"]) == (True, False)
    assert list(stream.outcomes()) == [Outcome.REWRITTEN], describe(stream.creations())


def test_controller_has_no_say(cluster: Cluster) -> None:
    """In this mode its account may neither change webhook configurations nor write the Secrets of certificates."""
    account = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-controller"
    questions = [
        ("patch", f"{KIND}s.admissionregistration.k8s.io/{RELEASE}"),
        ("get", f"{KIND}s.admissionregistration.k8s.io/{RELEASE}"),
        ("update", f"secrets/{SERVING}"),
        ("get", "secrets/replicated-proxy-ca"),
        ("get", f"secrets/{SERVING}"),
    ]
    answers = []
    for verb, what in questions:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes_of(verb, what)},
        }
        answer = cluster.kubectl(
            account, "create", "--validate=false", "-o", "json", "-f", "-", input=json.dumps(review)
        )
        answers.append(json.loads(answer)["status"]["allowed"])
    assert answers == [False, False, False, False, True]


def attributes_of(verb: str, what: str) -> Json:
    """Write what a question of permission is about."""
    kind, _, name = what.partition("/")
    resource, _, group = kind.partition(".")
    place = {} if group else {"namespace": NAMESPACE}
    return {"verb": verb, "resource": resource, "group": group, "name": name, **place}
