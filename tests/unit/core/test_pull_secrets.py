"""What happens to the pull secret of a namespace."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_license, an_application, ids
from replicated_proxy.core.coverage import CoverageSettings, Sources, plan_table
from replicated_proxy.core.licenses import License
from replicated_proxy.core.namespaces import Namespace
from replicated_proxy.core.pull_secrets import (
    INSTALLATION_ANNOTATION,
    INSTALLATION_LABEL,
    Action,
    DesiredSecret,
    Ownership,
    SecretPlan,
    plan_secret,
    read_secret,
    render_secret,
    render_update,
)
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.secret_contents import SecretContents

OWNERSHIP = Ownership("operators/release", "replicated-proxy-registry")
ELSEWHERE = Ownership("operators/another-release", "replicated-proxy-registry")
WANTED, OLD = DesiredSecret(b'{"auths":{}}', ("uid-1",)), DesiredSecret(b'{"auths":{"old":{}}}', ("uid-1",))
OF_OTHERS = DesiredSecret(WANTED.content, ("uid-1", "uid-2"))
Json = dict[str, Any]


def a_secret(written: DesiredSecret = WANTED, ownership: Ownership | None = OWNERSHIP, **differs: Any) -> Json:
    """Return our Secret as the API server would show it; without ownership somebody else's of the same name."""
    body = render_secret("ns", written, ownership or OWNERSHIP)
    if ownership is None:
        del body["metadata"]["labels"], body["metadata"]["annotations"]
    body["metadata"] |= {"uid": "u", "resourceVersion": "7"} | differs.pop("metadata", {})
    return body | differs


def plan(body: Json | None, desired: DesiredSecret | None = WANTED) -> SecretPlan:
    """Plan for a namespace in which this Secret stands."""
    return plan_secret("ns", desired, read_secret(body, OWNERSHIP) if body else None)


ADOPT: Json = {"annotations": {"proxy.kots.io/adopt": "true"}}
EXTRA: Json = {"data": {**a_secret()["data"], "other": "eA=="}}
PLANS: list[tuple[str, Json | None, DesiredSecret | None, Action]] = [
    ("missing and wanted", None, WANTED, Action.CREATE),
    ("missing and not wanted", None, None, Action.NOTHING),
    ("as wanted", a_secret(), WANTED, Action.NOTHING),
    ("other content", a_secret(OLD), WANTED, Action.UPDATE),
    ("made from other Licenses", a_secret(OF_OTHERS), WANTED, Action.UPDATE),
    ("content removed", a_secret(data={}), WANTED, Action.UPDATE),
    ("no data", a_secret(data=None), WANTED, Action.UPDATE),
    ("content that is no base64", a_secret(data={".dockerconfigjson": "!"}), WANTED, Action.UPDATE),
    ("content that is no ASCII", a_secret(data={".dockerconfigjson": "é"}), WANTED, Action.UPDATE),
    ("content behind the hash", a_secret(data=a_secret(OLD)["data"]), WANTED, Action.UPDATE),
    ("another key beside it", a_secret(**EXTRA), WANTED, Action.UPDATE),
    ("other type", a_secret(type="Opaque"), WANTED, Action.REPLACE),
    ("immutable with other content", a_secret(OLD, immutable=True), WANTED, Action.REPLACE),
    ("immutable as wanted", a_secret(immutable=True), WANTED, Action.NOTHING),
    ("no longer wanted", a_secret(), None, Action.DELETE),
    ("no longer wanted, of another type", a_secret(type="Opaque"), None, Action.DELETE),
    ("somebody else's", a_secret(ownership=None), WANTED, Action.CONFLICT),
    ("somebody else's, not wanted", a_secret(ownership=None), None, Action.NOTHING),
    ("another installation's", a_secret(ownership=ELSEWHERE), WANTED, Action.CONFLICT),
    ("another installation's, not wanted", a_secret(ownership=ELSEWHERE), None, Action.NOTHING),
    ("offered for adoption", a_secret(ownership=None, metadata=ADOPT), WANTED, Action.UPDATE),
    ("offered, of another type", a_secret(ownership=None, metadata=ADOPT, type="Opaque"), WANTED, Action.REPLACE),
    ("offered, not wanted", a_secret(ownership=None, metadata=ADOPT), None, Action.NOTHING),
    (
        "offered by another word",
        a_secret(ownership=None, metadata={"annotations": {"proxy.kots.io/adopt": "yes"}}),
        WANTED,
        Action.CONFLICT,
    ),
]


@pytest.mark.parametrize(("body", "desired", "action"), [row[1:] for row in PLANS], ids=ids(PLANS))
def test_desired_is_compared_with_what_is_there(
    body: Json | None, desired: DesiredSecret | None, action: Action
) -> None:
    """Ours is made, mended in place, replaced or deleted; a foreign Secret is never touched."""
    assert action == plan(body, desired).action


STRIPPED: list[tuple[str, Json, Action]] = [
    ("content label", {"labels": OWNERSHIP.labels}, Action.UPDATE),
    ("all labels", {"labels": None}, Action.UPDATE),
    ("annotation", {"annotations": None}, Action.UPDATE),
    (
        "another manager's label",
        {"labels": OWNERSHIP.labels | {"app.kubernetes.io/managed-by": "Helm"}},
        Action.UPDATE,
    ),
    (
        "another installation's label and annotation",
        {
            "labels": {"app.kubernetes.io/managed-by": "replicated-proxy-operator", INSTALLATION_LABEL: "other"},
            "annotations": {INSTALLATION_ANNOTATION: "other/other"},
        },
        Action.CONFLICT,
    ),
    ("labels and annotation", {"labels": None, "annotations": None}, Action.CONFLICT),
]


@pytest.mark.parametrize(("metadata", "action"), [row[1:] for row in STRIPPED], ids=ids(STRIPPED))
def test_marks_that_were_stripped_are_mended_while_any_is_left(metadata: Json, action: Action) -> None:
    """Our Secret is known by its label or by its annotation, so that one edit makes it no stranger."""
    assert action == plan(a_secret(metadata=metadata)).action


def test_labels_of_others_are_no_reason_to_write() -> None:
    """What somebody adds to metadata stays and is left alone."""
    body = a_secret()
    body["metadata"]["labels"]["team"] = "x"
    body["metadata"]["annotations"]["note"] = "y"
    expected = Action.NOTHING

    assert expected == plan(body).action


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def carry_out(step: SecretPlan, body: Json | None) -> Json | None:
    """Do to the Secret what the plan says."""
    if step.desired and step.action in {Action.CREATE, Action.REPLACE}:
        return render_secret(step.namespace, step.desired, OWNERSHIP)
    if step.desired and step.observed and step.action is Action.UPDATE:
        patch = render_update(step.namespace, step.desired, step.observed, OWNERSHIP)
        merged: Json = merge(copy.deepcopy(body), patch)
        return merged
    return None if step.action is Action.DELETE else body


ours = st.builds(a_secret, st.sampled_from([WANTED, OLD, OF_OTHERS]), st.sampled_from([OWNERSHIP, ELSEWHERE, None]))
edits = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Opaque", "kubernetes.io/dockerconfigjson"]),
        "immutable": st.booleans(),
        "data": st.none() | st.dictionaries(st.sampled_from([".dockerconfigjson", "x"]), st.sampled_from(["eA==", ""])),
    },
)
metadata_edits = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.none() | st.just(OWNERSHIP.labels) | st.just({"team": "x"}),
        "annotations": st.none() | st.just(ADOPT["annotations"]) | st.just({"proxy.kots.io/installation": "x"}),
    },
)
secrets = st.none() | st.builds(
    lambda body, edit, metadata: body | edit | {"metadata": body["metadata"] | metadata}, ours, edits, metadata_edits
)


@given(secrets, st.sampled_from([WANTED, OLD, None]))
def test_plan_converges_in_one_step(body: Json | None, desired: DesiredSecret | None) -> None:
    """After carrying out a plan there is nothing left to do; a conflict stays one, and nothing else does."""
    step = plan(body, desired)
    after = carry_out(step, body)
    expected = step.action if step.action is Action.CONFLICT else Action.NOTHING

    assert expected == plan(after, desired).action


@given(secrets, st.sampled_from([WANTED, OLD, None]))
def test_foreign_secret_is_never_touched(body: Json | None, desired: DesiredSecret | None) -> None:
    """Without our marks, and without the owner's offer, a Secret of our name is left exactly as it is."""
    observed = read_secret(body, OWNERSHIP) if body else None
    if observed is None or observed.ours or observed.adoptable:
        return

    assert plan_secret("ns", desired, observed).action in {Action.CONFLICT, Action.NOTHING}


def test_rendered_secret() -> None:
    """The object has our marks, its Licenses and the content, and no owner references or finalizers."""
    body = render_secret("ns", OF_OTHERS, OWNERSHIP)

    assert {"name", "namespace", "labels", "annotations"} == set(body["metadata"])
    assert (
        body["metadata"]["namespace"],
        body["metadata"]["name"],
        body["type"],
        base64.b64decode(body["data"][".dockerconfigjson"]),
    ) == ("ns", "replicated-proxy-registry", "kubernetes.io/dockerconfigjson", WANTED.content)
    assert all(len(value) <= 63 for value in body["metadata"]["labels"].values())
    assert body["metadata"]["annotations"]["proxy.kots.io/licenses"] == "uid-1,uid-2"
    assert read_secret(body, OWNERSHIP).licenses == OF_OTHERS.licenses


def test_update_carries_its_precondition_and_takes_foreign_keys_out() -> None:
    """The patch holds the resourceVersion that was seen, and null for each data key that we did not write."""
    patch = render_update("ns", WANTED, read_secret(a_secret(OLD, **EXTRA), OWNERSHIP), OWNERSHIP)
    expected = ("7", None)

    assert expected == (patch["metadata"]["resourceVersion"], patch["data"]["other"])


def test_content_never_shows_itself() -> None:
    """Plans and observations can be logged by accident without harm."""
    assert "auths" not in repr(plan(a_secret(OLD)))


def contents(*licenses: License, wildcard: bool = False, namespaces: tuple[Namespace, ...] = ()) -> SecretContents:
    """Plan contents for Licenses that list the namespace `shared`, or everything."""
    applications = tuple(
        an_application(
            "*" if wildcard else "shared",
            metadata={"name": lic.app_slug, "labels": {"kots.io/app-slug": lic.app_slug}},
        )
        for lic in licenses
    )
    settings = CoverageSettings("secret", frozenset({"kube-system"}))
    planned = plan_table(Sources(licenses, applications), namespaces, settings, RoutingTable("secret"))
    return SecretContents(planned, {lic.identity.uid: lic for lic in licenses})


def content_of(found: SecretContents, namespace: str) -> bytes | None:
    """Return the bytes for a namespace where nothing stands yet."""
    desired = found.desired(namespace, None)
    return desired.content if desired else None


def test_namespace_of_one_license_gets_its_credential() -> None:
    """One License gives the two default hosts, in every namespace that it covers and in no other."""
    found = contents(a_license(licenseID="abc"))
    kots = (
        b'{"auths":{"proxy.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="},'
        b'"registry.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="}}}'
    )

    assert (kots, kots, None) == tuple(content_of(found, name) for name in ("app", "shared", "other"))


def test_custom_domains_stand_beside_the_default_hosts() -> None:
    """The effective and the default hosts are all in the Secret."""
    content = content_of(contents(a_license(replicatedProxyDomain="proxy.acme.com")), "app") or b""
    expected = [True, True, True]

    assert expected == [
        host in content for host in (b"proxy.acme.com", b"proxy.replicated.com", b"registry.replicated.com")
    ]


def test_namespace_of_several_licenses_gets_all_of_them() -> None:
    """Two applications that list one namespace share its Secret, whatever their order."""
    one, two = a_license("one"), a_license("two")
    desired = contents(one, two).desired("shared", None)

    assert desired == contents(two, one).desired("shared", None)
    assert desired is not None
    assert desired.licenses == (one.identity.uid, two.identity.uid)
    assert [key in desired.content for key in (b"/proxy/one/", b"/proxy/two/")] == [True, True]


def test_excluded_namespace_gets_nothing() -> None:
    """Under the wildcard neither a system namespace nor one that opted out gets a Secret."""
    opted_out = Namespace("out", labels={"proxy.kots.io/sync": "disabled"})
    found = contents(a_license(), wildcard=True, namespaces=(opted_out,))
    expected = (False, False, True)

    assert expected == tuple(bool(found.desired(name, None)) for name in ("kube-system", "out", "new"))


def test_license_that_is_no_longer_known_gives_no_bytes() -> None:
    """A route that was taken over without its License has no credential to write."""
    found = contents(a_license())

    assert SecretContents(found.plan, {}).desired("app", None) is None


ALIKE: list[tuple[str, SecretContents, bool]] = [
    ("the same", contents(a_license()), True),
    (
        "a claim of a namespace",
        contents(a_license(), namespaces=(Namespace("a", labels={"proxy.kots.io/app": "x"}),)),
        True,
    ),
    (
        "no rewriting",
        contents(a_license(), namespaces=(Namespace("a", labels={"proxy.kots.io/rewrite": "disabled"}),)),
        True,
    ),
    ("no sync", contents(a_license(), namespaces=(Namespace("a", labels={"proxy.kots.io/sync": "disabled"}),)), False),
    ("another ID", contents(a_license(licenseID="new")), False),
    ("another domain", contents(a_license(replicatedProxyDomain="proxy.acme.com")), False),
    ("another License", contents(a_license(), a_license("other")), False),
    ("the wildcard", contents(a_license(), wildcard=True), False),
]


@pytest.mark.parametrize(("other", "expected"), [row[1:] for row in ALIKE], ids=ids(ALIKE))
def test_plans_are_alike_when_they_put_the_same_bytes_into_the_same_namespaces(
    other: SecretContents, expected: bool
) -> None:
    """Labels that concern only images do not make every namespace be looked at again."""
    assert expected == contents(a_license()).decides_like(other)
