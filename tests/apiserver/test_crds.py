"""The definitions of License and Application, on the real API server."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from replicated_proxy.core.images import is_registry_host
from rig.cache import REPOSITORY
from rig.controlplane import ControlPlane
from rig.errors import RigError

pytestmark = pytest.mark.apiserver

_FILES = REPOSITORY / "charts/replicated-proxy-operator/files/crds"
_NAMES = ("licenses.kots.io", "applications.kots.io")
_ID = "1vusIYZLAVxMG6q760OJmRKj5i5"

Json = dict[str, Any]
MakeNamespace = Callable[..., str]

# As vendor portals write them: every type of entitlement value and none, fields that no published schema knows.
_FULL = f"""
apiVersion: kots.io/v1beta1
kind: License
metadata:
  name: acmecorp
spec:
  appSlug: my-kots-app
  licenseID: {_ID}
  customerID: 2vusIYZLAVxMG6q760OJmRKj5i5
  customerName: ACME Corp.
  customerEmail: it@acme.example
  channelID: 1vusOokxAVp1tkRGuyxnF23PJcq
  channelName: Stable
  channels:
    - channelID: 1vusOokxAVp1tkRGuyxnF23PJcq
      channelName: Stable
      channelSlug: stable
      isDefault: true
      isSemverRequired: true
      endpoint: https://replicated.app
      replicatedProxyDomain: images.acme.example
    - channelID: 1vusOokxAVp1tkRGuyxnF23PJcr
      channelName: Beta
      replicatedProxyDomain: ""
  endpoint: https://replicated.app
  replicatedProxyDomain: proxy.replicated.com
  licenseSequence: 12
  licenseType: prod
  isAirgapSupported: true
  isEmbeddedClusterMultinodeEnabled: true
  isHelmInstallEnabled: true
  isKotsInstallEnabled: true
  isNewKotsUiEnabled: true
  entitlements:
    expires_at:
      title: Expiration
      description: License Expiration
      value: 2030-07-27T00:00:00Z
      valueType: String
      signature:
        v1: ZmFrZQ==
    seats: {{title: Seats, value: 1232435, valueType: Integer}}
    negative: {{title: Negative, value: -7, valueType: Integer}}
    empty_integer: {{title: Empty, value: "", valueType: Integer, isHidden: true}}
    beta: {{title: Beta, value: true, valueType: Boolean}}
    missing: {{title: Missing, valueType: String}}
    text: {{title: Text, valueType: Text, value: "first\\nsecond", something: {{new: [1, "two", null]}}}}
  signature: eyJsaWNlbnNlRGF0YSI6IiJ9
  somethingNew:
    nested: [1, 2.5, {{deep: true}}]
"""
_SMALL = f"""
apiVersion: kots.io/v1beta1
kind: License
metadata: {{name: small}}
spec: {{appSlug: my-kots-app, licenseID: {_ID}}}
"""
_SECOND_VERSION = _FULL.replace("v1beta1", "v1beta2").replace("v1: ZmFrZQ==", "v2: ZmFrZQ==")
_NULLS = f"""
apiVersion: kots.io/v1beta2
kind: License
metadata: {{name: nulls}}
spec:
  appSlug: a.b_c__d--e
  licenseID: {_ID}
  channels: null
  entitlements: null
  replicatedProxyDomain: ""
  endpoint: ""
"""
_LICENSES = {"full": _FULL, "small": _SMALL, "v1beta2": _SECOND_VERSION}

_APPLICATION = """
apiVersion: kots.io/v1beta1
kind: Application
metadata: {name: my-app}
spec:
  title: My App
  icon: https://example.com/icon.png
  statusInformers: [deployment/api]
  ports: [{serviceName: api, servicePort: 80, localPort: 8888, applicationUrl: "http://api"}]
  additionalNamespaces: ["*", workers, team-*, "repl{{ ConfigOption `x` }}", "", Not A Name]
  additionalImages: [busybox, quay.io/acme/tools:1]
  excludedImages: [auto]
  proxyRegistryDomain: images.acme.example:8443
  replicatedRegistryDomain: ""
  allowRollback: true
"""


class _Text(yaml.SafeLoader):
    """Leaves time stamps as text, as kubectl does."""


_Text.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str) -> Json:
    """Read a manifest."""
    document: Json = yaml.load(text, Loader=_Text)  # noqa: S506 - a safe loader with fewer types.
    return document


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The API server with the definitions, straight from the chart's files."""
    control_plane.kubectl("apply", "--filename", str(_FILES))
    control_plane.await_kinds(*_NAMES)
    return control_plane


@pytest.fixture
def namespace(make_namespace: MakeNamespace) -> str:
    """A namespace of the test's own."""
    return make_namespace("crds")


def _apply(plane: ControlPlane, namespace: str, document: Json, *arguments: str) -> str:
    """Run `kubectl apply` for one object."""
    text = json.dumps(document)
    return plane.kubectl("apply", "--namespace", namespace, *arguments, "--filename", "-", input=text)


def _read(plane: ControlPlane, namespace: str, resource: str) -> Json:
    """Read an object back."""
    document: Json = json.loads(plane.kubectl("get", resource, "--namespace", namespace, "--output=json"))
    return document


def _create(plane: ControlPlane, namespace: str, document: Json) -> str:
    """Run `kubectl create` and keep nothing; it takes more than fits into the annotation of `kubectl apply`."""
    text = json.dumps(document)
    return plane.kubectl("create", "--namespace", namespace, "--dry-run=server", "--filename", "-", input=text)


def _refusal(
    plane: ControlPlane, namespace: str, document: Json, request: Callable[[ControlPlane, str, Json], str] = _apply
) -> str:
    """Return what kubectl says when it must refuse an object."""
    with pytest.raises(RigError) as refused:
        request(plane, namespace, document)
    return str(refused.value)


@pytest.mark.parametrize("arguments", [(), ("--server-side",)], ids=["apply", "server-side"])
@pytest.mark.parametrize("text", _LICENSES.values(), ids=_LICENSES.keys())
def test_real_licenses_come_back_unchanged(
    plane: ControlPlane, namespace: str, text: str, arguments: tuple[str, ...]
) -> None:
    """What a vendor portal hands out applies as it is and reads the same through both versions."""
    document = _parse(text)
    name = document["metadata"]["name"]
    plane.kubectl("apply", "--namespace", namespace, *arguments, "--filename", "-", input=text)
    for version in ("v1beta1", "v1beta2"):
        found = _read(plane, namespace, f"licenses.{version}.kots.io/{name}")
        assert found["apiVersion"] == f"kots.io/{version}"
        assert found["spec"] == document["spec"]
    again = plane.kubectl("apply", "--namespace", namespace, *arguments, "--filename", "-", input=text)
    assert _read(plane, namespace, f"licenses.kots.io/{name}")["metadata"]["generation"] == 1, again


def test_empty_fields_are_accepted(plane: ControlPlane, namespace: str) -> None:
    """Real licenses leave fields empty; kubectl itself drops nulls on the way."""
    _apply(plane, namespace, _parse(_NULLS))
    spec = _read(plane, namespace, "licenses.kots.io/nulls")["spec"]
    assert {key: value for key, value in _parse(_NULLS)["spec"].items() if value is not None} == spec


def test_applications_come_back_unchanged(plane: ControlPlane, namespace: str) -> None:
    """A vendor's Application applies as it is, whatever its list of namespaces says."""
    document = _parse(_APPLICATION)
    _apply(plane, namespace, document)
    assert _read(plane, namespace, "applications.kots.io/my-app")["spec"] == document["spec"]
    bare = {"apiVersion": "kots.io/v1beta1", "kind": "Application", "metadata": {"name": "bare"}}
    assert "created" in _apply(plane, namespace, bare)


_HOST = "must be a host with an optional port, in lower case, without scheme and path"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"appSlug": None}, ["spec.appSlug: Required value"]),
        ({"licenseID": None}, ["spec.licenseID: Required value"]),
        ({"licenseID": ""}, ["spec.licenseID", "must not be empty", "vendor portal"]),
        ({"licenseID": 12345}, ["spec.licenseID", "must be of type string"]),
        ({"appSlug": ""}, ["spec.appSlug", "must be an application slug"]),
        ({"appSlug": "My App"}, ["spec.appSlug", "My App", "must be an application slug", "my-app"]),
        ({"appSlug": "../escape"}, ["spec.appSlug", "must be an application slug"]),
        ({"replicatedProxyDomain": "https://images.acme.example"}, ["spec.replicatedProxyDomain", _HOST]),
        ({"replicatedProxyDomain": "images.acme.example/path"}, ["spec.replicatedProxyDomain", _HOST]),
        ({"channels": [{}, {"replicatedProxyDomain": "a b"}]}, ["spec.channels[1].replicatedProxyDomain", _HOST]),
        ({"entitlements": []}, ["spec.entitlements", "must be of type object"]),
    ],
)
def test_a_wrong_license_is_refused_in_plain_words(
    plane: ControlPlane, namespace: str, spec: Json, words: list[str]
) -> None:
    """`kubectl apply` names the field and the remedy, and never shows the license ID."""
    document = _parse(_SMALL)
    document["spec"] = {key: value for key, value in (document["spec"] | spec).items() if value is not None}
    refusal = _refusal(plane, namespace, document)
    assert all(word in refusal for word in words), refusal
    assert _ID not in refusal


@pytest.mark.parametrize("field", ["proxyRegistryDomain", "replicatedRegistryDomain"])
def test_a_wrong_domain_of_an_application_is_refused_in_plain_words(
    plane: ControlPlane, namespace: str, field: str
) -> None:
    """`kubectl apply` names the field and says what a domain looks like."""
    document = _parse(_APPLICATION)
    document["spec"][field] = "https://images.acme.example/v2"
    refusal = _refusal(plane, namespace, document)
    assert f"spec.{field}" in refusal
    assert _HOST in refusal


@pytest.mark.parametrize(
    "text",
    [
        "proxy.replicated.com", "localhost", "localhost:5000", "10.0.0.1:443", "[2001:db8::1]", "[2001:db8::1]:5000",
        "a", "a-b.c", "xn--bcher-kva.example", "1.2", "Images.acme.example", "-a.example", "a-.example", "a..b", ".a",
        "a.", "a:", "a:b", "a_b", "http://a", "a/b", "a b", "a\n", "ä.example", "*.acme.example", "[::1", "user@host",
    ],
)  # fmt: skip
def test_domains_are_what_the_operator_takes_for_hosts(plane: ControlPlane, namespace: str, text: str) -> None:
    """The API server and the operator agree on what a host is."""
    document = _parse(_APPLICATION)
    document["spec"]["proxyRegistryDomain"] = text
    if is_registry_host(text):
        assert "created" in _apply(plane, namespace, document, "--dry-run=server")
    else:
        assert _HOST in _refusal(plane, namespace, document)


_LIMITS = [("additionalNamespaces", 10_000, 256), ("additionalImages", 1_000, 512), ("excludedImages", 1_000, 512)]


@pytest.mark.parametrize(("field", "items", "length"), _LIMITS)
def test_lists_of_an_application_end_somewhere(
    plane: ControlPlane, namespace: str, field: str, items: int, length: int
) -> None:
    """One Application cannot fill the table that all share; `kubectl` names the field and the limit."""
    document = _parse(_APPLICATION)
    full = [*(f"{number:0{length}}" for number in range(50)), *map(str, range(items - 50))]

    document["spec"][field] = full
    assert "created" in _create(plane, namespace, document)
    document["spec"][field] = [*full, "one more"]
    assert all(word in _refusal(plane, namespace, document, _create) for word in (f"spec.{field}", f"at most {items}"))
    document["spec"][field] = ["short", "x" * (length + 1)]
    assert all(word in _refusal(plane, namespace, document) for word in (f"spec.{field}[1]", f"than {length}"))


_STATUS: Json = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Usable",
            "message": "the License is used",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "expiresAt": "2030-07-27T00:00:00Z",
    "secretName": "replicated-proxy-registry",
    "namespaces": {"desired": 4, "synced": 3, "failed": 1, "conflicting": 0, "pending": 2, "summary": "3/4"},
    "failures": [{"namespace": "workers", "reason": "Forbidden", "message": "exceeded quota"}],
}


def _patch_status(plane: ControlPlane, namespace: str, resource: str, status: Json) -> None:
    """Patch a status as the controller does."""
    patch = json.dumps({"status": status})
    arguments = (resource, "--namespace", namespace, "--subresource=status", "--type=merge", f"--patch={patch}")
    plane.kubectl("patch", *arguments)


def _columns(plane: ControlPlane, namespace: str, resource: str) -> dict[str, str]:
    """Return the row that kubectl prints for the only object, by column."""
    header, row = plane.kubectl("get", resource, "--namespace", namespace).splitlines()
    starts = [header.index(word) for word in header.split()] + [None]
    return {word: row[start:end].strip() for word, start, end in zip(header.split(), starts, starts[1:], strict=False)}


def test_licenses_print_what_matters(plane: ControlPlane, namespace: str) -> None:
    """`kubectl get` shows application, customer, type, expiry, readiness and coverage."""
    _apply(plane, namespace, _parse(_FULL))
    _patch_status(plane, namespace, "licenses.kots.io/acmecorp", _STATUS)
    shown = _columns(plane, namespace, "licenses.kots.io")
    assert shown.pop("AGE")
    assert shown == {
        "NAME": "acmecorp",
        "APP": "my-kots-app",
        "CUSTOMER": "ACME Corp.",
        "TYPE": "prod",
        "EXPIRES": "2030-07-27T00:00:00Z",
        "READY": "True",
        "NAMESPACES": "3/4",
    }
    assert _read(plane, namespace, "licenses.kots.io/acmecorp")["status"] == _STATUS


def test_applications_print_what_matters(plane: ControlPlane, namespace: str) -> None:
    """`kubectl get` shows the namespaces that an Application names, and its readiness."""
    _apply(plane, namespace, _parse(_APPLICATION))
    status = {"namespaces": "workers, *", "conditions": _STATUS["conditions"], "observedGeneration": 1}
    _patch_status(plane, namespace, "applications.kots.io/my-app", status)
    shown = _columns(plane, namespace, "applications.kots.io")
    assert shown.pop("AGE")
    assert shown == {"NAME": "my-app", "NAMESPACES": "workers, *", "READY": "True"}


def test_status_is_written_apart(plane: ControlPlane, namespace: str) -> None:
    """Applying a file with a status changes none, and a status patch leaves the generation alone."""
    _apply(plane, namespace, _parse(_FULL) | {"status": _STATUS})
    assert "status" not in _read(plane, namespace, "licenses.kots.io/acmecorp")
    _patch_status(plane, namespace, "licenses.kots.io/acmecorp", _STATUS)
    _patch_status(plane, namespace, "licenses.kots.io/acmecorp", {"expiresAt": None})
    found = _read(plane, namespace, "licenses.kots.io/acmecorp")
    assert "expiresAt" not in found["status"]
    assert found["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("differs", "words"),
    [
        ({"failures": _STATUS["failures"] * 21}, ["status.failures", "20"]),
        ({"namespaces": {"desired": "many"}}, ["status.namespaces.desired", "integer"]),
        ({"namespaces": {"synced": -1}}, ["status.namespaces.synced", "greater than or equal to 0"]),
        ({"expiresAt": "soon"}, ["status.expiresAt", "date-time"]),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, ["status.conditions[0].reason", "Required"]),
        ({"failures": [{"namespace": "workers"}]}, ["status.failures[0].reason", "Required"]),
        ({"conditions": [{"type": "Ready", "status": "Maybe"}]}, ["status.conditions[0].status", "Unknown"]),
        ({"conditions": _STATUS["conditions"] * 2}, ["status.conditions[1]", "Duplicate value"]),
    ],
)
def test_status_is_typed(plane: ControlPlane, namespace: str, differs: Json, words: list[str]) -> None:
    """A status that would mislead readers is refused."""
    _apply(plane, namespace, _parse(_FULL))
    with pytest.raises(RigError) as refused:
        _patch_status(plane, namespace, "licenses.kots.io/acmecorp", copy.deepcopy(_STATUS) | differs)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_ordinary_roles_reach_neither(plane: ControlPlane, namespace: str, role: str) -> None:
    """The definitions are not aggregated: who may edit a namespace may not, for that, read or hand out Licenses."""
    user = f"tenant-{secrets.token_hex(4)}"
    plane.kubectl("create", "rolebinding", user, "--namespace", namespace, f"--clusterrole={role}", f"--user={user}")
    _apply(plane, namespace, _parse(_SMALL))
    for resource in _NAMES:
        with pytest.raises(RigError, match="Forbidden"):
            plane.kubectl("get", resource, "--namespace", namespace, f"--as={user}")
