"""Whose image is it, and what does it become?

The rules of the specification's section 6, in its order: first the Pod as a whole, then each image by itself. The
mapping is KOTS's, `<proxy host>/proxy/<app slug>/<image as written>`, so that names on nodes agree with KOTS's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from replicated_proxy.core.applications import APP_SLUG_LABEL
from replicated_proxy.core.hosts import DEFAULT_PROXY_HOST
from replicated_proxy.core.images import (
    ImageReference,
    InvalidImageReference,
    RepositoryPattern,
    is_image_id,
    is_local_host,
    parse_image,
)
from replicated_proxy.core.namespaces import APP_LABEL, DISABLED, REWRITE_LABEL
from replicated_proxy.core.pods import ImageSlot, Pod
from replicated_proxy.core.reasons import Outcome, Reason
from replicated_proxy.core.routes import Covering, Reach, RoutingTable
from replicated_proxy.core.selections import RepositorySelection
from replicated_proxy.core.visibility import PRESUMED, Visibility, VisibilityOf, assume_private

_LONGEST_NAME: Final = 255  # Runtimes with the older rule count the host (references.md 1.5).
_PLACEHOLDER: Final = "auto"  # Istio's gateway injection replaces exactly this text.


class Mode(StrEnum):
    """Which images are wanted."""

    PRIVATE = "private"
    ALL = "all"
    LISTED = "listed"
    OFF = "off"


class WildcardScope(StrEnum):
    """What `"*"` alone makes an application's own."""

    CLAIMED = "Claimed"
    ALL = "All"


@dataclass(frozen=True, slots=True)
class RewritePolicy:
    """The administrator's part of the decision.

    Attributes:
        mode: which images are wanted.
        include: with `listed` the only ones; with any mode a claim where only `"*"` covers.
        exclude: never rewritten.
        wildcard_scope: `All` lifts the need for a claim under `"*"`.
        canonical_names: write the upstream name in full (`docker.io/library/nginx`).
        excluded_owners: `Kind.group` of controllers that compare images and would recreate Pods for ever.
        excluded_labels: likewise by a label of their Pods, `(key, value)`, an empty value for any: where a StatefulSet
            stands between, it is the owner.
        includes, excludes: `include` and `exclude`, to be asked about an image.
    """

    mode: Mode = Mode.PRIVATE
    include: tuple[RepositoryPattern, ...] = ()
    exclude: tuple[RepositoryPattern, ...] = ()
    wildcard_scope: WildcardScope = WildcardScope.CLAIMED
    canonical_names: bool = False
    excluded_owners: frozenset[str] = frozenset()
    excluded_labels: tuple[tuple[str, str], ...] = ()
    includes: RepositorySelection = field(init=False, repr=False, compare=False)
    excludes: RepositorySelection = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the patterns once, for all the images that they will be asked about."""
        object.__setattr__(self, "includes", RepositorySelection(self.include))
        object.__setattr__(self, "excludes", RepositorySelection(self.exclude))


@dataclass(frozen=True, slots=True)
class ImageDecision:
    """What becomes of one image.

    Attributes:
        slot: where it stands.
        image: the text that is to stand there.
        outcome: what was done.
        reason: why nothing was done, when nothing was.
        needs_license: pulling it takes the pull secret.
        presumed: its registry gave no answer, or not yet, so that the setting decided who can pull it.
    """

    slot: ImageSlot
    image: str
    outcome: Outcome
    reason: Reason | None = None
    needs_license: bool = False
    presumed: bool = False


@dataclass(frozen=True, slots=True)
class RewriteContext:
    """The License that decides a Pod, with what else the images' rules look at.

    Attributes:
        covering: the License and how it covers the namespace.
        proxy_hosts: proxy hosts of every License covering the namespace, and the default one.
        claimed: the Pod or its namespace names the application.
        policy: the administrator's part.
    """

    covering: Covering
    proxy_hosts: frozenset[str]
    claimed: bool
    policy: RewritePolicy


def select_route(pod: Pod, namespace: str, table: RoutingTable, policy: RewritePolicy) -> RewriteContext | Reason:
    """Find the License that decides a Pod, or the reason why the whole Pod stays as it is."""
    if policy.mode is Mode.OFF:
        return Reason.MODE_OFF
    if _is_opted_out(pod, namespace, table, policy):
        return Reason.OPTED_OUT
    covering = table.covering(namespace)
    chosen = _choose(covering, pod)
    if isinstance(chosen, Reason):
        return chosen
    if chosen.route.expired:
        return Reason.LICENSE_EXPIRED
    if namespace in table.rules.conflicts:
        return Reason.SECRET_CONFLICT
    named = pod.mark(APP_LABEL) or pod.mark(APP_SLUG_LABEL) or table.rules.claims.get(namespace)
    return RewriteContext(
        covering=chosen,
        proxy_hosts=frozenset({DEFAULT_PROXY_HOST}).union(
            *({item.route.hosts.proxy, item.route.hosts.default_proxy} for item in covering)
        ),
        claimed=named == chosen.route.app_slug,
        policy=policy,
    )


def _is_opted_out(pod: Pod, namespace: str, table: RoutingTable, policy: RewritePolicy) -> bool:
    """Tell whether Pod, namespace or the controller that owns the Pod asks to be left alone."""
    marked = DISABLED in {pod.labels.get(REWRITE_LABEL), (pod.annotations or {}).get(REWRITE_LABEL)}
    owned = not policy.excluded_owners.isdisjoint(pod.owners) or _is_labelled(pod, policy)
    return marked or owned or namespace in table.rules.unrewritten


def _is_labelled(pod: Pod, policy: RewritePolicy) -> bool:
    """Tell whether a label says that such a controller stands behind the Pod's owner."""
    labels = pod.labels
    return bool(labels) and any(
        key in labels and (not value or labels[key] == value) for key, value in policy.excluded_labels
    )


def _choose(covering: tuple[Covering, ...], pod: Pod) -> Covering | Reason:
    """Choose among the Licenses that cover the namespace: the Pod's word, then the nearest.

    A Pod that names an application is never given to another one: the name of a missing application means none.
    """
    if not covering:
        return Reason.NO_LICENSE
    for named in (pod.mark(APP_LABEL), pod.labels.get(APP_SLUG_LABEL, "")):
        if named:
            return next((item for item in covering if item.route.app_slug == named), Reason.NO_LICENSE)
    nearest = min(item.reach for item in covering)
    candidates = [item for item in covering if item.reach == nearest]
    if len(candidates) == 1 or all(item.route.expired for item in candidates):
        return candidates[0]
    return Reason.AMBIGUOUS_LICENSE


def decide_image(
    slot: ImageSlot, context: RewriteContext, visibility_of: VisibilityOf = assume_private
) -> ImageDecision:
    """Decide one image of a Pod that a License decides.

    Who can pull the image is the last question: it may take a registry's answer, the others take nothing.
    """
    if slot.pull_never:
        return _untouched(slot, Reason.PULL_NEVER)
    if slot.image == _PLACEHOLDER:
        return _untouched(slot, Reason.PLACEHOLDER)
    try:
        reference = parse_image(slot.image)
    except InvalidImageReference:
        return _untouched(slot, Reason.INVALID_REFERENCE)
    if is_image_id(slot.image):
        return _untouched(slot, Reason.IMAGE_ID)
    reason = _unsuitable_host(reference.domain) or _settled(reference, context)
    if reason is not None:
        return _untouched(slot, reason, needs_license=_needs_license(reference, reason))
    return _unless_nodes_can_pull(_rewrite(slot, reference, context), reference, context, visibility_of)


# What nodes can pull by themselves.
_VISIBLE_TO_NODES: Final = {
    Visibility.PUBLIC: Reason.PUBLIC,
    Visibility.PRESUMED_PUBLIC: Reason.PUBLIC,
    Visibility.INTERNAL: Reason.INTERNAL_HOST,
}


def _unless_nodes_can_pull(
    decision: ImageDecision, reference: ImageReference, context: RewriteContext, visibility_of: VisibilityOf
) -> ImageDecision:
    """Take back a rewrite that is not needed, where the mode asks for that."""
    if context.policy.mode is not Mode.PRIVATE or decision.outcome is not Outcome.REWRITTEN:
        return decision
    visibility = visibility_of(reference)
    seen = _VISIBLE_TO_NODES.get(visibility)
    decided = decision if seen is None else _untouched(decision.slot, seen)
    return replace(decided, presumed=True) if visibility in PRESUMED else decided


def _untouched(slot: ImageSlot, reason: Reason, *, needs_license: bool = False) -> ImageDecision:
    """Leave the image byte for byte."""
    return ImageDecision(slot, slot.image, Outcome.UNTOUCHED, reason, needs_license)


def _unsuitable_host(domain: str) -> Reason | None:
    """Name what keeps a host out of the proxy's path form, where a repository component has to carry it."""
    checks: tuple[tuple[Reason, Callable[[str], bool]], ...] = _HOST_CHECKS
    return next((reason for reason, applies in checks if applies(domain)), None)


_HOST_CHECKS: Final[tuple[tuple[Reason, Callable[[str], bool]], ...]] = (
    (Reason.NO_DOMAIN, lambda domain: not domain),
    (Reason.IPV6_HOST, lambda domain: domain.startswith("[")),
    (Reason.PORT, lambda domain: ":" in domain),
    (Reason.UPPERCASE_HOST, lambda domain: domain != domain.lower()),
    (Reason.LOCAL_HOST, is_local_host),
)


def _settled(reference: ImageReference, context: RewriteContext) -> Reason | None:
    """Name why an image with a suitable host stays nevertheless; the swap of the registry host comes before claims."""
    route = context.covering.route
    if reference.domain in context.proxy_hosts:
        return Reason.ALREADY_PROXIED
    if reference.domain == route.hosts.registry:
        return Reason.REPLICATED_REGISTRY
    if _is_excluded(reference, context):
        return Reason.EXCLUDED
    if reference.domain != route.hosts.default_registry and not _is_wanted(reference, context):
        return Reason.NOT_CLAIMED
    return None


def _is_excluded(reference: ImageReference, context: RewriteContext) -> bool:
    """Tell whether settings or an Application take the image out."""
    route = context.covering.route
    at_home = context.covering.reach is Reach.OWN and route.excludes_at_home.holds(reference)
    return at_home or route.excludes.holds(reference) or context.policy.excludes.holds(reference)


def _is_wanted(reference: ImageReference, context: RewriteContext) -> bool:
    """Tell whether the mode selects the image and, where only `"*"` covers, something claims it."""
    policy, route = context.policy, context.covering.route
    included = policy.includes.holds(reference)
    if policy.mode is Mode.LISTED:
        return included
    if context.covering.reach < Reach.WILDCARD or policy.wildcard_scope is WildcardScope.ALL:
        return True
    named = included or context.claimed
    return named or route.claims_images.holds(reference) or route.claims_repositories.holds(reference)


def _needs_license(reference: ImageReference, reason: Reason) -> bool:
    """Tell whether an image that stays is pulled with the license; `/anonymous/` and `/library/` need none."""
    proxied = reason is Reason.ALREADY_PROXIED and reference.path.startswith("proxy/")
    return proxied or reason is Reason.REPLICATED_REGISTRY


def _rewrite(slot: ImageSlot, reference: ImageReference, context: RewriteContext) -> ImageDecision:
    """Put the proxy in front, or the custom registry domain in place of the default one."""
    route = context.covering.route
    if reference.domain == route.hosts.default_registry:
        name, outcome = f"{route.hosts.registry}/{reference.path}", Outcome.REGISTRY_SWAPPED
    else:
        upstream = reference.repository if context.policy.canonical_names else reference.name
        name, outcome = f"{route.hosts.proxy}/proxy/{route.app_slug}/{upstream}", Outcome.REWRITTEN
    if len(name) > _LONGEST_NAME:
        return _untouched(slot, Reason.TOO_LONG)
    return ImageDecision(slot, name + reference.suffix, outcome, needs_license=True)
