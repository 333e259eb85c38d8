"""Which License decides a Pod, and every reason why none does (`rewriting.select_route`)."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_pod, a_route, a_table, ids
from replicated_proxy.core.pods import Pod
from replicated_proxy.core.reasons import Reason
from replicated_proxy.core.rewriting import Mode, RewriteContext, RewritePolicy, select_route
from replicated_proxy.core.routes import RoutingTable

EVERYWHERE: dict[str, Any] = {"every_namespace": True}
OFF, ON = RewritePolicy(mode=Mode.OFF), RewritePolicy()


def chosen(pod: Pod, table: RoutingTable, policy: RewritePolicy | None = None) -> str:
    """Return the slug of the License that decides a Pod in `ns`, or the reason why none does."""
    found = select_route(pod, "ns", table, policy or RewritePolicy())
    return found.covering.route.app_slug if isinstance(found, RewriteContext) else found


LABEL, SLUG_LABEL = "proxy.kots.io/app", "kots.io/app-slug"
TWO_EVERYWHERE = a_table(a_route("one", "a", **EVERYWHERE), a_route("two", "b", **EVERYWHERE))
OWN_AND_LISTED = a_table(a_route("own", "ns"), a_route("listed", "b"), listed={"ns": (1,)})
LISTED_AND_EVERYWHERE = a_table(a_route("wild", "a", **EVERYWHERE), a_route("listed", "b"), listed={"ns": (1,)})
BOTH_LISTED = a_table(a_route("one", "a"), a_route("two", "b"), listed={"ns": (0, 1)})
BOTH_OWN = a_table(a_route("one", "ns"), a_route("two", "ns"))

CHOICES: list[tuple[str, dict[str, Any], RoutingTable, str]] = [
    ("the only one", {}, a_table(a_route("one", "ns")), "one"),
    ("own beats listed", {}, OWN_AND_LISTED, "own"),
    ("listed beats wildcard", {}, LISTED_AND_EVERYWHERE, "listed"),
    ("annotation chooses", {"annotations": {LABEL: "two"}}, TWO_EVERYWHERE, "two"),
    ("label chooses", {"labels": {LABEL: "two"}}, TWO_EVERYWHERE, "two"),
    ("app-slug label chooses", {"labels": {SLUG_LABEL: "two"}}, TWO_EVERYWHERE, "two"),
    ("app beats app-slug", {"labels": {LABEL: "one", SLUG_LABEL: "two"}}, TWO_EVERYWHERE, "one"),
    (
        "app annotation beats app-slug",
        {"annotations": {LABEL: "one"}, "labels": {SLUG_LABEL: "two"}},
        TWO_EVERYWHERE,
        "one",
    ),
    ("word beats own", {"labels": {LABEL: "listed"}}, OWN_AND_LISTED, "listed"),
    ("word beats listed", {"labels": {LABEL: "wild"}}, LISTED_AND_EVERYWHERE, "wild"),
    ("several listed", {}, BOTH_LISTED, "ambiguous-license"),
    ("several own", {}, BOTH_OWN, "ambiguous-license"),
    ("several wildcards", {}, TWO_EVERYWHERE, "ambiguous-license"),
    ("app-slug annotation does not choose", {"annotations": {SLUG_LABEL: "two"}}, TWO_EVERYWHERE, "ambiguous-license"),
    ("unknown application", {"labels": {LABEL: "three"}}, TWO_EVERYWHERE, "no-license"),
]


@pytest.mark.parametrize(("pod", "table", "expected"), [row[1:] for row in CHOICES], ids=ids(CHOICES))
def test_nearest_license_decides_unless_the_pod_names_one(
    pod: dict[str, Any], table: RoutingTable, expected: str
) -> None:
    """The Pod's word counts first, then own, listed and wildcard coverage; a tie decides nothing."""
    assert expected == chosen(a_pod("nginx", **pod), table)


CLAIMS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("nothing", {}, "", False),
    ("namespace", {}, "one", True),
    ("namespace of another", {}, "two", False),
    ("Pod label", {"labels": {LABEL: "one"}}, "", True),
    ("Pod annotation", {"annotations": {LABEL: "one"}}, "", True),
    ("Pod app-slug label", {"labels": {SLUG_LABEL: "one"}}, "", True),
    ("Pod app-slug annotation", {"annotations": {SLUG_LABEL: "one"}}, "", True),
    ("Pod beats namespace of another", {"labels": {LABEL: "one"}}, "two", True),
    ("Pod app-slug beats namespace of another", {"labels": {SLUG_LABEL: "one"}}, "two", True),
    ("Pod of another beats namespace", {"annotations": {SLUG_LABEL: "two"}}, "one", False),
    ("empty mark of the Pod is none", {"labels": {LABEL: ""}}, "one", True),
]


@pytest.mark.parametrize(("pod", "claim", "expected"), [row[1:] for row in CLAIMS], ids=ids(CLAIMS))
def test_pod_s_own_mark_decides_the_claim(pod: dict[str, Any], claim: str, expected: bool) -> None:
    """The namespace's mark counts only where the Pod has none of its own."""
    claims = {"ns": claim} if claim else {}
    context = select_route(a_pod("nginx", **pod), "ns", a_table(a_route("one", "a", **EVERYWHERE), claims=claims), ON)

    assert isinstance(context, RewriteContext)
    assert expected == context.claimed


OPT_OUTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("label", {"labels": {"proxy.kots.io/rewrite": "disabled"}}, {}),
    ("annotation", {"annotations": {"proxy.kots.io/rewrite": "disabled"}}, {}),
    ("owner", {"owners": ("Cluster.postgresql.cnpg.io",)}, {}),
    ("label of an owner's owner", {"labels": {"aerospike.com/cr": "any"}}, {}),
    ("label with a value", {"labels": {"application": "spilo"}}, {}),
    ("namespace", {}, {"unrewritten": frozenset({"ns"})}),
]
POLICY_WITH_OWNERS = RewritePolicy(
    excluded_owners=frozenset({"Cluster.postgresql.cnpg.io"}),
    excluded_labels=(("aerospike.com/cr", ""), ("application", "spilo")),
)


@pytest.mark.parametrize(("pod", "rules"), [row[1:] for row in OPT_OUTS], ids=ids(OPT_OUTS))
def test_pod_that_asks_to_be_left_alone_is(pod: dict[str, Any], rules: dict[str, Any]) -> None:
    """The Pod, its namespace or a controller that compares images takes a Pod out."""
    table = a_table(a_route("one", "ns"), **rules)
    expected = Reason.OPTED_OUT

    assert expected == chosen(a_pod("nginx", **pod), table, POLICY_WITH_OWNERS)


NO_OPT_OUTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("other value", {"labels": {"proxy.kots.io/rewrite": "enabled"}}, {}),
    ("other group", {"owners": ("Cluster.cluster.x-k8s.io",)}, {}),
    ("other value of the label", {"labels": {"application": "web"}}, {}),
    ("value as the key", {"labels": {"spilo": "application"}}, {}),
    ("other namespace", {}, {"unrewritten": frozenset({"elsewhere"})}),
]


@pytest.mark.parametrize(("pod", "rules"), [row[1:] for row in NO_OPT_OUTS], ids=ids(NO_OPT_OUTS))
def test_only_the_exact_opt_out_counts(pod: dict[str, Any], rules: dict[str, Any]) -> None:
    """Other values, owners and namespaces change nothing."""
    table = a_table(a_route("one", "ns"), **rules)

    assert chosen(a_pod("nginx", **pod), table, POLICY_WITH_OWNERS) == "one"


def gone(slug: str, namespace: str) -> Any:
    """Return the route of an expired License under `Revoke`."""
    return a_route(slug, namespace, expired=True)


# Each row makes its own reason and every later one of the specification's list apply.
CONFLICT: dict[str, Any] = {"conflicts": frozenset({"ns"})}
OUT: dict[str, Any] = {"labels": {"proxy.kots.io/rewrite": "disabled"}}
ORDER: list[tuple[Reason, RewritePolicy, dict[str, Any], RoutingTable]] = [
    (Reason.MODE_OFF, OFF, OUT, a_table(gone("one", "elsewhere"), **CONFLICT)),
    (Reason.OPTED_OUT, ON, OUT, a_table(gone("one", "elsewhere"), **CONFLICT)),
    (Reason.NO_LICENSE, ON, {}, a_table(gone("one", "elsewhere"), **CONFLICT)),
    (Reason.LICENSE_EXPIRED, ON, {}, a_table(gone("one", "ns"), **CONFLICT)),
    (Reason.LICENSE_EXPIRED, ON, {}, a_table(gone("one", "ns"), gone("two", "ns"), **CONFLICT)),
    (Reason.AMBIGUOUS_LICENSE, ON, {}, a_table(a_route("one", "ns"), a_route("two", "ns"), **CONFLICT)),
    (Reason.SECRET_CONFLICT, ON, {}, a_table(a_route("one", "ns"), **CONFLICT)),
]


@pytest.mark.parametrize(
    ("reason", "policy", "pod", "table"), ORDER, ids=[f"{row[0]}-{len(row[3].routes)}" for row in ORDER]
)
def test_first_reason_of_the_pod_counts(
    reason: Reason, policy: RewritePolicy, pod: dict[str, Any], table: RoutingTable
) -> None:
    """Where several reasons apply to a Pod the one named first in the specification is given."""
    assert reason == chosen(a_pod("nginx", **pod), table, policy)


UNREACHED: list[tuple[str, dict[str, Any]]] = [
    ("name", {"excluded": frozenset({"ns"})}),
    ("glob", {"excluded_globs": ("n?",)}),
]


@pytest.mark.parametrize("rules", [row[1] for row in UNREACHED], ids=ids(UNREACHED))
def test_excluded_namespace_has_no_license(rules: dict[str, Any]) -> None:
    """Exclusion beats a License's own namespace and explicit listing."""
    table = a_table(a_route("one", "ns"), a_route("two", "b"), listed={"ns": (1,)}, **rules)
    expected = Reason.NO_LICENSE

    assert expected == chosen(a_pod("nginx", labels={LABEL: "one"}), table)
