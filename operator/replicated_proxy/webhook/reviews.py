"""AdmissionReview v1 as it comes in: bytes to a core review.

Only the fields that a decision needs are decoded, straight from the bytes; the rest of a Pod is skipped without making
objects of it, which is where the time of a review would go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from replicated_proxy.core.admission import PodReview
from replicated_proxy.core.pods import Carrier, ImageSlot, Pod

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
_NEVER: Final = "Never"
_EPHEMERAL: Final = "ephemeralcontainers"
# What a body may make this process hold. A value takes some hundred times the bytes it is written with (`{},`), and
# 8 MiB of them a gigabyte. Two copies of the densest Pod that etcd takes have 320,000; no node runs 10,000 containers.
_MOST_VALUES: Final = 400_000
_MOST_IMAGES: Final = 10_000
_LONGEST_UID: Final = 253  # It is repeated in the answer; the API server's have 36 characters.


class MalformedReview(ValueError):
    """The bytes are no AdmissionReview v1 of a Pod; the message is short and quotes nothing of the body."""


# Every field may be null: a list or map that is null counts as absent. What is frozen can be a key (`webhook.memo`).


class _Container(msgspec.Struct, gc=False, frozen=True):
    name: str | None = None
    image: str | None = None
    imagePullPolicy: str | None = None  # noqa: N815 - a field of the wire format, as are those below.


class _ImageSource(msgspec.Struct, gc=False, frozen=True):
    reference: str | None = None
    pullPolicy: str | None = None  # noqa: N815


class _Volume(msgspec.Struct, gc=False, frozen=True):
    name: str | None = None
    image: _ImageSource | None = None


class _Named(msgspec.Struct, gc=False, frozen=True):
    name: str | None = None


class _Owner(msgspec.Struct, gc=False, frozen=True):
    apiVersion: str | None = None  # noqa: N815
    kind: str | None = None


class _Metadata(msgspec.Struct, gc=False):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    ownerReferences: tuple[_Owner, ...] | None = None  # noqa: N815


class _Spec(msgspec.Struct, gc=False):
    containers: tuple[_Container, ...] | None = None
    initContainers: tuple[_Container, ...] | None = None  # noqa: N815
    ephemeralContainers: tuple[_Container, ...] | None = None  # noqa: N815
    volumes: tuple[_Volume, ...] | None = None
    imagePullSecrets: tuple[_Named, ...] | None = None  # noqa: N815


class _Pod(msgspec.Struct, gc=False):
    metadata: _Metadata | None = None
    spec: _Spec | None = None


class _OldSpec(msgspec.Struct, gc=False, frozen=True):
    ephemeralContainers: tuple[_Named, ...] | None = None  # noqa: N815


class _OldPod(msgspec.Struct, gc=False, frozen=True):
    spec: _OldSpec | None = None


class _Resource(msgspec.Struct, gc=False):
    group: str = ""
    version: str = ""
    resource: str = ""


class _User(msgspec.Struct, gc=False):
    groups: list[str] | None = None


class _Envelope(msgspec.Struct, gc=False):
    """The part of a request that says whether it is ours."""

    uid: str
    operation: str = ""
    resource: _Resource | None = None
    subResource: str | None = None  # noqa: N815
    namespace: str | None = None
    name: str | None = None
    dryRun: bool | None = None  # noqa: N815


class _Request(_Envelope, gc=False):
    userInfo: _User | None = None  # noqa: N815
    object: _Pod | None = None
    oldObject: _OldPod | None = None  # noqa: N815


class _Review(msgspec.Struct, gc=False):
    apiVersion: str  # noqa: N815
    kind: str
    request: _Request


class _BareReview(msgspec.Struct, gc=False):
    apiVersion: str  # noqa: N815
    kind: str
    request: _Envelope


_decode_review: Final = msgspec.json.Decoder(_Review).decode
_decode_bare: Final = msgspec.json.Decoder(_BareReview).decode


@dataclass(slots=True)
class ReceivedReview:
    """A review as it came in.

    Attributes:
        uid: of this call; the answer repeats it.
        dry_run: nothing will be stored.
        namespace, name: for the log; the name may be empty where the API server is still to make one.
        request: as decoded, or None when it is none of those that this webhook is for.
    """

    uid: str
    dry_run: bool
    namespace: str
    name: str
    request: _Request | None

    @property
    def review(self) -> PodReview | None:
        """Make what the core is asked, or None; not part of decoding, since a mistake in it must not refuse a Pod."""
        return None if self.request is None else _convert(self.request)

    @property
    def creator(self) -> str:
        """Return the first owner of a Pod that is created, as `Kind.group`; empty where there is none."""
        request = self.request
        if request is None or request.operation != "CREATE" or request.object is None:
            return ""
        metadata = request.object.metadata
        return _owner_kind(metadata.ownerReferences[0]) if metadata and metadata.ownerReferences else ""


def decode_review(body: bytes) -> ReceivedReview:
    """Read a review.

    A review of something else than a Pod is no error: a webhook configuration that sends too much must not refuse it.

    Raises:
        MalformedReview: no JSON, no AdmissionReview v1, a Pod whose fields have other types than Pods have, or more
            values or images than fit.
    """
    if len(body) > _MOST_VALUES and body.count(b",") > _MOST_VALUES:
        raise MalformedReview(f"more than {_MOST_VALUES} values in one review")
    try:
        review = _decode_review(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return _decode_foreign(body, error)
    _check_version(review.apiVersion, review.kind)
    request = review.request
    if not _is_ours(request):
        return _receive(request, None)
    if request.object is not None:
        _check_pod(request.object)
    return _receive(request, request)


def _decode_foreign(body: bytes, error: Exception) -> ReceivedReview:
    """Read what is no review of a Pod: well-formed for another kind, or malformed."""
    try:
        review = _decode_bare(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise MalformedReview(f"not an {KIND} of {API_VERSION}") from error
    _check_version(review.apiVersion, review.kind)
    if _is_ours(review.request):
        raise MalformedReview("request.object is not a Pod") from error
    return _receive(review.request, None)


def _check_pod(pod: _Pod) -> None:
    """Refuse a Pod that is too much, or that a patch would not apply to: the API server always writes metadata."""
    spec = pod.spec
    if spec is None:
        return
    if pod.metadata is None:
        raise MalformedReview("request.object has no metadata")
    lists = (spec.containers, spec.initContainers, spec.ephemeralContainers)
    most = sum(len(items) for items in lists if items)
    if spec.volumes is not None and most + len(spec.volumes) > _MOST_IMAGES:
        most += sum(volume.image is not None for volume in spec.volumes)
    if most > _MOST_IMAGES:
        raise MalformedReview(f"more than {_MOST_IMAGES} containers and image volumes in one Pod")


def _check_version(api_version: str, kind: str) -> None:
    """Refuse other versions: their fields may mean something else."""
    if api_version != API_VERSION or kind != KIND:
        raise MalformedReview(f"not an {KIND} of {API_VERSION}")


def _is_ours(request: _Envelope) -> bool:
    """Tell whether a request is one of the two that this webhook is for, even if its configuration sends more."""
    resource = request.resource
    if resource is None or resource.resource != "pods" or resource.group or resource.version != "v1":
        return False
    if request.operation == "CREATE":
        return not request.subResource
    return request.operation == "UPDATE" and request.subResource == _EPHEMERAL


def _receive(request: _Envelope, ours: _Request | None) -> ReceivedReview:
    """Put together what both kinds of review have."""
    if len(request.uid) > _LONGEST_UID:
        raise MalformedReview(f"request.uid has more than {_LONGEST_UID} characters")
    return ReceivedReview(request.uid, request.dryRun is True, request.namespace or "", request.name or "", ours)


def _convert(request: _Request) -> PodReview:
    """Make the core's review; the namespace is the request's, since the object's own may be missing."""
    ephemeral = request.operation == "UPDATE"
    old = request.oldObject.spec if ephemeral and request.oldObject else None
    return PodReview(
        namespace=request.namespace or "",
        pod=_convert_pod(request.object or _Pod()),
        ephemeral=ephemeral,
        known_ephemeral=frozenset(item.name or "" for item in (old and old.ephemeralContainers) or ()),
        groups=tuple((request.userInfo and request.userInfo.groups) or ()),
    )


def _convert_pod(pod: _Pod) -> Pod:
    """Make the core's Pod."""
    metadata, spec = pod.metadata or _Metadata(), pod.spec or _Spec()
    secrets = spec.imagePullSecrets
    return Pod(
        slots=tuple(_slots(spec)),
        pull_secrets=None if secrets is None else tuple([item.name or "" for item in secrets]),
        labels=metadata.labels or {},
        annotations=metadata.annotations,
        owners=tuple([_owner_kind(owner) for owner in metadata.ownerReferences or ()]),
    )


def _slots(spec: _Spec) -> Iterator[ImageSlot]:
    """Yield every image, in the order of `Pod.slots`."""
    for carrier, containers in (
        (Carrier.CONTAINERS, spec.containers),
        (Carrier.INIT_CONTAINERS, spec.initContainers),
        (Carrier.EPHEMERAL_CONTAINERS, spec.ephemeralContainers),
    ):
        for index, item in enumerate(containers or ()):
            yield ImageSlot(carrier, index, item.name or "", item.image or "", item.imagePullPolicy == _NEVER)
    for index, volume in enumerate(spec.volumes or ()):
        if (source := volume.image) is not None:
            name, never = volume.name or "", source.pullPolicy == _NEVER
            yield ImageSlot(Carrier.VOLUMES, index, name, source.reference or "", never)


def _owner_kind(owner: _Owner) -> str:
    """Write an owner as `Kind.group`, the core group's as `Kind` alone."""
    group, slash, _ = (owner.apiVersion or "").partition("/")
    return f"{owner.kind or ''}.{group}" if slash else owner.kind or ""
