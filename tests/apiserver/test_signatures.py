"""Signed Licenses on a real API server: the signed copy counts, and `Enforce` keeps the last good state."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from operating import (
    DEFAULT_HOSTS,
    LICENSE_ID,
    Cluster,
    Json,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
    routes_of,
)
from rig.roles import RoleProcess
from rig.waiting import wait_until
from signing import MD5, SHA256, SigningKeys, sign_license

pytestmark = pytest.mark.apiserver
KEYS = SigningKeys.make()
Start = Callable[[Json], RoleProcess]


def settings(policy: str) -> Json:
    """Trust the test's own global key."""
    return {"settings": {"license": {"signature": policy, "trustedKeys": KEYS.trusted}}}


def signed(namespace: str, version: str = "v1beta1", **spec: object) -> Json:
    """Write a License as the vendor portal signs it."""
    body = a_license(namespace, signature="", customerName="Somebody", **spec)
    body["apiVersion"] = f"kots.io/{version}"
    return sign_license(body, KEYS, digests=MD5 if version == "v1beta1" else SHA256)


def edited(body: Json, **spec: object) -> Json:
    """Return a License with fields edited after signing."""
    return body | {"spec": body["spec"] | spec}


def damaged(body: Json) -> Json:
    """Return a License whose signed copy was changed."""
    outer = json.loads(base64.b64decode(body["spec"]["signature"]))
    data = base64.b64decode(outer["licenseData"]).replace(b"Somebody", b"Anybody!")
    outer["licenseData"] = base64.b64encode(data).decode()
    return edited(body, signature=base64.b64encode(json.dumps(outer).encode()).decode())


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_signed_copy_counts_whatever_was_edited(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces, version: str
) -> None:
    """An edited ID reaches no pull secret: the signed one does, and the status names the field but not its value."""
    running = start_controller(settings("Enforce"))
    [app] = namespaces.create("app")
    cluster.apply(signed(app, version))
    cluster.await_secret(app)
    verified = cluster.await_condition(app, "SignatureVerified", "Verified")
    cluster.apply(edited(signed(app, version), licenseID="an-edited-id", replicatedProxyDomain="evil.example.com"))
    modified = cluster.await_condition(app, "SignatureVerified", "ModifiedAfterSigning")
    shown = cluster.kubectl("describe", "licenses.kots.io", "my-app", "-n", app).partition("Status:")[2]

    assert (verified["status"], modified["status"]) == ("True", "True")
    assert "spec.licenseID" in modified["message"]
    assert "spec.replicatedProxyDomain" in modified["message"]
    assert content_of(cluster.secret(app)) == expected_content(*DEFAULT_HOSTS)
    assert "evil.example.com" not in routes_of(cluster)
    for planted in ("an-edited-id", LICENSE_ID):
        assert planted not in shown
        assert planted not in running.log.read_text(encoding="utf-8")


def test_enforce_keeps_the_last_good_state(cluster: Cluster, start_controller: Start, namespaces: Namespaces) -> None:
    """A signature that goes bad freezes the License, also over a restart; a good one lets the new ID through."""
    running = start_controller(settings("Enforce"))
    app, workers = namespaces.create("app", "workers")
    cluster.apply(signed(app), an_application(app, workers))
    before = cluster.await_secret(workers)
    cluster.apply(damaged(signed(app, licenseID="a-new-id")))
    refused = cluster.await_condition(app, "Ready", "SignatureNotAccepted")
    running.kill()
    cluster.kubectl("delete", "secret", "replicated-proxy-registry", "-n", app)
    running.start()
    cluster.await_condition(app, "Synced", "Held")
    frozen = cluster.secret(workers)
    cluster.apply(signed(app, licenseID="a-new-id"))
    cluster.await_condition(app, "Ready", "Usable")
    cluster.await_condition(app, "Synced", "AllSynced")

    assert "license.signature is Enforce" in refused["message"]
    assert (frozen["metadata"]["uid"], frozen["data"]) == (before["metadata"]["uid"], before["data"])
    for namespace in (app, workers):
        assert content_of(cluster.secret(namespace)) == expected_content(*DEFAULT_HOSTS, license_id="a-new-id")


def test_enforce_never_uses_an_unsigned_license(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """What was never good has no last good state; deleting a frozen one revokes."""
    start_controller(settings("Enforce"))
    app, other = namespaces.create("app", "other")
    cluster.apply(a_license(app), signed(other))
    cluster.await_secret(other)
    refused = cluster.await_condition(app, "Ready", "SignatureNotAccepted")
    unsigned = cluster.await_condition(app, "SignatureVerified", "Unsigned")
    cluster.apply(damaged(signed(other)))
    cluster.await_condition(other, "SignatureVerified", "SignatureInvalid")
    kept = cluster.secret(other)
    cluster.kubectl("delete", "license", "my-app", "-n", other)
    cluster.await_no_secret(other)

    assert (refused["status"], unsigned["status"]) == ("False", "False")
    assert cluster.secret(app) == {}
    assert kept


def test_enforce_ignores_hosts_that_nobody_signed(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """Credentials go to hosts of the settings and the signed copy only; the Application says so."""
    start_controller(settings("Enforce"))
    [app] = namespaces.create("app")
    application = an_application(app)
    application["spec"]["proxyRegistryDomain"] = "proxy.unsigned.example.com"
    cluster.apply(signed(app, replicatedProxyDomain="proxy.signed.example.com"), application)
    content = content_of(cluster.await_secret(app))
    # Seen before its License, it is not bound at first.
    wait_until(
        lambda: "no effect" in cluster.condition("applications.kots.io", app, "my-app", "Ready").get("message", ""),
        what="a status that says so",
        seconds=20,
    )

    assert "proxy.signed.example.com" in content
    assert "unsigned" not in content


def test_warn_uses_an_unsigned_license_and_says_so(
    cluster: Cluster, start_controller: Start, namespaces: Namespaces
) -> None:
    """The default: a License that cannot be verified works, and its status and an Event tell."""
    start_controller(settings("Warn"))
    app, damaged_one = namespaces.create("app", "damaged")
    cluster.apply(a_license(app), damaged(signed(damaged_one)))
    for namespace in (app, damaged_one):
        cluster.await_secret(namespace)
    unsigned = cluster.await_condition(app, "SignatureVerified", "Unsigned")
    invalid = cluster.await_condition(damaged_one, "SignatureVerified", "SignatureInvalid")
    wait_until(
        lambda: "SignatureInvalid" in {event["reason"] for event in cluster.events(damaged_one)},
        what="an Event",
        seconds=20,
    )

    assert {unsigned["status"], invalid["status"]} == {"False"}
    assert "used all the same" in unsigned["message"]
    assert cluster.condition("license", app, "my-app", "Ready")["reason"] == "Usable"


def test_key_that_nobody_trusts_is_named(cluster: Cluster, start_controller: Start, namespaces: Namespaces) -> None:
    """A license of another environment says under which key it was signed, and what to do."""
    start_controller({"settings": {"license": {"signature": "Enforce"}}})
    [app] = namespaces.create("app")
    cluster.apply(signed(app))
    unknown = cluster.await_condition(app, "SignatureVerified", "UnknownSigningKey")

    assert KEYS.global_key_id in unknown["message"]
    assert "trustedKeys" in unknown["message"]
