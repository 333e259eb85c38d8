"""Laws that hold for every Pod, checked with Pods that Hypothesis makes up.

The patch is applied by an independent library to the raw JSON, and the result is compared with a plan made here
from the decisions alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    CUSTOM_HOSTS,
    DEFAULT_HOSTS,
    DIGEST,
    SECRET_NAME,
    a_license,
    a_route,
    a_table,
    an_application,
    patterns,
    read_pod,
)
from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.hosts import HostOverrides, Hosts, resolve_hosts
from replicated_proxy.core.images import InvalidImageReference, parse_image
from replicated_proxy.core.pods import Carrier
from replicated_proxy.core.reasons import Outcome
from replicated_proxy.core.rewriting import RewritePolicy, WildcardScope
from replicated_proxy.core.routes import RoutingTable

Json = dict[str, Any]
ANNOTATION = "proxy.kots.io/original-images"
OUR_PLACES = re.compile(
    r"/spec/(containers|initContainers|ephemeralContainers)/\d+/image|/spec/volumes/\d+/image/reference"
    r"|/spec/imagePullSecrets(/-)?|/metadata/annotations(/proxy\.kots\.io~1original-images)?"
)

component = st.from_regex(r"[a-z0-9]{1,8}(?:(?:[._]|__|--?)[a-z0-9]{1,4})?", fullmatch=True)
hosts = st.sampled_from([
    "docker.io", "index.docker.io", "quay.io", "ghcr.io", "a.b-c.d", "10.0.0.1", "Quay.io", "localhost", "127.0.0.1",
    "reg.example.com:5000", "[::1]", "[::1]:5000", "my_host.example.com", "proxy.replicated.com",
    "registry.replicated.com", "proxy.acme.com", "reg.acme.com", "proxy.staging.replicated.com",
    "registry.staging.replicated.com",
])  # fmt: skip
paths = st.lists(component, min_size=1, max_size=4).map("/".join) | st.integers(180, 260).map(lambda size: "a" * size)
tags = st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
digests = st.just("") | st.just("@" + DIGEST)
well_formed = st.builds(
    lambda host, path, tag, digest: (host and f"{host}/") + path + tag + digest,
    st.just("") | hosts,
    paths,
    tags,
    digests,
)
images = well_formed | st.text(max_size=20) | st.sampled_from(["auto", "sha256:" + "a" * 64, "a" * 64])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
unknown_fields = st.dictionaries(st.text(max_size=5).map("x".__add__), json_values, max_size=2)


@st.composite
def items(draw: st.DrawFn, *, volumes: bool) -> list[Json]:
    """Make a list of containers or volumes, with fields that nobody knows."""
    made = []
    for number in range(draw(st.integers(0, 3))):
        image = draw(st.fixed_dictionaries({}, optional={"image": images}))
        if draw(st.integers(0, 9)) == 0:
            image["pullPolicy" if volumes else "imagePullPolicy"] = "Never"
        if volumes:
            image = {"image": {"reference" if key == "image" else key: value for key, value in image.items()}}
            image = draw(st.sampled_from([image, {"emptyDir": {}}]))
        made.append(draw(unknown_fields) | {"name": f"n{number}"} | image)
    return made


pull_secrets = st.lists(
    st.sampled_from(["one", "two", SECRET_NAME]).map(lambda name: {"name": name}) | unknown_fields, max_size=3
)
records = st.sampled_from(['{"containers/n0":"old"}', "{}", "garbage", "[]", '{"a":1}', '{"é":"x"}']) | st.text(
    max_size=9
)
annotation_maps = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2)
recorded = st.builds(lambda others, record: others | {ANNOTATION: record}, annotation_maps, records)
marks = st.dictionaries(
    st.sampled_from(["proxy.kots.io/app", "kots.io/app-slug", "other"]), st.sampled_from(["my-app", "x"]), max_size=2
)
pods = st.builds(
    lambda body, metadata, spec: body | {"metadata": metadata, "spec": spec},
    unknown_fields,
    st.builds(
        lambda unknown, known: unknown | known,
        unknown_fields,
        st.fixed_dictionaries({}, optional={"annotations": st.none() | annotation_maps | recorded, "labels": marks}),
    ),
    st.builds(
        lambda unknown, known: unknown | known,
        unknown_fields,
        st.fixed_dictionaries(
            {"containers": items(volumes=False)},
            optional={
                "initContainers": items(volumes=False),
                "ephemeralContainers": items(volumes=False),
                "volumes": items(volumes=True),
                "imagePullSecrets": st.none() | pull_secrets,
            },
        ),
    ),
)
STAGING = Hosts("proxy.acme.com", "reg.acme.com", "proxy.staging.replicated.com", "registry.staging.replicated.com")
PORTS = Hosts("proxy.acme.com:8443", "reg.acme.com:8443")
tables = st.builds(
    lambda hosts, own, other: a_table(
        a_route(namespace="app" if own else "elsewhere", hosts=hosts, every_namespace=True), *other
    ),
    st.sampled_from([DEFAULT_HOSTS, CUSTOM_HOSTS, STAGING, PORTS]),
    st.booleans(),
    st.sampled_from([(), (a_route("x", "b", hosts=CUSTOM_HOSTS, every_namespace=True),)]),
)
policies = st.builds(
    RewritePolicy,
    exclude=st.sampled_from([(), patterns("quay.io")]),
    wildcard_scope=st.sampled_from(WildcardScope),
    canonical_names=st.booleans(),
)


def review(body: Json, table: RoutingTable, policy: RewritePolicy, *, ephemeral: bool = False) -> Verdict:
    """Review the raw Pod in the namespace `app`."""
    return review_pod(PodReview("app", read_pod(body), ephemeral=ephemeral), table, policy)


def apply(body: Json, verdict: Verdict) -> Json:
    """Apply the patch as the API server would, by a library that knows nothing of us."""
    patched: Json = jsonpatch.apply_patch(copy.deepcopy(body), copy.deepcopy(list(verdict.patch)))
    return patched


def image_holders(body: Json) -> Iterator[tuple[str, Json, str]]:
    """Yield each image slot of a raw Pod: its key, the object that holds the text, and the field."""
    for carrier in Carrier:
        for item in body["spec"].get(carrier) or []:
            if carrier is not Carrier.VOLUMES:
                yield f"{carrier}/{item['name']}", item, "image"
            elif item.get("image") is not None:
                yield f"{carrier}/{item['name']}", item["image"], "reference"


def planned(body: Json, verdict: Verdict) -> Json:
    """Make the Pod that the decisions promise, without looking at the patch."""
    pod = copy.deepcopy(body)
    changed = {one.slot.key: one for one in verdict.decisions if one.outcome is not Outcome.UNTOUCHED}
    for key, holder, field in image_holders(pod):
        if key in changed:
            holder[field] = changed[key].image
    names = [entry.get("name") for entry in pod["spec"].get("imagePullSecrets") or []]
    if any(one.needs_license for one in verdict.decisions) and SECRET_NAME not in names:
        pod["spec"]["imagePullSecrets"] = [*(pod["spec"].get("imagePullSecrets") or []), {"name": SECRET_NAME}]
    if changed:
        pod["metadata"]["annotations"] = dict(pod["metadata"].get("annotations") or {})
        record = read_record(pod) | {key: one.slot.image for key, one in changed.items()}
        pod["metadata"]["annotations"][ANNOTATION] = record
    return pod


def read_record(body: Json) -> Json:
    """Read the annotation: a map of text to text, or nothing."""
    try:
        record = json.loads((body["metadata"].get("annotations") or {}).get(ANNOTATION, "{}"))
    except ValueError:
        return {}
    usable = isinstance(record, dict) and all(isinstance(value, str) for value in record.values())
    return record if usable else {}


def without_our_places(body: Json) -> Json:
    """Return the Pod without image slots, pull-secret list and our annotation."""
    pod = copy.deepcopy(body)
    for _, holder, field in image_holders(pod):
        holder.pop(field, None)
    pod["spec"].pop("imagePullSecrets", None)
    others = pod["metadata"].pop("annotations", None) or {}
    return pod | {"annotations": {key: value for key, value in others.items() if key != ANNOTATION}}


@given(pods, tables, policies)
def test_applied_patch_is_the_planned_pod(body: Json, table: RoutingTable, policy: RewritePolicy) -> None:
    """The patch, applied to the raw Pod by another library, gives what the decisions promise."""
    verdict = review(body, table, policy)
    actual = apply(body, verdict)
    if any(one.outcome is not Outcome.UNTOUCHED for one in verdict.decisions):
        actual["metadata"]["annotations"][ANNOTATION] = json.loads(actual["metadata"]["annotations"][ANNOTATION])

    assert planned(body, verdict) == actual


@given(pods, tables, policies)
def test_second_review_changes_nothing(body: Json, table: RoutingTable, policy: RewritePolicy) -> None:
    """Reviewing our own output gives no patch, with default and with custom domains."""
    patched = apply(body, review(body, table, policy))
    expected = ()

    assert expected == review(patched, table, policy).patch


@given(pods, tables, policies)
def test_second_review_of_ephemeral_containers_changes_nothing(
    body: Json, table: RoutingTable, policy: RewritePolicy
) -> None:
    """The same holds for updates of ephemeral containers, where only image strings change."""
    first = review(body, table, policy, ephemeral=True)
    patched = apply(body, first)

    assert all(re.fullmatch(r"/spec/ephemeralContainers/\d+/image", one["path"]) for one in first.patch)
    assert review(patched, table, policy, ephemeral=True).patch == ()


@given(pods, tables, policies, st.booleans())
def test_patch_stays_in_its_places(body: Json, table: RoutingTable, policy: RewritePolicy, ephemeral: bool) -> None:
    """Nothing but image slots, the pull-secret list and one annotation changes; unknown fields survive."""
    verdict = review(body, table, policy, ephemeral=ephemeral)
    expected: list[str] = []

    assert expected == [one["path"] for one in verdict.patch if not OUR_PLACES.fullmatch(one["path"])]
    assert without_our_places(body) == without_our_places(apply(body, verdict))


@given(pods, tables, policies)
def test_pull_secrets_that_are_there_keep_their_order(body: Json, table: RoutingTable, policy: RewritePolicy) -> None:
    """Earlier entries of the pull-secret list stay in front, as they were."""
    before = body["spec"].get("imagePullSecrets") or []
    after = apply(body, review(body, table, policy))["spec"].get("imagePullSecrets") or []

    assert (before, True) == (after[: len(before)], after[len(before) :] in ([], [{"name": SECRET_NAME}]))


@given(pods, tables, policies)
def test_untouched_is_byte_identical(body: Json, table: RoutingTable, policy: RewritePolicy) -> None:
    """An image that stays keeps every byte, and a Pod whose images all stay without a license has no patch."""
    verdict = review(body, table, policy)
    stays = [one for one in verdict.decisions if one.outcome is Outcome.UNTOUCHED]

    assert [one.slot.image for one in stays] == [one.image for one in stays]
    if len(stays) == len(verdict.decisions) and not any(one.needs_license for one in stays):
        assert verdict.patch == ()


@given(images, tables, policies)
def test_rewritten_image_is_a_reference_with_the_same_tag_and_digest(
    image: str, table: RoutingTable, policy: RewritePolicy
) -> None:
    """What is written into a Pod parses, and tag and digest are those of the original."""
    body = {
        "metadata": {"labels": {"proxy.kots.io/app": "my-app"}},
        "spec": {"containers": [{"name": "n0", "image": image}]},
    }
    (decision,) = review(body, table, policy).decisions
    if decision.outcome is Outcome.UNTOUCHED:
        return
    before, after = parse_image(image), parse_image(decision.image)

    assert (before.tag, before.digest, before.suffix) == (after.tag, after.digest, after.suffix)


@given(images)
def test_name_and_suffix_are_the_text(text: str) -> None:
    """A reference taken apart and put together again is the text as written."""
    try:
        reference = parse_image(text)
    except InvalidImageReference:
        return
    tag, digest = reference.tag, reference.digest

    assert text == reference.text == reference.name + reference.suffix
    assert reference.suffix == (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


@given(images)
def test_spelled_out_reference_is_spelled_out_already(text: str) -> None:
    """Normalizing the normal form changes nothing more."""
    try:
        reference = parse_image(text)
    except InvalidImageReference:
        return

    assert reference.normalized == parse_image(reference.normalized).normalized


words = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9](?:\.[a-z]{2,5}){0,2}(?::[0-9]{2,4})?", fullmatch=True)


@given(words, images)
def test_custom_domain_that_is_accepted_is_recognised_again(domain: str, image: str) -> None:
    """Whatever an Application may give as its proxy domain, a second review changes nothing."""
    lic, application = a_license(), an_application(proxyRegistryDomain=domain)
    table = a_table(a_route(hosts=resolve_hosts(lic, [application], HostOverrides())))
    body = {"metadata": {}, "spec": {"containers": [{"name": "n0", "image": image}]}}
    patched = apply(body, review(body, table, RewritePolicy()))
    expected = ()

    assert expected == review(patched, table, RewritePolicy()).patch
