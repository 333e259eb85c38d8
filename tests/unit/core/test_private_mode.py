"""Mode `private`: what anybody can pull stays, and whether that is so is the last question that is asked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from builders import CUSTOM_HOSTS, SECRET_NAME, a_pod, a_route, a_slot, a_table, ids, patterns
from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.pods import Carrier, Pod
from replicated_proxy.core.reasons import Outcome, Reason
from replicated_proxy.core.rewriting import Mode, RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.visibility import Visibility

P = "proxy.replicated.com/proxy/my-app"
PRIVATE, PUBLIC, INTERNAL = "quay.io/acme/api:1", "nginx:1.25", "registry.corp.example/tools:2"
KNOWN = {
    "docker.io/library/nginx": Visibility.PUBLIC,
    "registry.corp.example/tools": Visibility.INTERNAL,
}


class Registries:
    """Who can pull what, and a list of the repositories that were asked about."""

    def __init__(self, known: Mapping[str, Visibility] | None = None) -> None:
        self._known = KNOWN if known is None else known
        self.asked: list[str] = []

    def visibility_of(self, reference: ImageReference) -> Visibility:
        """Answer, private where nothing else is known."""
        self.asked.append(reference.repository)
        return self._known.get(reference.repository, Visibility.PRIVATE)


def review(
    pod: Pod,
    registries: Registries | None = None,
    table: RoutingTable | None = None,
    policy: RewritePolicy | None = None,
    *,
    ephemeral: bool = False,
) -> Verdict:
    """Review a Pod in the License's own namespace."""
    registries = registries or Registries()
    question = PodReview("app", pod, ephemeral=ephemeral)
    return review_pod(question, table or a_table(), policy or RewritePolicy(), registries.visibility_of)


SEEN: list[tuple[str, str, Outcome, Reason | None, bool]] = [
    (PRIVATE, f"{P}/{PRIVATE}", Outcome.REWRITTEN, None, True),
    (PUBLIC, PUBLIC, Outcome.UNTOUCHED, Reason.PUBLIC, False),
    (INTERNAL, INTERNAL, Outcome.UNTOUCHED, Reason.INTERNAL_HOST, False),
]


@pytest.mark.parametrize(("image", "expected", "outcome", "reason", "licensed"), SEEN, ids=ids(SEEN))
def test_image_becomes_what_its_visibility_asks_for(
    image: str, expected: str, outcome: Outcome, reason: Reason | None, licensed: bool
) -> None:
    """Private images go through the proxy; public ones and those of somebody's own network stay without a license."""
    (decision,) = review(a_pod(image)).decisions

    assert (expected, outcome, reason, licensed) == (
        decision.image,
        decision.outcome,
        decision.reason,
        decision.needs_license,
    )


@pytest.mark.parametrize("image", [PUBLIC, INTERNAL])
def test_pod_that_needs_no_license_is_not_touched(image: str) -> None:
    """No pull secret, no annotation, no warning: the Pod is none of ours."""
    verdict = review(a_pod(image))

    assert (verdict.patch, verdict.warnings) == ((), ())


def test_private_image_beside_public_ones_is_the_only_one_that_changes() -> None:
    """One Pod, three images: one operation on images, one on the secret, one on the record."""
    verdict = review(a_pod(PUBLIC, PRIVATE, INTERNAL))

    assert [one["path"] for one in verdict.patch] == [
        "/spec/containers/1/image",
        "/spec/imagePullSecrets",
        "/metadata/annotations",
    ]
    assert verdict.audit["images"] == "containers/c0=public; containers/c1=rewritten; containers/c2=internal-host"


@pytest.mark.parametrize("carrier", [Carrier.INIT_CONTAINERS, Carrier.VOLUMES])
def test_every_carrier_is_asked_about(carrier: Carrier) -> None:
    """Init containers and image volumes are public or private like containers."""
    verdict = review(a_pod(a_slot(PUBLIC, carrier, name="x"), a_slot(PRIVATE, carrier, index=1, name="y")))

    assert [decision.reason for decision in verdict.decisions] == [Reason.PUBLIC, None]


SETTLED = [
    "auto",
    "",
    "Nginx",
    "sha256:" + "a" * 64,
    "my_host.example.com/app",
    "[::1]/app",
    "reg.example.com:5000/app",
    "Quay.io/app",
    "localhost/app",
    f"{P}/quay.io/acme/api:1",
    "proxy.replicated.com/library/replicated-sdk-image:1",
    "registry.replicated.com/my-app/api",
    "quay.io/excluded/api",
    "quay.io/" + "a" * 240,
]


@pytest.mark.parametrize("image", SETTLED, ids=ids(SETTLED))
def test_nobody_is_asked_about_what_is_settled(image: str) -> None:
    """Every other reason comes first, so no image that stays anyway costs a question."""
    registries = Registries()
    (decision,) = review(a_pod(image), registries, policy=RewritePolicy(exclude=patterns("quay.io/excluded"))).decisions

    assert decision.outcome is Outcome.UNTOUCHED
    assert registries.asked == []


def test_nobody_is_asked_about_what_is_never_pulled_or_claimed_by_none() -> None:
    """Nor about an image that is on the node already, nor where only `"*"` covers and nothing claims the image."""
    registries = Registries()
    everywhere = a_table(a_route(namespace="elsewhere", every_namespace=True))
    review(a_pod(a_slot(PRIVATE, pull_never=True)), registries)
    review(a_pod(PRIVATE), registries, everywhere)

    assert registries.asked == []


def test_nobody_is_asked_about_a_swap_of_the_registry() -> None:
    """Replicated's registry is private whatever it may say."""
    registries = Registries({"registry.replicated.com/my-app/api": Visibility.PUBLIC})
    image = "registry.replicated.com/my-app/api:1"
    (decision,) = review(a_pod(image), registries, a_table(a_route(hosts=CUSTOM_HOSTS))).decisions

    assert (decision.outcome, registries.asked) == (Outcome.REGISTRY_SWAPPED, [])


LEFT_ALONE: list[tuple[str, RoutingTable]] = [
    ("no-license", a_table(a_route(namespace="elsewhere"))),
    ("license-expired", a_table(a_route(expired=True))),
    ("ambiguous-license", a_table(a_route("one"), a_route("two"))),
    ("secret-conflict", a_table(conflicts=frozenset({"app"}))),
    ("opted-out", a_table(unrewritten=frozenset({"app"}))),
]


@pytest.mark.parametrize(("reason", "table"), LEFT_ALONE, ids=ids(LEFT_ALONE))
def test_nobody_is_asked_for_a_pod_that_is_left_alone(reason: str, table: RoutingTable) -> None:
    """Where the Pod as a whole stays, its images are not looked at."""
    registries = Registries()

    assert (review(a_pod(PRIVATE), registries, table).reason, registries.asked) == (reason, [])


OTHER_MODES = [
    RewritePolicy(mode=Mode.ALL),
    RewritePolicy(mode=Mode.LISTED, include=patterns("docker.io")),
    RewritePolicy(mode=Mode.OFF),
]


@pytest.mark.parametrize("policy", OTHER_MODES, ids=[policy.mode for policy in OTHER_MODES])
def test_other_modes_ask_nobody(policy: RewritePolicy) -> None:
    """With `all` and `listed` public images are rewritten, too, and no registry is ever asked."""
    registries = Registries()
    verdict = review(a_pod(PUBLIC), registries, policy=policy)

    assert (bool(verdict.patch), registries.asked) == (policy.mode is not Mode.OFF, [])


@pytest.mark.parametrize(("image", "reason"), [(PUBLIC, Reason.PUBLIC), (PRIVATE, Reason.NO_PULL_SECRET)])
def test_debugger_of_a_pod_without_the_secret_is_told_only_what_it_lacks(image: str, reason: Reason) -> None:
    """A public debug image needs no secret, so its absence is no reason for a warning."""
    pod = a_pod(a_slot(image, Carrier.EPHEMERAL_CONTAINERS, name="debugger"))
    verdict = review(pod, ephemeral=True)

    assert (verdict.decisions[0].reason, verdict.patch) == (reason, ())
    assert bool(verdict.warnings) == (reason is Reason.NO_PULL_SECRET)


def test_debugger_of_a_pod_with_the_secret_is_rewritten_if_private() -> None:
    """With the secret there, private debug images go through the proxy and public ones stay."""
    slots = [
        a_slot(image, Carrier.EPHEMERAL_CONTAINERS, index=index, name=f"e{index}")
        for index, image in enumerate((PUBLIC, PRIVATE))
    ]
    verdict = review(a_pod(*slots, pull_secrets=(SECRET_NAME,)), ephemeral=True)

    assert [one["path"] for one in verdict.patch] == ["/spec/ephemeralContainers/1/image"]


def test_image_volume_without_a_reference_stays() -> None:
    """An empty reference is the API server's business and fails no review; what stands beside it is rewritten."""
    verdict = review(a_pod(PRIVATE, a_slot("", Carrier.VOLUMES, name="model")))

    assert [decision.reason for decision in verdict.decisions] == [None, Reason.INVALID_REFERENCE]
    assert verdict.patch[0]["path"] == "/spec/containers/0/image"


@pytest.mark.parametrize(
    ("visibility", "image", "audit", "warned"),
    [
        (Visibility.PRESUMED_PRIVATE, f"{P}/{PRIVATE}", "containers/c0=rewritten (not known)", False),
        (Visibility.PRESUMED_PUBLIC, PRIVATE, "containers/c0=public (not known)", True),
    ],
)
def test_what_nobody_knows_is_told_apart(visibility: Visibility, image: str, audit: str, *, warned: bool) -> None:
    """An image decided by `detection.onError` alone says so, and one that was left alone for it warns."""
    verdict = review(a_pod(PRIVATE), Registries({"quay.io/acme/api": visibility}))

    assert [decision.image for decision in verdict.decisions] == [image]
    assert verdict.audit["images"] == audit
    assert any("detection.onError" in warning for warning in verdict.warnings) is warned
