"""One image after the other: what it becomes, and every reason why it stays."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from builders import CUSTOM_HOSTS, DIGEST, a_pod, a_route, a_slot, a_table, ids, patterns, selectors
from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.pods import Carrier, ImageSlot
from replicated_proxy.core.reasons import Outcome, Reason
from replicated_proxy.core.rewriting import (
    ImageDecision,
    Mode,
    RewriteContext,
    RewritePolicy,
    WildcardScope,
    decide_image,
    select_route,
)
from replicated_proxy.core.routes import Route

P = "proxy.replicated.com/proxy/my-app"
ANY_POLICY = RewritePolicy()


def decide(
    image: str | ImageSlot,
    route: Route | None = None,
    policy: RewritePolicy = ANY_POLICY,
    pod: dict[str, Any] | None = None,
    **rules: Any,
) -> ImageDecision:
    """Decide one image of a Pod in the namespace `ns`, which `"*"` covers if the route says so, else its own."""
    route = route or a_route(namespace="ns")
    slot = a_slot(image) if isinstance(image, str) else image
    context = select_route(a_pod(slot, **(pod or {})), "ns", a_table(route, **rules), policy)
    assert isinstance(context, RewriteContext)
    return decide_image(slot, context)


# replicated.md 4.10, column "ours".
REWRITTEN = [
    ("nginx", f"{P}/nginx"),
    ("nginx:1.25", f"{P}/nginx:1.25"),
    ("library/nginx:1.25", f"{P}/library/nginx:1.25"),
    ("docker.io/nginx:1.25", f"{P}/docker.io/nginx:1.25"),
    ("docker.io/library/nginx:1.25", f"{P}/docker.io/library/nginx:1.25"),
    ("index.docker.io/library/nginx:1.25", f"{P}/index.docker.io/library/nginx:1.25"),
    ("index.docker.io/acme/api:1", f"{P}/index.docker.io/acme/api:1"),
    ("registry-1.docker.io/acme/api:1", f"{P}/registry-1.docker.io/acme/api:1"),
    ("acme/api", f"{P}/acme/api"),
    ("acme/api:1", f"{P}/acme/api:1"),
    ("quay.io/acme/api", f"{P}/quay.io/acme/api"),
    ("quay.io/acme/api:1", f"{P}/quay.io/acme/api:1"),
    (f"quay.io/acme/api@{DIGEST}", f"{P}/quay.io/acme/api@{DIGEST}"),
    (f"quay.io/acme/api:1@{DIGEST}", f"{P}/quay.io/acme/api:1@{DIGEST}"),
    (
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/api:1",
        f"{P}/123456789012.dkr.ecr.us-east-1.amazonaws.com/api:1",
    ),
    ("us-east1-docker.pkg.dev/p/r/api:1", f"{P}/us-east1-docker.pkg.dev/p/r/api:1"),
]


@pytest.mark.parametrize(("image", "expected"), REWRITTEN, ids=ids(REWRITTEN))
def test_image_goes_behind_the_proxy_as_written(image: str, expected: str) -> None:
    """The proxy and the application stand in front of the image, which keeps every byte."""
    decision = decide(image)

    assert (expected, Outcome.REWRITTEN, True) == (decision.image, decision.outcome, decision.needs_license)


CUSTOM = [
    ("quay.io/acme/api:1", "proxy.acme.com/proxy/my-app/quay.io/acme/api:1", Outcome.REWRITTEN),
    ("registry.replicated.com/my-app/api:1", "reg.acme.com/my-app/api:1", Outcome.REGISTRY_SWAPPED),
    (f"registry.replicated.com/my-app/api@{DIGEST}", f"reg.acme.com/my-app/api@{DIGEST}", Outcome.REGISTRY_SWAPPED),
    ("reg.acme.com/my-app/api:1", "reg.acme.com/my-app/api:1", Outcome.UNTOUCHED),
    (f"{P}/quay.io/acme/api:1", f"{P}/quay.io/acme/api:1", Outcome.UNTOUCHED),
    (
        "proxy.acme.com/proxy/my-app/quay.io/acme/api:1",
        "proxy.acme.com/proxy/my-app/quay.io/acme/api:1",
        Outcome.UNTOUCHED,
    ),
]


@pytest.mark.parametrize(("image", "expected", "outcome"), CUSTOM, ids=ids(CUSTOM))
def test_custom_domains_take_the_place_of_the_default_ones(image: str, expected: str, outcome: Outcome) -> None:
    """With custom domains images go to them, and every form of them needs the license."""
    decision = decide(image, a_route(namespace="ns", hosts=CUSTOM_HOSTS))

    assert (expected, outcome, True) == (decision.image, decision.outcome, decision.needs_license)


CANONICAL = [
    ("nginx", f"{P}/docker.io/library/nginx"),
    ("acme/api:1", f"{P}/docker.io/acme/api:1"),
    ("index.docker.io/acme/api:1", f"{P}/docker.io/acme/api:1"),
    (f"quay.io/acme/api:1@{DIGEST}", f"{P}/quay.io/acme/api:1@{DIGEST}"),
]


@pytest.mark.parametrize(("image", "expected"), CANONICAL, ids=ids(CANONICAL))
def test_canonical_names_are_written_in_full(image: str, expected: str) -> None:
    """`rewrite.canonicalNames` spells out host and `library/`, and adds no tag."""
    assert expected == decide(image, policy=RewritePolicy(canonical_names=True)).image


UNTOUCHED = [
    ("auto", Reason.PLACEHOLDER),
    ("", Reason.INVALID_REFERENCE),
    ("Nginx", Reason.INVALID_REFERENCE),
    (" nginx", Reason.INVALID_REFERENCE),
    (f"sha256:{'a' * 64}", Reason.IMAGE_ID),
    ("my_host.example.com/app", Reason.NO_DOMAIN),
    ("[::1]/app", Reason.IPV6_HOST),
    ("[fe80::1]:5000/app", Reason.IPV6_HOST),
    ("reg.example.com:5000/team/api:1", Reason.PORT),
    ("localhost:5000/api:1", Reason.PORT),
    ("Reg.Example.com:5000/api", Reason.PORT),
    ("Quay.io/acme/api", Reason.UPPERCASE_HOST),
    ("LOCALHOST/api", Reason.UPPERCASE_HOST),
    ("localhost/api:1", Reason.LOCAL_HOST),
    ("127.0.0.1/api:1", Reason.LOCAL_HOST),
    ("proxy.replicated.com/anonymous/nginx:1", Reason.ALREADY_PROXIED),
    ("proxy.replicated.com/library/replicated-sdk-image:1.2.3", Reason.ALREADY_PROXIED),
]


@pytest.mark.parametrize(("image", "reason"), UNTOUCHED, ids=ids(UNTOUCHED))
def test_unsuitable_image_stays(image: str, reason: Reason) -> None:
    """An image that cannot or need not go through the proxy stays byte for byte and needs no license."""
    decision = decide(image)

    assert (image, Outcome.UNTOUCHED, reason, False) == (
        decision.image,
        decision.outcome,
        decision.reason,
        decision.needs_license,
    )


LICENSED = [
    (f"{P}/quay.io/acme/api:1", Reason.ALREADY_PROXIED),
    ("proxy.replicated.com/proxy/other-app/quay.io/x:1", Reason.ALREADY_PROXIED),
    ("registry.replicated.com/my-app/api:1", Reason.REPLICATED_REGISTRY),
]


@pytest.mark.parametrize(("image", "reason"), LICENSED, ids=ids(LICENSED))
def test_image_that_is_replicated_s_already_stays_and_needs_the_license(image: str, reason: Reason) -> None:
    """What the proxy or Replicated's registry serves stays, but its Pod gets the pull secret."""
    decision = decide(image)

    assert (image, reason, True) == (decision.image, decision.reason, decision.needs_license)


@pytest.mark.parametrize("carrier", list(Carrier))
def test_image_that_is_never_pulled_stays(carrier: Carrier) -> None:
    """With pull policy `Never` the image is on the node under this very name."""
    decision = decide(a_slot("nginx", carrier, pull_never=True))
    expected = ("nginx", Reason.PULL_NEVER)

    assert expected == (decision.image, decision.reason)


ORDER = [
    (a_slot("auto", pull_never=True), Reason.PULL_NEVER),
    (a_slot("", pull_never=True), Reason.PULL_NEVER),
    (a_slot("my_host.example.com:5000/app"), Reason.INVALID_REFERENCE),
    (a_slot("[::1]:5000/app"), Reason.IPV6_HOST),
    (a_slot("[FE80::1]/app"), Reason.IPV6_HOST),
    (a_slot("LOCALHOST:5000/app"), Reason.PORT),
    (a_slot("127.0.0.1:5000/app"), Reason.PORT),
    (a_slot("proxy.replicated.com:443/proxy/my-app/nginx"), Reason.PORT),
    (a_slot("Proxy.replicated.com/proxy/my-app/nginx"), Reason.UPPERCASE_HOST),
    (a_slot("proxy.replicated.com/proxy/excluded"), Reason.ALREADY_PROXIED),
    (a_slot("registry.replicated.com/excluded"), Reason.REPLICATED_REGISTRY),
    (a_slot("quay.io/excluded"), Reason.EXCLUDED),
    (a_slot("quay.io/" + "a" * 250), Reason.NOT_CLAIMED),
    (a_slot("docker.io/claimed/" + "a" * 240), Reason.TOO_LONG),
]


@pytest.mark.parametrize(("slot", "reason"), ORDER, ids=[f"{row[1]}-{row[0].image[:40]}" for row in ORDER])
def test_first_reason_in_the_order_of_the_specification_counts(slot: ImageSlot, reason: Reason) -> None:
    """Where several reasons apply the one named first in the specification is given."""
    route = a_route(every_namespace=True, claimed_upstreams=patterns("docker.io/claimed"))
    policy = RewritePolicy(
        exclude=patterns("quay.io/excluded", "proxy.replicated.com/proxy/excluded", "registry.replicated.com/excluded")
    )

    assert reason == decide(slot, route, policy).reason


def test_excluding_beats_the_swap_of_the_registry() -> None:
    """An excluded image at the default registry stays although a custom registry domain is set."""
    policy = RewritePolicy(exclude=patterns("registry.replicated.com/my-app/api"))
    decision = decide("registry.replicated.com/my-app/api:1", a_route(namespace="ns", hosts=CUSTOM_HOSTS), policy)
    expected = Reason.EXCLUDED

    assert expected == decision.reason


LENGTHS = [
    (255 - len(P) - 1, Outcome.REWRITTEN),
    (256 - len(P) - 1, Outcome.UNTOUCHED),
]


@pytest.mark.parametrize(("length", "outcome"), LENGTHS, ids=["255", "256"])
def test_longest_name_counts_neither_tag_nor_digest(length: int, outcome: Outcome) -> None:
    """A rewritten name has at most 255 characters before its tag and digest."""
    decision = decide(f"{'a' * length}:{'t' * 128}@{DIGEST}")

    assert outcome == decision.outcome


def test_canonical_names_count_in_full() -> None:
    """A name that only its full spelling makes too long is left as it is."""
    name = "a" * (255 - len(P) - 1)
    expected = Reason.TOO_LONG

    assert expected == decide(name, policy=RewritePolicy(canonical_names=True)).reason


def test_proxy_host_of_every_covering_license_counts_as_proxied() -> None:
    """An image at another covering License's custom proxy is not put behind ours."""
    table = a_table(
        a_route(namespace="ns"),
        a_route("other", "elsewhere", every_namespace=True, hosts=CUSTOM_HOSTS),
    )
    slot = a_slot("proxy.acme.com/proxy/other/quay.io/x:1")
    context = select_route(a_pod(slot), "ns", table, ANY_POLICY)

    assert isinstance(context, RewriteContext)
    assert decide_image(slot, context).reason == Reason.ALREADY_PROXIED


def test_default_proxy_of_a_staging_license_counts_as_proxied() -> None:
    """Beside a custom proxy the default one of the License's own environment still counts."""
    hosts = Hosts("proxy.acme.com", "reg.acme.com", "proxy.staging.replicated.com", "registry.staging.replicated.com")
    decision = decide("proxy.staging.replicated.com/proxy/my-app/nginx", a_route(namespace="ns", hosts=hosts))
    expected = (Reason.ALREADY_PROXIED, True)

    assert expected == (decision.reason, decision.needs_license)


LISTED = [
    ("quay.io/acme/api", None),
    ("quay.io/acme2/api", Reason.NOT_CLAIMED),
    ("nginx", Reason.NOT_CLAIMED),
    ("registry.replicated.com/my-app/api", None),
]


@pytest.mark.parametrize(("image", "reason"), LISTED, ids=ids(LISTED))
def test_mode_listed_takes_only_what_is_included(image: str, reason: Reason | None) -> None:
    """Mode `listed` rewrites what `rewrite.include` names, and still swaps the registry host."""
    policy = RewritePolicy(mode=Mode.LISTED, include=patterns("quay.io/acme"))

    assert reason == decide(image, a_route(namespace="ns", hosts=CUSTOM_HOSTS), policy).reason


def test_exclude_beats_include() -> None:
    """An image that is included and excluded stays."""
    policy = RewritePolicy(mode=Mode.LISTED, include=patterns("quay.io"), exclude=patterns("quay.io/acme"))
    expected = Reason.EXCLUDED

    assert expected == decide("quay.io/acme/api", policy=policy).reason


def test_application_excludes_images() -> None:
    """`Application.spec.excludedImages` takes an image out, in any spelling."""
    route = a_route(namespace="ns", excluded_images=selectors("docker.io/library/redis"))
    expected = Reason.EXCLUDED

    assert expected == decide("redis:7", route).reason


AT_HOME: list[tuple[str, Reason | None]] = [("ns", Reason.EXCLUDED), ("elsewhere", None)]


@pytest.mark.parametrize(("home", "expected"), AT_HOME, ids=ids(AT_HOME))
def test_application_that_reaches_nowhere_excludes_at_home(home: str, expected: Reason | None) -> None:
    """In the License's own namespace its exclusions count, in a listed one they do not."""
    route = a_route(namespace=home, excluded_at_home=selectors("redis"))

    assert expected == decide("redis:7", route, listed={"ns": (0,)}).reason


CLAIMS = list(
    itertools.chain(
        [
            (f"Pod {kind} {key}", {"pod": {kind: {key: "my-app"}}})
            for kind in ("labels", "annotations")
            for key in ("proxy.kots.io/app", "kots.io/app-slug")
        ],
        [
            ("namespace", {"claims": {"ns": "my-app"}}),
            ("rewrite.include", {"policy": RewritePolicy(include=patterns("quay.io/acme"))}),
            ("wildcardScope All", {"policy": RewritePolicy(wildcard_scope=WildcardScope.ALL)}),
            ("additionalImages", {"claimed_images": selectors("quay.io/acme/api")}),
            ("upstreams", {"claimed_upstreams": patterns("quay.io/acme")}),
        ],
    )
)
UNCLAIMED: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("another namespace", {"claims": {"elsewhere": "my-app"}}),
    ("another application's namespace", {"claims": {"ns": "other"}}),
    ("other include", {"policy": RewritePolicy(include=patterns("quay.io/acme2"))}),
    ("other additionalImages", {"claimed_images": selectors("quay.io/acme/api:2")}),
    ("other upstreams", {"claimed_upstreams": patterns("quay.io/acme/api2")}),
]


def decide_under_wildcard(arrangement: dict[str, Any]) -> ImageDecision:
    """Decide `quay.io/acme/api:1` where only `"*"` covers."""
    mine = {key: value for key, value in arrangement.items() if key.startswith("claimed_")}
    others = {key: value for key, value in arrangement.items() if key not in mine}
    return decide("quay.io/acme/api:1", a_route(every_namespace=True, **mine), **others)


@pytest.mark.parametrize("arrangement", [row[1] for row in CLAIMS], ids=ids(CLAIMS))
def test_claimed_image_is_rewritten_under_the_wildcard(arrangement: dict[str, Any]) -> None:
    """Where only `"*"` covers, each kind of claim by itself makes the image the application's."""
    assert f"{P}/quay.io/acme/api:1" == decide_under_wildcard(arrangement).image


@pytest.mark.parametrize("arrangement", [row[1] for row in UNCLAIMED], ids=ids(UNCLAIMED))
def test_unclaimed_image_stays_under_the_wildcard(arrangement: dict[str, Any]) -> None:
    """Where only `"*"` covers, an image that nothing claims is left alone."""
    decision = decide_under_wildcard(arrangement)
    expected = ("quay.io/acme/api:1", Reason.NOT_CLAIMED)

    assert expected == (decision.image, decision.reason)


def test_listed_namespace_needs_no_claim() -> None:
    """In an explicitly listed namespace every image is the application's."""
    table = a_table(a_route(), listed={"ns": (0,)})
    context = select_route(a_pod("nginx"), "ns", table, ANY_POLICY)

    assert isinstance(context, RewriteContext)
    assert f"{P}/nginx" == decide_image(a_slot("nginx"), context).image
