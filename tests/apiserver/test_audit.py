"""What people are told, with the registration as shipped: kubectl's warnings and the API server's audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from admitting import (
    IMAGE,
    PROXY,
    REWRITE_EVERYTHING,
    Admission,
    a_pod,
    an_admission,
    mutations_of,
    run_kubectl,
    warnings_of,
)
from auditing import audited
from operating import SECRET, Cluster, Json, a_license, an_application
from replicated_proxy.settings.model import RewriteSettings

pytestmark = pytest.mark.apiserver

HOME, ENDED, ELSEWHERE = "app", "ended", "elsewhere"
PAST: Final[Json] = {"expires_at": {"title": "Expiration", "value": "2024-01-01T00:00:00Z", "valueType": "String"}}
UNPROXIABLE: Final = "reg.example.com:5000/api:v1"


def prepare(cluster: Cluster) -> None:
    """Make a namespace with a good License, one whose License has expired and is retained, and one with none."""
    for name in (HOME, ENDED, ELSEWHERE):
        cluster.kubectl("create", "namespace", name)
    cluster.apply(a_license(HOME), an_application(HOME))
    cluster.apply(a_license(ENDED, appSlug="ended", entitlements=PAST))


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """Both roles, once both Licenses are in the table."""
    with an_admission(tmp_path_factory.mktemp("roles"), REWRITE_EVERYTHING, prepare) as admission:
        for namespace, application in ((HOME, "my-app"), (ENDED, "ended")):
            admission.await_told(a_pod(namespace), license=application)
        yield admission


def test_kubectl_run_says_what_was_not_done(admission: Admission) -> None:
    """Who runs an image that cannot be proxied reads which one and why, below the usual answer."""
    done = run_kubectl(admission.cluster, "run", "refused", "-n", HOME, "--image", UNPROXIABLE)

    assert done.stdout == "pod/refused created\n"
    assert done.stderr == f"Warning: containers/refused: cannot go through the proxy (port): {UNPROXIABLE}\n"


def test_kubectl_apply_says_what_was_not_done(admission: Admission) -> None:
    """Likewise with `kubectl apply`, and only for the image that it is about."""
    pod = json.dumps(a_pod(HOME, IMAGE, UNPROXIABLE, metadata={"name": "applied"}))
    done = run_kubectl(admission.cluster, "apply", "-f", "-", given=pod)

    assert warnings_of(done) == [f"containers/c1: cannot go through the proxy (port): {UNPROXIABLE}"]


def test_kubectl_run_is_silent_where_all_is_well(admission: Admission) -> None:
    """A rewritten image, one that stays on purpose, and a namespace of nobody's are no reason for a warning."""
    for name, namespace, image in (
        ("well", HOME, IMAGE),
        ("intended", HOME, "localhost/api"),
        ("nobody-s", ELSEWHERE, UNPROXIABLE),
    ):
        assert run_kubectl(admission.cluster, "run", name, "-n", namespace, "--image", image).stderr == ""


def test_kubectl_run_says_that_the_license_has_expired(admission: Admission) -> None:
    """A retained License goes on rewriting, and whoever relies on it reads that pulls may fail."""
    done = run_kubectl(admission.cluster, "run", "late", "-n", ENDED, "--image", IMAGE)
    image = admission.cluster.get("pod", "late", "-n", ENDED)["spec"]["containers"][0]["image"]

    assert warnings_of(done) == ["the Replicated license of ended has expired: pulls may fail"]
    assert image == f"proxy.replicated.com/proxy/ended/{IMAGE}"


def test_audit_log_says_which_license_decided_and_what(admission: Admission) -> None:
    """License, outcome of each image, and nothing else of ours; no license ID anywhere in the log."""
    seen = admission.create(a_pod(HOME, IMAGE, "auto", metadata={"name": "audited"}))

    assert seen.told == {"license": "my-app", "images": "containers/c0=rewritten; containers/c1=placeholder"}
    assert mutations_of(seen.audit) == [("round_0", True)]
    assert "planted-license-id" not in json.dumps(seen.audit)


def test_dry_run_is_audited_like_the_real_thing(admission: Admission) -> None:
    """A server-side dry run leaves the same words in the audit log, and the same warnings, and stores nothing."""
    pod = a_pod(HOME, IMAGE, UNPROXIABLE, metadata={"name": "twice"})
    before = admission.count("images_total", outcome="untouched", reason="port")
    tried = admission.create(pod, "--dry-run=server")

    assert admission.count("images_total", outcome="untouched", reason="port") == before
    assert not admission.cluster.exists("pod", "twice", "-n", HOME)

    admission.cluster.kubectl("create", "-f", "-", input=json.dumps(pod))
    _, real = audited(admission.cluster, "create", HOME, "twice")
    assert {key: text for key, text in real["annotations"].items() if "proxy.kots.io" in key} == {
        key: text for key, text in tried.audit.items() if "proxy.kots.io" in key
    }
    assert admission.count("images_total", outcome="untouched", reason="port") == before + 1


def add_debugger(admission: Admission, pod: str) -> tuple[str, list[str], Json]:
    """Add an ephemeral container as `kubectl debug` does; returns its image, the warnings and the audit annotations."""
    stored = admission.cluster.get("pod", pod, "-n", HOME)
    stored["spec"]["ephemeralContainers"] = [{"name": "debugger", "image": "docker.io/my-org/debug:v1"}]
    path = f"/api/v1/namespaces/{HOME}/pods/{pod}/ephemeralcontainers"
    done = run_kubectl(admission.cluster, "replace", "--raw", path, "-f", "-", given=json.dumps(stored))
    (image,) = (item["image"] for item in json.loads(done.stdout)["spec"]["ephemeralContainers"])
    (event,) = audited(admission.cluster, "update", HOME, pod, "ephemeralcontainers")
    return image, warnings_of(done), event["annotations"]


def test_debugger_of_a_pod_with_the_pull_secret_is_audited(admission: Admission) -> None:
    """An ephemeral container is rewritten, silently, and the audit log of that request says so."""
    admission.create(a_pod(HOME, metadata={"name": "debugged"}))
    image, warnings, audit = add_debugger(admission, "debugged")

    assert (image, warnings) == (f"{PROXY}/docker.io/my-org/debug:v1", [])
    assert audit["pods.proxy.kots.io/images"] == "ephemeralContainers/debugger=rewritten"


def test_debugger_of_a_pod_without_the_pull_secret_is_explained(admission: Admission) -> None:
    """It keeps its image; user and audit log get the reason."""
    admission.create(a_pod(HOME, "localhost/api", metadata={"name": "bare"}))
    image, warnings, audit = add_debugger(admission, "bare")

    assert image == "docker.io/my-org/debug:v1"
    assert warnings == [
        "ephemeralContainers/debugger: not proxied (no-pull-secret): the Pod has no pull secret to pull it with"
    ]
    assert audit["pods.proxy.kots.io/images"] == "ephemeralContainers/debugger=no-pull-secret"


NOT_ASKED: list[tuple[str, Json, tuple[str, ...]]] = [
    ("mirror Pod", {"annotations": {"kubernetes.io/config.mirror": "hash"}}, ()),
    (
        "Pod of a node",
        {"annotations": {"kubernetes.io/config.mirror": "hash"}},
        ("--as=system:node:a-node", "--as-group=system:nodes", "--as-group=system:authenticated"),
    ),
    ("label on the Pod", {"labels": {"proxy.kots.io/rewrite": "disabled"}}, ()),
]


@pytest.mark.parametrize(("metadata", "user"), [row[1:] for row in NOT_ASKED], ids=[row[0] for row in NOT_ASKED])
def test_registration_keeps_pods_out(admission: Admission, metadata: Json, user: tuple[str, ...]) -> None:
    """As shipped, the API server does not even ask about mirror Pods, Pods of nodes and those that opt out."""
    pod = a_pod(HOME, metadata=metadata, nodeName="a-node", automountServiceAccountToken=False)
    seen = admission.consider(pod, *user)

    assert (seen.images, seen.secrets) == ({"containers/c0": IMAGE}, [])
    assert (mutations_of(seen.audit), seen.told) == ([], {})


@pytest.mark.parametrize("owner", RewriteSettings().excluded_owners)
def test_pods_of_controllers_that_compare_images_stay(admission: Admission, owner: str) -> None:
    """Each controller of the shipped list finds its Pods as it wrote them, and the audit log says why."""
    kind, _, group = owner.partition(".")
    reference = {"apiVersion": f"{group}/v1", "kind": kind, "name": "main", "uid": "6f1e", "controller": True}
    seen = admission.consider(a_pod(HOME, metadata={"ownerReferences": [reference]}))

    assert (seen.images, seen.secrets, seen.warnings) == ({"containers/c0": IMAGE}, [], [])
    assert seen.told == {"reason": "opted-out"}


@pytest.mark.parametrize("entry", RewriteSettings().excluded_labels)
def test_pods_of_a_stateful_set_stay_where_their_label_names_such_a_controller(
    admission: Admission, entry: str
) -> None:
    """Some of those controllers make a StatefulSet, which then owns the Pods: they are known by a label."""
    key, _, value = entry.partition("=")
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "main", "uid": "6f1e", "controller": True}
    seen = admission.consider(a_pod(HOME, metadata={"ownerReferences": [reference], "labels": {key: value or "main"}}))

    assert (seen.images, seen.told) == ({"containers/c0": IMAGE}, {"reason": "opted-out"})


def test_pods_of_other_controllers_are_rewritten(admission: Admission) -> None:
    """The group belongs to the name: a kind of the same name elsewhere is another one."""
    reference = {"apiVersion": "cluster.x-k8s.io/v1", "kind": "Cluster", "name": "main", "uid": "6f1e"}
    seen = admission.consider(a_pod(HOME, metadata={"ownerReferences": [reference]}))

    assert (seen.images, seen.secrets) == ({"containers/c0": f"{PROXY}/{IMAGE}"}, [SECRET])
