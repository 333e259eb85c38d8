"""From a Pod at the door to the answer: decisions, patch, warnings, audit annotations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.core.applications import APP_SLUG_LABEL
from replicated_proxy.core.json_patch import JsonPatchOperation, add, escape_token, replace
from replicated_proxy.core.namespaces import APP_LABEL, REWRITE_LABEL
from replicated_proxy.core.pods import MIRROR_ANNOTATION, Carrier, Pod
from replicated_proxy.core.reasons import UNPROXIABLE, Outcome, Reason
from replicated_proxy.core.rewriting import (
    ImageDecision,
    RewriteContext,
    RewritePolicy,
    decide_image,
    select_route,
)
from replicated_proxy.core.routes import Reach, RoutingTable
from replicated_proxy.core.visibility import VisibilityOf, assume_private

ORIGINAL_IMAGES_ANNOTATION: Final = "proxy.kots.io/original-images"
_LONGEST_WARNING: Final = 120  # What clients are asked to show (AdmissionResponse.warnings).
_MOST_WARNINGS: Final = 5
_LARGEST_ANNOTATIONS: Final = 256 * 1024  # TotalAnnotationSizeLimitB; the API server refuses more.
_LONGEST_AUDIT: Final = 2048  # The API server sets no limit; an audit log does.
NODES_GROUP: Final = "system:nodes"
_write_map: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
# All that is read of labels and annotations, apart from the annotations' size and the settings' `excluded_labels`: a
# decision remembered for one Pod holds for others that differ elsewhere.
MARKS: Final = frozenset({APP_LABEL, APP_SLUG_LABEL, MIRROR_ANNOTATION, ORIGINAL_IMAGES_ANNOTATION, REWRITE_LABEL})
_PRESUMED: Final = " (not known)"
_KEYS: Final = ("license", "images")
# Of a Pod that was reviewed before: of two answers to one request the API server keeps the first word for each key.
_KEYS_AGAIN: Final = ("license-again", "images-again")


@dataclass(frozen=True, slots=True)
class PodReview:
    """What the API server asks.

    Attributes:
        namespace: of the request; the object's own may be missing.
        pod: as it would be stored.
        ephemeral: the request is an update of `pods/ephemeralcontainers`.
        known_ephemeral: names of the ephemeral containers that the Pod has already.
        groups: of the user.
    """

    namespace: str
    pod: Pod
    ephemeral: bool = False
    known_ephemeral: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the API server is told; the Pod is always allowed.

    Attributes:
        patch: RFC 6902 operations; none when nothing changes.
        decisions: one for each image that was looked at.
        reason: why the whole Pod was left alone, when it was.
        license: `namespace/name` of the License that decided, or empty.
        warnings: for the user, at most 5 of 120 characters.
        audit: for the audit log; keys without a slash, since the API server prefixes the webhook's name.
    """

    patch: tuple[JsonPatchOperation, ...] = ()
    decisions: tuple[ImageDecision, ...] = ()
    reason: Reason | None = None
    license: str = ""
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)


def review_pod(
    review: PodReview, table: RoutingTable, policy: RewritePolicy, visibility_of: VisibilityOf = assume_private
) -> Verdict:
    """Decide a Pod. Decisions come from the images, never from a marker, so a second review changes nothing."""
    if review.pod.is_mirror or NODES_GROUP in review.groups:
        return _LEFT_ALONE[Reason.MIRROR_POD]
    context = select_route(review.pod, review.namespace, table, policy)
    if isinstance(context, Reason):
        return _leave_alone(context, review.pod)
    if review.ephemeral:
        return _review_ephemeral(review, table.secret_name, context, visibility_of)
    decisions = tuple(
        decide_image(slot, context, visibility_of)
        for slot in review.pod.slots
        if slot.carrier is not Carrier.EPHEMERAL_CONTAINERS
    )
    annotation, note = _annotate(review.pod, decisions)
    patch = (*_patch_images(decisions), *_patch_secret(review.pod, decisions, table.secret_name), *annotation)
    again = ORIGINAL_IMAGES_ANNOTATION in (review.pod.annotations or {})
    return _answer(patch, decisions, context, note, _KEYS_AGAIN if again else _KEYS)


def _review_ephemeral(
    review: PodReview, secret_name: str, context: RewriteContext, visibility_of: VisibilityOf
) -> Verdict:
    """Decide the new ephemeral containers.

    The API server drops every other change on this subresource, so the pull secret cannot be added: without it a
    rewritten image could not be pulled.
    """
    new = [
        slot
        for slot in review.pod.slots
        if slot.carrier is Carrier.EPHEMERAL_CONTAINERS and slot.name not in review.known_ephemeral
    ]
    decisions = tuple(decide_image(slot, context, visibility_of) for slot in new)
    if secret_name not in (review.pod.pull_secrets or ()):
        decisions = tuple(map(_without_secret, decisions))
    return _answer(tuple(_patch_images(decisions)), decisions, context, "")


def _without_secret(decision: ImageDecision) -> ImageDecision:
    """Take back a decision that would need the pull secret."""
    if decision.outcome is Outcome.UNTOUCHED:
        return decision
    return ImageDecision(decision.slot, decision.slot.image, Outcome.UNTOUCHED, Reason.NO_PULL_SECRET)


def _patch_images(decisions: Iterable[ImageDecision]) -> Iterable[JsonPatchOperation]:
    """Replace each changed image string and nothing wider."""
    return (
        replace(decision.slot.pointer, decision.image)
        for decision in decisions
        if decision.outcome is not Outcome.UNTOUCHED
    )


def _patch_secret(pod: Pod, decisions: Iterable[ImageDecision], secret_name: str) -> tuple[JsonPatchOperation, ...]:
    """Append the pull secret if an image needs it and it is not there; what is there stays in its order.

    The ServiceAccount's own entries are in the list already: its admission plug-in runs before webhooks.
    """
    if not any(decision.needs_license for decision in decisions):
        return ()
    if secret_name in (pod.pull_secrets or ()):
        return ()
    entry = {"name": secret_name}
    if pod.pull_secrets is None:
        return (add("/spec/imagePullSecrets", [entry]),)
    return (add("/spec/imagePullSecrets/-", entry),)


def _annotate(pod: Pod, decisions: Iterable[ImageDecision]) -> tuple[tuple[JsonPatchOperation, ...], str]:
    """Record the original names; a valid earlier map is kept and added to.

    Returns the operations, and a warning where the annotation had to be left out.
    """
    originals = {
        decision.slot.key: decision.slot.image for decision in decisions if decision.outcome is not Outcome.UNTOUCHED
    }
    if not originals:
        return (), ""
    annotations = pod.annotations or {}
    value = _add_originals(annotations, originals)
    others = sum(
        len(key.encode()) + len(text.encode()) for key, text in annotations.items() if key != ORIGINAL_IMAGES_ANNOTATION
    )
    if others + len(ORIGINAL_IMAGES_ANNOTATION) + len(value.encode()) > _LARGEST_ANNOTATIONS:
        return (
            (),
            f"annotation {ORIGINAL_IMAGES_ANNOTATION} left out: the Pod's annotations would exceed 256 KiB",
        )
    if pod.annotations is None:
        return (add("/metadata/annotations", {ORIGINAL_IMAGES_ANNOTATION: value}),), ""
    return (add(f"/metadata/annotations/{escape_token(ORIGINAL_IMAGES_ANNOTATION)}", value),), ""


def _add_originals(annotations: Mapping[str, str], originals: Mapping[str, str]) -> str:
    """Write the annotation's value; an earlier one that is too large for any Pod is not read, and stays too large."""
    earlier = annotations.get(ORIGINAL_IMAGES_ANNOTATION, "")
    if len(earlier) > _LARGEST_ANNOTATIONS:
        return earlier
    return _write_map({**_earlier_originals(annotations), **originals})


def _earlier_originals(annotations: Mapping[str, str]) -> dict[str, str]:
    """Read the map of an earlier review; anything but a map of text to text is garbage."""
    try:
        earlier = json.loads(annotations.get(ORIGINAL_IMAGES_ANNOTATION, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(earlier, dict) or not all(isinstance(image, str) for image in earlier.values()):
        return {}
    return earlier


def _answer(
    patch: tuple[JsonPatchOperation, ...],
    decisions: tuple[ImageDecision, ...],
    context: RewriteContext,
    note: str,
    keys: tuple[str, str] = _KEYS,
) -> Verdict:
    """Put the answer together with what people are told about it."""
    warnings = [text for decision in decisions if (text := _warn(decision, context))]
    if context.covering.route.retained and any(decision.needs_license for decision in decisions):
        warnings.insert(0, f"the Replicated license of {context.covering.route.app_slug} has expired: pulls may fail")
    # Names come as users wrote them: the API server looks at them only after its webhooks.
    told = _tidy("; ".join(map(_tell, decisions)), _LONGEST_AUDIT)
    return Verdict(
        patch=patch,
        decisions=decisions,
        license=context.covering.route.license,
        warnings=_shorten([note, *warnings] if note else warnings),
        # The application, not the License object: whoever reaches the port gets this answer, for any namespace it says.
        audit=dict(zip(keys, (context.covering.route.app_slug, told), strict=True)),
    )


def _tell(decision: ImageDecision) -> str:
    """Say in the audit log what became of an image, and whether its registry had a say in it."""
    return f"{decision.slot.key}={decision.reason or decision.outcome}{_PRESUMED if decision.presumed else ''}"


def _warn(decision: ImageDecision, context: RewriteContext) -> str:
    """Say what looks wanted and was not done; silent where only `"*"` covers and nothing claims the Pod."""
    if decision.reason is Reason.NO_PULL_SECRET:
        return f"{decision.slot.key}: not proxied ({decision.reason}): the Pod has no pull secret to pull it with"
    if decision.presumed and decision.reason is Reason.PUBLIC:
        return f"{decision.slot.key}: not proxied ({decision.reason}): nobody knows who can pull it (detection.onError)"
    wanted = context.claimed or context.covering.reach < Reach.WILDCARD
    if wanted and decision.reason in UNPROXIABLE:
        return f"{decision.slot.key}: cannot go through the proxy ({decision.reason}): {decision.slot.image}"
    return ""


def _shorten(warnings: list[str]) -> tuple[str, ...]:
    """Hold warnings to what clients show: printable, 120 characters, 5 in all."""
    if len(warnings) > _MOST_WARNINGS:
        shown = _MOST_WARNINGS - 1
        warnings = [*warnings[:shown], f"and {len(warnings) - shown} more images were not proxied"]
    return tuple(_tidy(text, _LONGEST_WARNING) for text in warnings)


def _tidy(text: str, longest: int) -> str:
    """Make text printable and cut it; cut first, since a Pod may hold megabytes."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else " " for char in cut)


def _leave_alone(reason: Reason, pod: Pod) -> Verdict:
    """Answer for a Pod that no License decides; one that names an application is told that there is none."""
    if reason is Reason.NO_LICENSE and pod.mark(APP_LABEL):
        return _NO_SUCH_APPLICATION
    return _LEFT_ALONE[reason]


# What users read whose whole Pod was left alone although rewriting was to be expected.
WITHHELD: Final = {
    Reason.LICENSE_EXPIRED: "the Replicated license has expired; apply a renewed one",
    Reason.AMBIGUOUS_LICENSE: "several licenses: label the Pod proxy.kots.io/app=<slug> to choose",
    Reason.SECRET_CONFLICT: "the namespace's pull secret is not the operator's",
}


def _tell_reason(reason: Reason, why: str = "") -> Verdict:
    """Make the answer for a Pod that no License decides."""
    warnings = (f"images were not proxied ({reason}): {why}",) if why else ()
    return Verdict(reason=reason, warnings=warnings, audit={"reason": reason.value})


_LEFT_ALONE: Final = {reason: _tell_reason(reason, WITHHELD.get(reason, "")) for reason in Reason}
_NO_SUCH_APPLICATION: Final = _tell_reason(
    Reason.NO_LICENSE, f"no License here is of the application that {APP_LABEL} names"
)
