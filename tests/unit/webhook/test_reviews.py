"""AdmissionReview on the wire: what is read from it and what is written back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, read_pod
from replicated_proxy.core.admission import PodReview, Verdict
from replicated_proxy.core.json_patch import add, replace
from replicated_proxy.core.pods import Carrier, ImageSlot
from replicated_proxy.webhook.answers import encode_unchanged, encode_verdict
from replicated_proxy.webhook.reviews import MalformedReview, decode_review
from serving import a_pod_body, a_review, read_patch, read_response, to_bytes


def _review_of(review: Json) -> PodReview:
    """Return the core's review of one that is ours."""
    received = decode_review(to_bytes(review)).review
    assert received is not None
    return received


def test_request_is_read() -> None:
    """The fields of the request that are needed come through; the namespace is the request's."""
    body = to_bytes(a_review(namespace="of-request", name="main", dryRun=True))
    received = decode_review(body)
    assert (received.uid, received.dry_run) == ("a-uid", True)
    assert (received.namespace, received.name) == ("of-request", "main")
    assert received.review is not None
    assert received.review.namespace == "of-request"
    assert received.review.groups == ("system:authenticated",)
    assert not received.review.ephemeral


def test_every_carrier_is_read() -> None:
    """Containers, init containers, ephemeral containers and image volumes, each with its pull policy."""
    pod = a_pod_body(
        "a",
        initContainers=[{"name": "i", "image": "b", "imagePullPolicy": "Never"}],
        ephemeralContainers=[{"name": "e", "image": "c"}],
        volumes=[
            {"name": "scratch", "emptyDir": {}},
            {"name": "v", "image": {"reference": "d", "pullPolicy": "Never"}},
            {"name": "w", "image": {}},
        ],
    )
    assert _review_of(a_review(pod)).pod.slots == (
        ImageSlot(Carrier.CONTAINERS, 0, "c0", "a"),
        ImageSlot(Carrier.INIT_CONTAINERS, 0, "i", "b", pull_never=True),
        ImageSlot(Carrier.EPHEMERAL_CONTAINERS, 0, "e", "c"),
        ImageSlot(Carrier.VOLUMES, 1, "v", "d", pull_never=True),
        ImageSlot(Carrier.VOLUMES, 2, "w", ""),
    )


def test_metadata_and_owners_are_read() -> None:
    """Labels, annotations and owners come through; an owner is `Kind.group`, in the core group the kind alone."""
    metadata = {
        "labels": {"a": "b"},
        "annotations": {},
        "ownerReferences": [
            {"apiVersion": "operators.coreos.com/v1alpha1", "kind": "CatalogSource"},
            {"apiVersion": "v1", "kind": "ReplicationController"},
        ],
    }
    pod = _review_of(a_review(a_pod_body("nginx", metadata=metadata))).pod
    assert pod.labels == {"a": "b"}
    assert pod.annotations == {}
    assert pod.owners == ("CatalogSource.operators.coreos.com", "ReplicationController")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param({}, None, id="absent"),
        pytest.param({"imagePullSecrets": None}, None, id="null"),
        pytest.param({"imagePullSecrets": []}, (), id="empty"),
        pytest.param({"imagePullSecrets": [{"name": "b"}, {}, {"name": "a"}]}, ("b", "", "a"), id="in-order"),
    ],
)
def test_pull_secrets_keep_absence_and_order(written: Json, read: tuple[str, ...] | None) -> None:
    """An absent or null list is told from an empty one: the patch differs."""
    assert _review_of(a_review(a_pod_body("nginx", **written))).pod.pull_secrets == read


def test_null_counts_as_absent() -> None:
    """Lists and maps may be null, as Go writes nil."""
    nothing = dict.fromkeys(["containers", "initContainers", "ephemeralContainers", "volumes", "imagePullSecrets"])
    metadata = dict.fromkeys(["labels", "annotations", "ownerReferences"])
    review = _review_of(a_review({"metadata": metadata, "spec": nothing}, userInfo={"groups": None}))
    assert review.pod.slots == ()
    assert review.groups == ()
    assert review.pod.annotations is None
    assert _review_of(a_review({"metadata": None, "spec": None}, userInfo=None)).pod.slots == ()


def test_ephemeral_containers_of_the_old_object_are_known() -> None:
    """On the subresource the names in the old object tell which containers are new."""
    pod = a_pod_body("nginx", ephemeralContainers=[{"name": "old", "image": "a"}, {"name": "new", "image": "b"}])
    old = a_pod_body("nginx", ephemeralContainers=[{"name": "old", "image": "a"}])
    review = a_review(pod, operation="UPDATE", subResource="ephemeralcontainers", oldObject=old)
    assert _review_of(review).ephemeral
    assert _review_of(review).known_ephemeral == frozenset({"old"})


@pytest.mark.parametrize(
    "differs",
    [
        pytest.param({"operation": "UPDATE"}, id="update-of-pods"),
        pytest.param({"operation": "DELETE", "object": None}, id="delete"),
        pytest.param({"operation": "CONNECT"}, id="connect"),
        pytest.param({"subResource": "ephemeralcontainers"}, id="creation-of-a-subresource"),
        pytest.param({"operation": "UPDATE", "subResource": "status"}, id="status"),
        pytest.param({"operation": "UPDATE", "subResource": "resize"}, id="resize"),
        pytest.param({"resource": {"group": "", "version": "v1", "resource": "services"}}, id="another-kind"),
        pytest.param({"resource": {"group": "x.io", "version": "v1", "resource": "pods"}}, id="pods-of-a-group"),
        pytest.param({"resource": None}, id="no-resource"),
    ],
)
def test_other_requests_are_not_ours(differs: Json) -> None:
    """What the configuration should not send is read as far as its UID and no further."""
    received = decode_review(to_bytes(a_review(**differs)))
    assert (received.uid, received.review) == ("a-uid", None)


def test_object_of_another_kind_need_not_look_like_a_pod() -> None:
    """Fields that a Pod has with other types are no error in an object that is no Pod."""
    resource = {"group": "apps", "version": "v1", "resource": "deployments"}
    received = decode_review(to_bytes(a_review({"spec": {"containers": "text", "volumes": 5}}, resource=resource)))
    assert (received.uid, received.review) == ("a-uid", None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{", id="truncated"),
        pytest.param(b"\xff\xfe", id="no-utf-8"),
        pytest.param(b"[" * 200_000, id="deep-list"),
        pytest.param(b'{"a":' * 200_000, id="deep-object"),
        pytest.param(to_bytes(a_review()).replace(b'"nginx"', b'"\\ud800"'), id="lone-surrogate"),
        pytest.param(to_bytes(a_review()).replace(b'"nginx"', b'"\xed\xa0\x80"'), id="surrogate-as-bytes"),
        pytest.param(to_bytes(a_review()).replace(b'"nginx"', b"NaN"), id="not-a-number"),
        pytest.param(to_bytes(a_review() | {"apiVersion": "admission.k8s.io/v1beta1"}), id="older-version"),
        pytest.param(to_bytes(a_review() | {"kind": "Pod"}), id="another-kind-of-review"),
        pytest.param(to_bytes(a_review(uid=None)), id="no-uid"),
        pytest.param(to_bytes({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}), id="no-request"),
        pytest.param(to_bytes(a_review({"spec": {"containers": {}}})), id="containers-no-list"),
        pytest.param(to_bytes(a_review({"spec": {"containers": [None]}})), id="container-null"),
        pytest.param(to_bytes(a_review({"metadata": {"labels": {"a": 1}}})), id="label-no-text"),
    ],
)
def test_malformed_reviews_are_refused(body: bytes) -> None:
    """Whatever is no review of a Pod by version and types is malformed, and the error quotes nothing of it."""
    with pytest.raises(MalformedReview) as raised:
        decode_review(body)
    assert len(str(raised.value)) < 80


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_malformed(body: bytes) -> None:
    """No bytes raise anything else."""
    try:
        decode_review(body)
    except MalformedReview:
        return


@given(JSON, st.sampled_from(["containers", "initContainers", "volumes", "imagePullSecrets", "ephemeralContainers"]))
def test_any_json_in_a_field_is_read_or_malformed(value: Any, name: str) -> None:
    """No value of a field raises anything else."""
    try:
        decode_review(to_bytes(a_review({"metadata": {"annotations": value}, "spec": {name: value}})))
    except MalformedReview:
        return


IMAGES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=4)


@given(IMAGES, IMAGES, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_pods_are_read_as_plainly_as_could_be(images: list[str], inits: list[str], labels: dict[str, str]) -> None:
    """Decoding only what is needed gives the same Pod as reading the whole JSON."""
    containers = [{"name": f"i{index}", "image": image} for index, image in enumerate(inits)]
    pod = a_pod_body(*images, metadata={"labels": labels, "annotations": labels}, initContainers=containers)
    assert _review_of(a_review(pod)).pod == read_pod(pod)


def test_unchanged_is_allowed_and_nothing_else() -> None:
    """The shortest answer holds UID and permission."""
    assert read_response(encode_unchanged("a-uid")) == {"uid": "a-uid", "allowed": True}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_uid_comes_back_whatever_it_is(uid: str) -> None:
    """The UID is text from outside and is encoded as such."""
    assert read_response(encode_unchanged(uid))["uid"] == uid
    assert read_response(encode_verdict(uid, Verdict()))["uid"] == uid


def test_verdict_is_written() -> None:
    """Patch, warnings and audit annotations stand in the answer, the patch as base64 of JSON."""
    patch = (replace("/spec/containers/0/image", "proxied"), add("/spec/imagePullSecrets", [{"name": "s"}]))
    verdict = Verdict(patch=patch, warnings=("mind this",), audit={"license": "app/license"})
    response = read_response(encode_verdict("a-uid", verdict))
    assert read_patch(response) == [dict(operation) for operation in patch]
    assert response["patchType"] == "JSONPatch"
    assert response["warnings"] == ["mind this"]
    assert response["auditAnnotations"] == {"license": "app/license"}


def test_empty_parts_are_left_out() -> None:
    """A verdict that changes nothing has no patch, no patch type, no warnings."""
    assert read_response(encode_verdict("a-uid", Verdict())) == {"uid": "a-uid", "allowed": True}


def test_answer_is_json_by_the_standard_library_too() -> None:
    """Both encoders agree on text beyond ASCII."""
    verdict = Verdict(warnings=("ünwanted “image”…",))
    assert json.loads(encode_verdict("ü", verdict))["response"]["warnings"] == ["ünwanted “image”…"]
