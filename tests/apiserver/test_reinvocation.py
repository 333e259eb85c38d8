"""Another webhook that is called after ours, as a process of its own: what it adds is seen to, and nothing twice.

The API server runs the whole chain one more time when a webhook changed something, and asks ours again only if
something changed after it. Two rounds are all there is.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from admitting import (
    ANNOTATION,
    IMAGE,
    PROXY,
    REWRITE_EVERYTHING,
    Admission,
    Seen,
    a_pod,
    an_admission,
    mutations_of,
)
from operating import SECRET, Cluster, Json, a_license, an_application
from rig.ports import free_port
from rig.processes import Process
from rig.waiting import port_answers, wait_until
from second_webhook import OVERWRITTEN, SIDECAR, WAYS

pytestmark = pytest.mark.apiserver

SCRIPT: Final = Path(__file__).parent.parent / "second_webhook.py"
PLAIN: Final = "app"
ONCE, AGAIN = [("round_0", True)], [("round_0", True), ("round_1", True)]


def prepare(cluster: Cluster) -> None:
    """Make a namespace for each way of the other webhook, all of them the application's."""
    for name in (PLAIN, *WAYS):
        cluster.kubectl("create", "namespace", name)
    cluster.apply(a_license(PLAIN), an_application(PLAIN, *WAYS))


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """Ours, and after it by the order of names the other one, each of its ways in a namespace of that name."""
    folder = tmp_path_factory.mktemp("roles")
    with an_admission(folder, REWRITE_EVERYTHING, prepare) as admission:
        plane, port = admission.cluster.plane, free_port()
        pair = plane.authority.server("second-webhook", ["localhost"])
        command = [sys.executable, str(SCRIPT), str(port), str(pair.certificate), str(pair.key)]
        other = Process("second-webhook", command, log=folder / "second-webhook.log")
        other.start()
        try:
            other.wait_ready(lambda: port_answers("127.0.0.1", port), what="listening", seconds=30)
            admission.cluster.apply(a_registration(port, plane.certificate_authority.read_bytes()))
            admission.await_told(a_pod(PLAIN), license="my-app")
            wait_until(
                lambda: len(admission.consider(a_pod("sidecar")).images) == 2, what="the other webhook", seconds=30
            )
            yield admission
        finally:
            other.stop()


def a_registration(port: int, authority: bytes) -> Json:
    """Write the registration of the other webhook; its name comes after ours, and so does its turn."""
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zz-second-webhook"},
        "webhooks": [
            {
                "name": f"{way}.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never" if way == "overwrite" else "IfNeeded",
                "clientConfig": {
                    "url": f"https://localhost:{port}/{way}",
                    "caBundle": base64.b64encode(authority).decode(),
                },
                "rules": [pods],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": way}},
            }
            for way in WAYS
        ],
    }


def originals(seen: Seen) -> Json:
    """Return the record of original names."""
    found: Json = json.loads(seen.pod["metadata"]["annotations"][ANNOTATION])
    return found


def test_nobody_after_us_means_one_question(admission: Admission) -> None:
    """Where nothing changes the Pod after us, we are asked once."""
    assert mutations_of(admission.create(a_pod(PLAIN)).audit) == ONCE


def test_sidecar_injected_after_us_is_rewritten(admission: Admission) -> None:
    """A container that another webhook appends has its image rewritten and recorded in the second round."""
    seen = admission.create(a_pod("sidecar"))

    assert seen.images == {"containers/c0": f"{PROXY}/{IMAGE}", "containers/agent": f"{PROXY}/{SIDECAR}"}
    assert originals(seen) == {"containers/c0": IMAGE, "containers/agent": SIDECAR}
    assert seen.secrets == [SECRET]
    assert mutations_of(seen.audit) == AGAIN


def test_sidecar_alone_brings_the_pull_secret(admission: Admission) -> None:
    """A Pod that needed nothing of us in the first round gets image, secret and record in the second."""
    seen = admission.create(a_pod("sidecar", "localhost/own", metadata={"name": "bare"}))

    assert seen.images == {"containers/c0": "localhost/own", "containers/agent": f"{PROXY}/{SIDECAR}"}
    assert (originals(seen), seen.secrets) == ({"containers/agent": SIDECAR}, [SECRET])
    assert seen.outcomes == {"containers/c0": "local-host"}  # The second answer has the same keys.


def test_shifted_positions_confuse_nobody(admission: Admission) -> None:
    """An init container that is put before ours: each image is rewritten where it stands now, none twice."""
    seen = admission.create(a_pod("first", initContainers=[{"name": "migrate", "image": "migrate"}]))

    assert [item["name"] for item in seen.pod["spec"]["initContainers"]] == ["first", "migrate"]
    assert seen.images == {
        "containers/c0": f"{PROXY}/{IMAGE}",
        "initContainers/first": f"{PROXY}/{SIDECAR}",
        "initContainers/migrate": f"{PROXY}/migrate",
    }


def test_irrelevant_change_after_us_changes_nothing_of_ours(admission: Admission) -> None:
    """Asked again because of something else, we find our own output and leave it as it is."""
    seen = admission.create(a_pod("touch"))

    assert seen.pod["spec"]["terminationGracePeriodSeconds"] == 7
    assert (seen.images, seen.secrets) == ({"containers/c0": f"{PROXY}/{IMAGE}"}, [SECRET])
    assert originals(seen) == {"containers/c0": IMAGE}
    assert mutations_of(seen.audit) == [("round_0", True), ("round_1", False)]


def test_webhook_that_grows_pods_ends_after_two_rounds(admission: Admission) -> None:
    """One that is not idempotent is asked twice: what it added last nobody sees any more; the Pod is valid."""
    seen = admission.create(a_pod("grow"))

    assert seen.images == {
        "containers/c0": f"{PROXY}/{IMAGE}",
        "containers/extra1": f"{PROXY}/{SIDECAR}",
        "containers/extra2": SIDECAR,
    }
    assert (seen.secrets, mutations_of(seen.audit)) == ([SECRET], AGAIN)


def test_image_and_secrets_that_are_overwritten_after_us_are_seen_to_again(admission: Admission) -> None:
    """Decisions come from images, not from a marker: a replaced image and a replaced list get what they need."""
    seen = admission.create(a_pod("overwrite", "auto", IMAGE, metadata={"name": "overwritten"}))

    assert seen.images == {"containers/c0": f"{PROXY}/{OVERWRITTEN}", "containers/c1": f"{PROXY}/{IMAGE}"}
    assert seen.secrets == ["of-the-other", SECRET]
    assert originals(seen) == {"containers/c0": OVERWRITTEN, "containers/c1": IMAGE}


def test_audit_log_tells_of_both_rounds(admission: Admission) -> None:
    """The second answer has keys of its own: of two answers to one request the API server keeps the first word."""
    told = admission.create(a_pod("sidecar", metadata={"name": "audited"})).told

    assert (told["license"], told["images"]) == ("my-app", "containers/c0=rewritten")
    assert told["license-again"] == "my-app"
    assert told["images-again"] == "containers/c0=already-proxied; containers/agent=rewritten"
