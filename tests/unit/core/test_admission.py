"""From a Pod to the answer: which operations, which warnings, which audit annotations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builders import CUSTOM_HOSTS, SECRET_NAME, a_pod, a_route, a_slot, a_table, ids
from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.pods import Carrier, Pod
from replicated_proxy.core.reasons import Reason
from replicated_proxy.core.rewriting import Mode, RewritePolicy
from replicated_proxy.core.routes import RoutingTable

P = "proxy.replicated.com/proxy/my-app"
ANNOTATION = "proxy.kots.io/original-images"
ANNOTATION_PATH = "/metadata/annotations/proxy.kots.io~1original-images"
ENTRY = {"name": SECRET_NAME}


def review(pod: Pod, table: RoutingTable | None = None, policy: RewritePolicy | None = None, **differs: Any) -> Verdict:
    """Review a Pod in the namespace `app`, which is the License's own."""
    return review_pod(PodReview("app", pod, **differs), table or a_table(), policy or RewritePolicy())


def operations(verdict: Verdict, prefix: str) -> list[tuple[str, str, object]]:
    """Return the operations below a path."""
    return [(one["op"], one["path"], one["value"]) for one in verdict.patch if one["path"].startswith(prefix)]


def originals(verdict: Verdict) -> object:
    """Return the map that the annotation is to hold."""
    (operation,) = [one for one in verdict.patch if one["path"].startswith("/metadata")]
    value = operation["value"]
    text = value[ANNOTATION] if isinstance(value, dict) else value
    assert isinstance(text, str)
    return json.loads(text)


def test_whole_answer_for_a_plain_pod() -> None:
    """A Pod with nothing but a container gets its image, a new pull-secret list and new annotations."""
    verdict = review(a_pod("quay.io/acme/api:1"))

    expected = [
        {"op": "replace", "path": "/spec/containers/0/image", "value": f"{P}/quay.io/acme/api:1"},
        {"op": "add", "path": "/spec/imagePullSecrets", "value": [ENTRY]},
        {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: '{"containers/c0":"quay.io/acme/api:1"}'}},
    ]

    assert expected == list(verdict.patch)


CARRIERS = [
    (Carrier.CONTAINERS, "/spec/containers/3/image", "containers/x"),
    (Carrier.INIT_CONTAINERS, "/spec/initContainers/3/image", "initContainers/x"),
    (Carrier.VOLUMES, "/spec/volumes/3/image/reference", "volumes/x"),
]


@pytest.mark.parametrize(("carrier", "path", "key"), CARRIERS, ids=ids(CARRIERS))
def test_every_carrier_is_patched_in_its_place(carrier: Carrier, path: str, key: str) -> None:
    """Containers, init containers and image volumes are replaced where they stand, and recorded by name."""
    verdict = review(a_pod(a_slot("nginx", carrier, index=3, name="x")))

    assert ([("replace", path, f"{P}/nginx")], {key: "nginx"}) == (
        operations(verdict, "/spec/" + carrier),
        originals(verdict),
    )


def test_all_carriers_of_one_pod_are_patched_at_once() -> None:
    """One review rewrites every image of a Pod."""
    verdict = review(a_pod(*(a_slot("nginx", carrier, name="x") for carrier, _, _ in CARRIERS)))
    expected = {"containers/x": "nginx", "initContainers/x": "nginx", "volumes/x": "nginx"}

    assert expected == originals(verdict)


def test_untouched_image_is_neither_patched_nor_recorded() -> None:
    """Beside a rewritten image an untouched one leaves no trace."""
    verdict = review(a_pod("auto", "nginx"))
    expected = (["/spec/containers/1/image"], {"containers/c1": "nginx"})

    assert expected == (
        [path for _, path, _ in operations(verdict, "/spec/containers")],
        originals(verdict),
    )


def test_ephemeral_container_of_a_new_pod_is_not_looked_at() -> None:
    """The API server refuses Pods created with ephemeral containers, so nothing is decided for them."""
    verdict = review(a_pod(a_slot("nginx", Carrier.EPHEMERAL_CONTAINERS)))
    expected = ((), ())

    assert expected == (verdict.patch, verdict.decisions)


PULL_SECRETS: list[tuple[str, tuple[str, ...] | None, list[tuple[str, str, object]]]] = [
    ("absent", None, [("add", "/spec/imagePullSecrets", [ENTRY])]),
    ("empty", (), [("add", "/spec/imagePullSecrets/-", ENTRY)]),
    ("others", ("one", "two"), [("add", "/spec/imagePullSecrets/-", ENTRY)]),
    ("ours", (SECRET_NAME,), []),
    ("ours among others", ("one", SECRET_NAME, "two"), []),
    ("similar name", (SECRET_NAME + "2",), [("add", "/spec/imagePullSecrets/-", ENTRY)]),
]


@pytest.mark.parametrize(("present", "expected"), [row[1:] for row in PULL_SECRETS], ids=ids(PULL_SECRETS))
def test_pull_secret_is_appended_once(present: tuple[str, ...] | None, expected: list[tuple[str, str, object]]) -> None:
    """The list is made if absent and appended to otherwise, never replaced, and never gets our name twice."""
    verdict = review(a_pod("nginx", pull_secrets=present))

    assert expected == operations(verdict, "/spec/imagePullSecrets")


NEED: list[tuple[str, bool]] = [
    ("nginx", True),
    (f"{P}/nginx", True),
    ("registry.replicated.com/my-app/api", True),
    ("proxy.replicated.com/anonymous/nginx", False),
    ("proxy.replicated.com/library/replicated-sdk-image:1", False),
    ("reg.example.com:5000/api", False),
    ("auto", False),
]


@pytest.mark.parametrize(("image", "needed"), NEED, ids=ids(NEED))
def test_pull_secret_is_added_where_an_image_needs_the_license(image: str, needed: bool) -> None:
    """Rewritten images and Replicated's own need it; what is pulled without a license does not."""
    verdict = review(a_pod(image))

    assert needed == bool(operations(verdict, "/spec/imagePullSecrets"))


def test_image_that_already_stands_at_the_proxy_gets_only_the_secret() -> None:
    """A Pod that names the proxy itself keeps its image and gets no annotation."""
    verdict = review(a_pod(f"{P}/nginx"))
    expected = [("add", "/spec/imagePullSecrets", [ENTRY])]

    assert expected == operations(verdict, "")


def test_swapped_registry_is_recorded_and_gets_the_secret() -> None:
    """An image whose registry host was swapped is treated as a rewritten one."""
    verdict = review(a_pod("registry.replicated.com/my-app/api:1"), a_table(a_route(hosts=CUSTOM_HOSTS)))

    expected = ["/spec/containers/0/image", "/spec/imagePullSecrets", "/metadata/annotations"]

    assert expected == [one["path"] for one in verdict.patch]


MINE = {"containers/c0": "nginx"}
EARLIER: list[tuple[str, str, object]] = [
    ("no map yet", "", MINE),
    ("other slots", '{"containers/other":"redis"}', {"containers/other": "redis"} | MINE),
    ("same slot", '{"containers/c0":"old"}', MINE),
    ("empty map", "{}", MINE),
    ("no JSON", "{nginx", MINE),
    ("no map", '["nginx"]', MINE),
    ("null", "null", MINE),
    ("other values", '{"containers/other":1}', MINE),
    ("nested map", '{"containers/other":{"image":"x"}}', MINE),
    ("too deep", "[" * 100_000, MINE),
    ("too large a number", '{"a":' + "1" * 5_000 + "}", MINE),
    ("unpaired surrogate", r'{"containers/other":"\ud800"}', None),
    ("unpaired surrogate as key", r'{"\udfff":"redis"}', None),
]


@pytest.mark.parametrize(("earlier", "expected"), [row[1:] for row in EARLIER], ids=ids(EARLIER))
def test_earlier_map_is_merged_and_garbage_is_replaced(earlier: str, expected: dict[str, str] | None) -> None:
    """A map of text to text is added to; whatever else stands there gives way and never fails a review."""
    annotations = {ANNOTATION: earlier} if earlier else {"other": "text"}
    verdict = review(a_pod("nginx", annotations=annotations))

    (operation,) = operations(verdict, "/metadata")
    found = originals(verdict)

    assert operation[:2] == ("add", ANNOTATION_PATH)
    assert isinstance(found, dict)
    assert (expected or found | MINE) == found


def test_annotations_that_are_there_are_added_to() -> None:
    """Other annotations stay: only one member is added."""
    verdict = review(a_pod("nginx", annotations={}))
    expected = [("add", ANNOTATION_PATH, '{"containers/c0":"nginx"}')]

    assert expected == operations(verdict, "/metadata")


OURS = len(ANNOTATION) + len('{"containers/c0":"nginx"}')
ROOM = 256 * 1024 - OURS - len("filler")
SIZES = [
    ("exactly full", "x" * ROOM, True),
    ("one too many", "x" * (ROOM + 1), False),
    ("counted in bytes", "é" * (ROOM // 2 + 1), False),
]


@pytest.mark.parametrize(("filler", "fits"), [row[1:] for row in SIZES], ids=ids(SIZES))
def test_annotation_is_left_out_when_annotations_would_exceed_their_limit(filler: str, fits: bool) -> None:
    """At 256 KiB the image is still rewritten, and a warning says that the record is missing."""
    verdict = review(a_pod("nginx", annotations={"filler": filler}))

    assert f"{P}/nginx" == verdict.decisions[0].image
    assert (fits, not fits) == (bool(operations(verdict, "/metadata")), "256 KiB" in "".join(verdict.warnings))


def test_missing_record_is_told_beside_many_other_warnings() -> None:
    """The warning about the annotation is not crowded out by those about images."""
    images = [f"reg{number}.example.com:5000/x" for number in range(9)]
    verdict = review(a_pod("nginx", *images, annotations={"filler": "x" * 256 * 1024}))
    expected = (5, True)

    assert expected == (len(verdict.warnings), "256 KiB" in "".join(verdict.warnings))


def an_ephemeral_review(*images: str, known: tuple[str, ...] = (), **differs: Any) -> Verdict:
    """Review an update of `pods/ephemeralcontainers` in a Pod that has a container and the pull secret."""
    slots = [
        a_slot(image, Carrier.EPHEMERAL_CONTAINERS, index=index, name=f"e{index}") for index, image in enumerate(images)
    ]
    pod = a_pod("redis", *slots, **({"pull_secrets": (SECRET_NAME,)} | differs))
    return review(pod, ephemeral=True, known_ephemeral=frozenset(known))


def test_only_new_ephemeral_containers_are_rewritten() -> None:
    """Containers and ephemeral containers that are there already cannot change, so they are not looked at."""
    verdict = an_ephemeral_review("nginx", "busybox", known=("e0",))

    assert [("replace", "/spec/ephemeralContainers/1/image", f"{P}/busybox")] == operations(verdict, "")


def test_ephemeral_container_gets_no_annotation() -> None:
    """On this subresource the API server drops everything but the containers, so only image strings change."""
    verdict = an_ephemeral_review("nginx", annotations={ANNOTATION: '{"containers/c0":"redis"}'})
    expected = ["/spec/ephemeralContainers/0/image"]

    assert expected == [one["path"] for one in verdict.patch]


WITHOUT_SECRET: list[tuple[str, tuple[str, ...] | None]] = [("absent", None), ("empty", ()), ("others", ("one",))]


@pytest.mark.parametrize("present", [row[1] for row in WITHOUT_SECRET], ids=ids(WITHOUT_SECRET))
def test_ephemeral_container_of_a_pod_without_the_secret_stays(present: tuple[str, ...] | None) -> None:
    """It could not be pulled through the proxy, so it stays and the user is told."""
    verdict = an_ephemeral_review("nginx", pull_secrets=present)
    expected = ((), Reason.NO_PULL_SECRET)

    assert expected == (verdict.patch, verdict.decisions[0].reason)
    assert ["no-pull-secret" in text for text in verdict.warnings] == [True]


def test_unproxied_ephemeral_container_needs_no_secret() -> None:
    """An ephemeral container that stays anyway is no reason for a warning about the secret."""
    verdict = an_ephemeral_review("auto", pull_secrets=None)
    expected = ((), Reason.PLACEHOLDER)

    assert expected == (verdict.warnings, verdict.decisions[0].reason)


KEPT_OUT: list[tuple[str, Pod, dict[str, Any]]] = [
    ("mirror Pod", a_pod("nginx", annotations={"kubernetes.io/config.mirror": ""}), {}),
    ("of a node", a_pod("nginx"), {"groups": ("system:authenticated", "system:nodes")}),
]


@pytest.mark.parametrize(("pod", "differs"), [row[1:] for row in KEPT_OUT], ids=ids(KEPT_OUT))
def test_pod_of_a_node_is_never_touched(pod: Pod, differs: dict[str, Any]) -> None:
    """Mirror Pods and whatever a kubelet creates are left alone even if the cluster sends them."""
    verdict = review(pod, **differs)
    expected = ((), Reason.MIRROR_POD, ())

    assert expected == (verdict.patch, verdict.reason, verdict.warnings)


def test_pod_of_a_similar_group_is_reviewed() -> None:
    """Only the group of the nodes itself counts."""
    verdict = review(a_pod("nginx"), groups=("system:nodes:readers",))

    assert verdict.reason is None


WHOLE_PODS: list[tuple[Reason, RoutingTable, int]] = [
    (Reason.NO_LICENSE, a_table(a_route(namespace="elsewhere")), 0),
    (Reason.OPTED_OUT, a_table(unrewritten=frozenset({"app"})), 0),
    (Reason.LICENSE_EXPIRED, a_table(a_route(expired=True)), 1),
    (Reason.AMBIGUOUS_LICENSE, a_table(a_route("one"), a_route("two")), 1),
    (Reason.SECRET_CONFLICT, a_table(conflicts=frozenset({"app"})), 1),
]


@pytest.mark.parametrize(("reason", "table", "warnings"), WHOLE_PODS, ids=ids(WHOLE_PODS))
def test_pod_without_a_deciding_license_stays(reason: Reason, table: RoutingTable, warnings: int) -> None:
    """No patch; the user is warned where rewriting was to be expected, and the audit log has the reason."""
    verdict = review(a_pod("nginx"), table)

    assert ((), reason, warnings, {"reason": reason}) == (
        verdict.patch,
        verdict.reason,
        len(verdict.warnings),
        verdict.audit,
    )


def test_mode_off_is_silent() -> None:
    """With mode `off` nothing is rewritten and nobody is warned."""
    verdict = review(a_pod("reg.example.com:5000/x"), policy=RewritePolicy(mode=Mode.OFF))
    expected = ((), Reason.MODE_OFF, ())

    assert expected == (verdict.patch, verdict.reason, verdict.warnings)
