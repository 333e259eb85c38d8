"""Each rule of admission on a real API server that sends everything: Pod, audit log and user are told the same.

The registration's selectors and conditions are taken away, so that the webhook itself has to leave alone what is not
its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from admitting import (
    ANNOTATION,
    IMAGE,
    PATIENT,
    PROXY,
    Admission,
    a_pod,
    an_admission,
    mutations_of,
    run_kubectl,
    warnings_of,
)
from auditing import audited
from builders import ids
from operating import SECRET, Cluster, Json, a_license, an_application, foreign_secret
from replicated_proxy.core.admission import WITHHELD
from replicated_proxy.core.reasons import Reason
from rig.roles import RELEASE

pytestmark = pytest.mark.apiserver

VALUES: Final[Json] = {
    "settings": {
        "rewrite": {"mode": "all", "exclude": ["quay.io/excluded"], "excludedOwners": ["Database.example.com"]},
        "license": {"onExpiry": "Revoke"},
    },
    "webhook": PATIENT,
}
HOME, SHOP, BOTH, WILD, TAKEN, ENDED = "app", "shop", "both", "wild", "taken", "ended"
UNREWRITTEN, UNSERVED = "unrewritten", "unserved"
PAST: Final[Json] = {"expires_at": {"title": "Expiration", "value": "2024-01-01T00:00:00Z", "valueType": "String"}}
DISABLED: Final = {"proxy.kots.io/rewrite": "disabled"}


def prepare(cluster: Cluster) -> None:
    """Make a namespace for each way of being covered, and let the API server send everything about Pods."""
    for name in (HOME, SHOP, BOTH, WILD, TAKEN, ENDED, UNREWRITTEN, UNSERVED):
        cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", UNREWRITTEN, "proxy.kots.io/rewrite=disabled")
    cluster.kubectl("label", "namespace", UNSERVED, "proxy.kots.io/sync=disabled")
    cluster.apply(foreign_secret(TAKEN))
    cluster.apply(a_license(HOME), an_application(HOME, "*", BOTH, TAKEN, UNREWRITTEN))
    domains = {"proxyRegistryDomain": "proxy.shop.example", "replicatedRegistryDomain": "registry.shop.example"}
    shop = an_application(SHOP, BOTH)
    cluster.apply(a_license(SHOP, appSlug="shop"), shop | {"spec": shop["spec"] | domains})
    cluster.apply(a_license(ENDED, appSlug="ended", entitlements=PAST))
    hook = cluster.get("mutatingwebhookconfiguration", RELEASE)["webhooks"][0]
    kept = [{"op": "remove", "path": f"/webhooks/0/{key}"} for key in ("namespaceSelector", "objectSelector")]
    kept += [{"op": "remove", "path": "/webhooks/0/matchConditions"}]
    rules = [rule | {"operations": ["CREATE", "UPDATE"]} for rule in hook["rules"]]
    patch = json.dumps([*kept, {"op": "replace", "path": "/webhooks/0/rules", "value": rules}])
    cluster.kubectl("patch", "mutatingwebhookconfiguration", RELEASE, "--type=json", "-p", patch)


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """Both roles, once every License is in the table."""
    with an_admission(tmp_path_factory.mktemp("roles"), VALUES, prepare) as admission:
        for namespace, told in (
            (HOME, {"license": "my-app"}),
            (SHOP, {"license": "shop"}),
            (ENDED, {"reason": "license-expired"}),
            (TAKEN, {"reason": "secret-conflict"}),
            (BOTH, {"reason": "ambiguous-license"}),
        ):
            admission.await_told(a_pod(namespace), **told)
        yield admission


def owned_by(kind: str, group: str) -> Json:
    """Write the metadata of a Pod that a controller owns."""
    owner = {"apiVersion": f"{group}/v1", "kind": kind, "name": "main", "uid": "6f1e", "controller": True}
    return {"ownerReferences": [owner]}


def as_node() -> tuple[str, ...]:
    """Return the arguments with which kubectl acts as a node, whose Pods are mirrors of what runs on it."""
    return ("--as=system:node:a-node", "--as-group=system:nodes", "--as-group=system:authenticated")


MIRROR: Final[Json] = {"annotations": {"kubernetes.io/config.mirror": "hash"}}
ON_NODE: Final[Json] = {"nodeName": "a-node", "automountServiceAccountToken": False}
PODS: list[tuple[str, Json, str, str]] = [
    ("mirror Pod", a_pod(HOME, metadata=MIRROR, **ON_NODE), "mirror-pod", ""),
    ("label on the Pod", a_pod(HOME, metadata={"labels": DISABLED}), "opted-out", ""),
    ("annotation on the Pod", a_pod(HOME, metadata={"annotations": DISABLED}), "opted-out", ""),
    ("label on the namespace", a_pod(UNREWRITTEN), "opted-out", ""),
    ("owner of the edited list", a_pod(HOME, metadata=owned_by("Database", "example.com")), "opted-out", ""),
    ("namespace of the system", a_pod("kube-system"), "no-license", ""),
    ("namespace without service", a_pod(UNSERVED), "no-license", ""),
    (
        "application without License",
        a_pod(HOME, metadata={"labels": {"proxy.kots.io/app": "other"}}),
        "no-license",
        "images were not proxied (no-license): no License here is of the application that proxy.kots.io/app names",
    ),
    (
        "expired License",
        a_pod(ENDED),
        "license-expired",
        "images were not proxied (license-expired): the Replicated license has expired; apply a renewed one",
    ),
    (
        "two Licenses",
        a_pod(BOTH),
        "ambiguous-license",
        f"images were not proxied (ambiguous-license): {WITHHELD[Reason.AMBIGUOUS_LICENSE]}",
    ),
    (
        "foreign pull secret",
        a_pod(TAKEN),
        "secret-conflict",
        "images were not proxied (secret-conflict): the namespace's pull secret is not the operator's",
    ),
]


@pytest.mark.parametrize(("pod", "reason", "warning"), [row[1:] for row in PODS], ids=ids(PODS))
def test_pod_is_left_alone_with_its_reason(admission: Admission, pod: Json, reason: str, warning: str) -> None:
    """Nothing of the Pod changes; the audit log says why, and the user is told where rewriting was to be expected."""
    seen = admission.consider(pod)

    assert (seen.images, seen.secrets) == ({"containers/c0": IMAGE}, [])
    assert seen.told == {"reason": reason}
    assert seen.warnings == ([warning] if warning else [])


def test_pod_that_a_node_creates_is_left_alone(admission: Admission) -> None:
    """Whatever a member of `system:nodes` creates is a mirror of what runs already."""
    seen = admission.consider(a_pod(HOME, metadata=MIRROR, **ON_NODE), *as_node())

    assert (seen.images, seen.secrets, seen.told) == ({"containers/c0": IMAGE}, [], {"reason": "mirror-pod"})


def test_edited_list_of_owners_takes_the_place_of_the_shipped_one(admission: Admission) -> None:
    """An owner that was taken off the list has its Pods rewritten."""
    seen = admission.consider(a_pod(HOME, metadata=owned_by("Cluster", "postgresql.cnpg.io")))

    assert seen.images == {"containers/c0": f"{PROXY}/{IMAGE}"}


LONG: Final = "quay.io/" + "a" * 240
IMAGES: list[tuple[str, str, str]] = [
    ("quay.io/my-org/api:v1", "rewritten", ""),
    ("auto", "placeholder", ""),
    ("Nginx", "invalid-reference", ""),
    ("sha256:" + "a" * 64, "image-id", ""),
    ("my_host.example.com/app", "no-domain", "cannot go through the proxy (no-domain): my_host.example.com/app"),
    ("[::1]/app", "ipv6-host", "cannot go through the proxy (ipv6-host): [::1]/app"),
    ("reg.example.com:5000/app", "port", "cannot go through the proxy (port): reg.example.com:5000/app"),
    ("Quay.io/app", "uppercase-host", "cannot go through the proxy (uppercase-host): Quay.io/app"),
    ("localhost/app", "local-host", ""),
    (f"{PROXY}/quay.io/my-org/api:v1", "already-proxied", ""),
    ("registry.replicated.com/my-app/api:v1", "replicated-registry", ""),
    ("quay.io/excluded/api:v1", "excluded", ""),
    (LONG, "too-long", f"cannot go through the proxy (too-long): {LONG}"),
]


@pytest.mark.parametrize(("image", "outcome", "warning"), IMAGES, ids=ids(IMAGES))
def test_image_has_its_outcome(admission: Admission, image: str, outcome: str, warning: str) -> None:
    """One image of the application's namespace: what it becomes, what the audit log calls it, what the user reads."""
    seen = admission.consider(a_pod(HOME, image))

    assert seen.images == {"containers/c0": f"{PROXY}/{image}" if outcome == "rewritten" else image}
    assert seen.told == {"license": "my-app", "images": f"containers/c0={outcome}"}
    assert [text.removesuffix("…") for text in seen.warnings] == (
        [f"containers/c0: {warning}"[:119]] if warning else []
    )


NEVER: list[tuple[str, Json, str]] = [
    ("containers", a_pod(HOME, {"name": "x", "image": IMAGE, "imagePullPolicy": "Never"}), "containers/x"),
    (
        "initContainers",
        a_pod(HOME, "auto", initContainers=[{"name": "x", "image": IMAGE, "imagePullPolicy": "Never"}]),
        "initContainers/x",
    ),
    (
        "volumes",
        a_pod(HOME, "auto", volumes=[{"name": "x", "image": {"reference": IMAGE, "pullPolicy": "Never"}}]),
        "volumes/x",
    ),
]


@pytest.mark.parametrize(("pod", "slot"), [row[1:] for row in NEVER], ids=ids(NEVER))
def test_image_that_is_never_pulled_stays(admission: Admission, pod: Json, slot: str) -> None:
    """Containers, init containers and image volumes with pull policy `Never` keep the name that is on the node."""
    seen = admission.consider(pod)

    assert (seen.images[slot], seen.outcomes[slot], seen.secrets) == (IMAGE, "pull-never", [])


def test_image_volume_is_rewritten_beside_other_volumes(admission: Admission) -> None:
    """An image volume gets its proxied name and the record of the old one, at its place in the list."""
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "model", "image": {"reference": "ghcr.io/my-org/model:v2"}}]
    seen = admission.consider(a_pod(HOME, "auto", volumes=volumes))

    assert seen.images == {"containers/c0": "auto", "volumes/model": f"{PROXY}/ghcr.io/my-org/model:v2"}
    assert seen.outcomes == {"containers/c0": "placeholder", "volumes/model": "rewritten"}
    assert json.loads(seen.pod["metadata"]["annotations"][ANNOTATION]) == {"volumes/model": "ghcr.io/my-org/model:v2"}
    assert seen.secrets == [SECRET]


def test_custom_registry_domain_takes_the_place_of_the_default(admission: Admission) -> None:
    """With custom domains images go behind the custom proxy, and Replicated's registry host is swapped."""
    seen = admission.consider(a_pod(SHOP, IMAGE, "registry.replicated.com/shop/api:v1"))

    assert seen.outcomes == {"containers/c0": "rewritten", "containers/c1": "registry-swapped"}
    assert seen.images == {
        "containers/c0": f"proxy.shop.example/proxy/shop/{IMAGE}",
        "containers/c1": "registry.shop.example/shop/api:v1",
    }


def test_image_that_nothing_claims_stays_under_the_wildcard(admission: Admission) -> None:
    """Where only `"*"` covers, an unclaimed image stays, is audited and bothers nobody with a warning."""
    seen = admission.consider(a_pod(WILD, IMAGE, "reg.example.com:5000/app"))

    assert seen.outcomes == {"containers/c0": "not-claimed", "containers/c1": "port"}
    assert (seen.secrets, seen.warnings) == ([], [])


def test_image_that_replicated_serves_gets_the_pull_secret(admission: Admission) -> None:
    """What stands at the proxy under `/proxy/`, or at Replicated's registry, is pulled with the license."""
    for image in (f"{PROXY}/{IMAGE}", "registry.replicated.com/my-app/api:v1"):
        assert admission.consider(a_pod(HOME, image)).secrets == [SECRET]
    assert admission.consider(a_pod(HOME, "proxy.replicated.com/library/replicated-sdk-image:1")).secrets == []


def test_words_of_the_audit_log_are_those_of_the_metrics(admission: Admission) -> None:
    """Each outcome and reason that the audit log names is counted under the same word."""
    seen = admission.create(a_pod(HOME, *(image for image, _, _ in IMAGES), metadata={"name": "counted"}))

    assert sorted(seen.outcomes.values()) == sorted(outcome for _, outcome, _ in IMAGES)
    assert admission.count("images_total", outcome="rewritten", reason="") == 1
    for reason in set(seen.outcomes.values()) - {"rewritten"}:
        assert admission.count("images_total", outcome="untouched", reason=reason) == 1

    left = admission.create(a_pod(ENDED, metadata={"name": "counted"}))
    assert admission.count("pods_left_alone_total", reason=left.told["reason"]) == 1


def test_warnings_are_counted_from_the_fifth_on(admission: Admission) -> None:
    """Nine images that cannot be proxied give five lines, none longer than clients are asked to show."""
    warnings = admission.consider(a_pod(HOME, *(f"reg{number}.example.com:5000/x" for number in range(9)))).warnings

    assert (len(warnings), warnings[-1]) == (5, "and 5 more images were not proxied")
    assert max(map(len, warnings)) <= 120


def test_update_of_a_pod_gets_no_patch(admission: Admission) -> None:
    """A registration that also sends updates of Pods changes none: finalizers go and labels come, images stay."""
    cluster = admission.cluster
    finalizer = {"name": "updated", "finalizers": ["example.com/wait"], "labels": DISABLED}
    admission.create(a_pod(HOME, metadata=finalizer))
    done = run_kubectl(cluster, "label", "pod", "updated", "-n", HOME, "proxy.kots.io/rewrite-", "seen=yes")
    cluster.kubectl("delete", "pod", "updated", "-n", HOME, "--wait=false", "--force", "--grace-period=0")
    assert cluster.get("pod", "updated", "-n", HOME)["spec"]["containers"][0]["image"] == IMAGE
    cluster.kubectl("patch", "pod", "updated", "-n", HOME, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    asked = [mutations_of(event.get("annotations", {})) for event in audited(cluster, "patch", HOME, "updated")]
    assert warnings_of(done) == []
    assert asked == [[("round_0", False)]] * 2
    assert not cluster.exists("pod", "updated", "-n", HOME)
