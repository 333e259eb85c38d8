"""Lines of docs/operating/before-you-install.md about the cluster itself: what is stored, written down, handed out."""

from __future__ import annotations

import base64
import json
import re
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
import yaml

from auditing import lines_of
from guide import FOLDER, read_blocks
from operating import LICENSE_ID, SECRET, Cluster, Namespaces, a_license, an_application
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.processes import run
from rig.roles import CHART, KINDS

pytestmark = pytest.mark.apiserver

HOME: Final = "app"
PAGE: Final = (FOLDER / "before-you-install.md").read_text(encoding="utf-8")
ENCRYPTION, AUDIT = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
_STATUS: Final = json.dumps({"status": {"observedGeneration": 1}})


@dataclass(frozen=True, slots=True)
class Traces:
    """What a control plane kept of a License, its status and a Secret.

    Attributes:
        stored: the License's bytes in etcd.
        audit: lines of the audit log.
    """

    stored: bytes
    audit: list[str]

    @property
    def is_plain(self) -> bool:
        """Whether the license ID can be read in etcd."""
        return LICENSE_ID.encode() in self.stored

    @property
    def telling(self) -> list[str]:
        """The lines of the audit log with the license ID, as it is or as a pull secret holds it."""
        return [line for line in self.audit if LICENSE_ID in line or _inside(LICENSE_ID) in line]


@dataclass(frozen=True, slots=True)
class Course:
    """Traces of the same requests: as many clusters are set up, then with the page's files, then written again."""

    usual: Traces
    configured: Traces
    rewritten: Traces


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """A control plane that is set up the usual way, and then as the page says."""
    folder = tmp_path_factory.mktemp("control-plane")
    encryption, policy = folder / "encryption.yaml", folder / "policy.yaml"
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    good = ENCRYPTION.replace("REPLACE-WITH-32-RANDOM-BYTES-IN-BASE64", key)
    encryption.write_text(good.replace(", licenses.kots.io", ""), encoding="utf-8")
    policy.write_text(AUDIT.replace("level: Metadata", "level: RequestResponse"), encoding="utf-8")
    flags = (f"--encryption-provider-config={encryption}", f"--audit-policy-file={policy}")
    with ControlPlane(folder / "plane", ControlPlaneOptions(audit_log=True, api_server_flags=flags)) as plane:
        _prepare(plane)
        usual = _leave_traces(plane, "usual")
        plane.api_server.stop()
        encryption.write_text(good, encoding="utf-8")
        policy.write_text(AUDIT, encoding="utf-8")
        plane.api_server.start()
        seen = len(_audit_of(plane))
        configured = Traces(_stored(plane), [])
        _write_again(plane)
        rewritten = _leave_traces(plane, "configured", since=seen)
        yield Course(usual, configured, rewritten)


def _prepare(plane: ControlPlane) -> None:
    """Apply the definitions, and a License in a namespace of its own."""
    plane.kubectl("apply", "-f", str(CHART / "files/crds"))
    plane.await_kinds(*KINDS)
    plane.kubectl("create", "namespace", HOME)
    plane.kubectl("apply", "-f", "-", input=yaml.safe_dump(a_license(HOME)))


def _leave_traces(plane: ControlPlane, name: str, since: int = 0) -> Traces:
    """Do what the operator and its users do: a status, an edit of the License, a pull secret, a label elsewhere."""
    plane.kubectl("label", "namespace", HOME, f"step={name}", "--overwrite")
    where = ("license.kots.io", "my-app", "-n", HOME)
    plane.kubectl("patch", *where, "--subresource=status", "--type=merge", f"--patch={_STATUS}")
    plane.kubectl("patch", *where, "--type=merge", "--patch", json.dumps({"spec": {"customerName": name}}))
    pull_secret = {"metadata": {"name": f"{SECRET}-{name}", "namespace": HOME}, "stringData": {"id": LICENSE_ID}}
    plane.kubectl("create", "-f", "-", input=yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", **pull_secret}))
    return Traces(_stored(plane), _audit_of(plane)[since:])


def _audit_of(plane: ControlPlane) -> list[str]:
    """Return the audit log so far."""
    return lines_of(plane.audit_log)


def _stored(plane: ControlPlane) -> bytes:
    """Read the License's bytes from etcd itself."""
    key = base64.b64encode(f"/registry/kots.io/licenses/{HOME}/my-app".encode()).decode()
    url, body = f"http://127.0.0.1:{plane.etcd_port}/v3/kv/range", json.dumps({"key": key}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        (entry,) = json.load(answer)["kvs"]
    return base64.b64decode(entry["value"])


def _write_again(plane: ControlPlane) -> None:
    """Run the page's command."""
    (block,) = read_blocks("before-you-install.md")
    folder = plane.binaries["kubectl"].parent
    shell = f'PATH="{folder}:$PATH" KUBECONFIG="{plane.kubeconfig}"; export PATH KUBECONFIG\n{block.command}'
    run(["bash", "-euo", "pipefail", "-c", shell])


def _inside(text: str) -> str:
    """Write a text as the data of a Secret holds it."""
    return base64.b64encode(text.encode()).decode()


def test_license_is_in_plain_text_in_etcd_unless_its_kind_is_listed(course: Course) -> None:
    """Listing Secrets does nothing for Licenses; listing theirs encrypts what is written from then on."""
    assert course.usual.is_plain
    assert course.configured.is_plain
    assert not course.rewritten.is_plain
    assert course.rewritten.stored.startswith(b"k8s:enc:secretbox:v1:key1:")


def test_audit_log_holds_the_license_above_the_level_metadata(course: Course) -> None:
    """With bodies in the log the license is in it, a status included; with the page's policy it is nowhere."""
    verbs = {
        (event["verb"], event["objectRef"].get("subresource", "")) for event in map(json.loads, course.usual.telling)
    }
    after = [json.loads(line) for line in course.rewritten.audit]
    levels = {event["objectRef"].get("resource"): event["level"] for event in after if "objectRef" in event}

    assert {("create", ""), ("patch", ""), ("patch", "status")} <= verbs
    assert course.rewritten.telling == []
    assert (levels["licenses"], levels["secrets"], levels["namespaces"]) == ("Metadata", "Metadata", "RequestResponse")


@pytest.mark.usefixtures("controller")
def test_wildcard_hands_the_license_to_whoever_creates_pods(cluster: Cluster, namespaces: Namespaces) -> None:
    """Who may create Pods and read no Secret can mount the license, in a namespace that only the wildcard covers."""
    app, elsewhere = namespaces.create("app", "elsewhere")
    cluster.apply(a_license(app), an_application(app, "*"))
    cluster.await_secret(elsewhere)
    cluster.kubectl("create", "role", "pods", "-n", elsewhere, "--verb=create", "--resource=pods")
    cluster.kubectl("create", "rolebinding", "pods", "-n", elsewhere, "--role=pods", "--user=somebody")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", elsewhere, "--timeout=120s")
    volume = {"name": "license", "secret": {"secretName": SECRET}}
    container = {"name": "c", "image": "busybox", "volumeMounts": [{"name": "license", "mountPath": "/license"}]}
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader", "namespace": elsewhere}}
    pod = head | {"spec": {"containers": [container], "volumes": [volume]}}

    with pytest.raises(RigError, match="Forbidden"):
        cluster.kubectl("get", "secret", SECRET, "-n", elsewhere, "--as=somebody")
    cluster.kubectl("create", "-f", "-", "--as=somebody", input=yaml.safe_dump(pod))
