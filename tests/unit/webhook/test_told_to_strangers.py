"""What somebody learns who reaches the port and is not the API server: all words of any answer are accounted for.

The table, the settings and what is known of registries are full of marked words. A caller may say any namespace and any
Pod; of the marked words no answer has others than the application's slug, its proxy and registry hosts, and the name of
the pull secret.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_route
from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.images import parse_pattern
from replicated_proxy.core.rewriting import Mode, RewritePolicy, WildcardScope
from replicated_proxy.core.routes import NamespaceRules, RoutingTable
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.reviews import MalformedReview
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, to_bytes

# Everything of ours that an answer could hold is marked by this; what callers say is not.
MARK: Final = "zzinside"
SLUG, PROXY, SECRET = f"{MARK}-slug", f"{MARK}-proxy.example", f"{MARK}-pull-secret"
REGISTRY: Final = f"{MARK}-registry.example"
MAY_BE_LEARNED: Final = {SLUG, PROXY, REGISTRY, SECRET}
HOME, LISTED = f"{MARK}-home", f"{MARK}-listed"
CLAIMED, EXCLUDED, OPTED_OUT, TAKEN = (f"{MARK}-{word}" for word in ("claimed", "excluded", "opted-out", "taken"))
NAMESPACES: Final = (HOME, LISTED, CLAIMED, EXCLUDED, OPTED_OUT, TAKEN, "kube-system", "invented", "", "x" * 100)
IMAGES: Final = (
    "nginx",
    "quay.io/my-org/api:v1",
    f"{PROXY}/proxy/{SLUG}/nginx",
    "registry.replicated.com/app/api",
    "reg.example.com:5000/api",
    "localhost/x",
    "sha256:" + "0" * 64,
    "auto",
    "",
    "UPPER.example/x",
    f"{'a' * 300}.example/x",
    "{{ .Values.image }}",
    "../../etc/passwd",
)


def a_table() -> RoutingTable:
    """Write a table in which every word is marked."""
    route = a_route(
        SLUG,
        HOME,
        license=f"{HOME}/{MARK}-license-object",
        uid=f"{MARK}-uid",
        every_namespace=True,
        hosts=Hosts(PROXY, REGISTRY),
    )
    rules = NamespaceRules(
        excluded=frozenset({EXCLUDED, "kube-system"}),
        unrewritten=frozenset({OPTED_OUT}),
        conflicts=frozenset({TAKEN}),
        claims={CLAIMED: SLUG},
    )
    return RoutingTable(secret_name=SECRET, routes=(route,), listed={LISTED: (0,)}, rules=rules)


def a_handler() -> ReviewHandler:
    """Make a handler by that table."""
    tables = TableHolder()
    tables.update(a_config_map(a_table()))
    policy = RewritePolicy(
        mode=Mode.PRIVATE,
        exclude=(parse_pattern(f"{MARK}-excluded.example/secret"),),
        include=(parse_pattern(f"{MARK}-included.example"),),
        wildcard_scope=WildcardScope.CLAIMED,
        excluded_owners=frozenset({f"Kind.{MARK}-owner.example"}),
    )
    known = Known(**{"docker.io/library/nginx": Visibility.PUBLIC, f"{MARK}-known.example/x": Visibility.PUBLIC})
    return ReviewHandler(tables, policy, known, Metrics())


def words_of(answer: bytes) -> set[str]:
    """Return the marked words of an answer, its patch unpacked."""
    response = json.loads(answer)["response"]
    patch = base64.b64decode(response.pop("patch", "")).decode()
    return set(re.findall(rf"{MARK}[-.a-z]*", json.dumps(response) + patch))


def ask(handler: ReviewHandler, body: bytes) -> set[str]:
    """Return the marked words that a caller gets to see for a review."""
    try:
        answer = handler.answer(body)
    except MalformedReview as error:
        return set(re.findall(rf"{MARK}[-.a-z]*", str(error)))
    assert isinstance(answer, bytes)
    return words_of(answer)


@pytest.mark.parametrize("labels", [{}, {"proxy.kots.io/app": "guess"}, {"kots.io/app-slug": SLUG}], ids=str)
def test_no_answer_says_more_than_slug_host_and_name_of_the_secret(labels: dict[str, str]) -> None:
    """Whatever namespace and image are asked about: no License object, no other namespace, no setting, no registry."""
    handler = a_handler()
    learned: set[str] = set()
    for namespace in NAMESPACES:
        for image in IMAGES:
            pod = a_pod_body(image, metadata={"labels": labels})
            learned |= ask(handler, to_bytes(a_review(pod, namespace=namespace))) - {namespace}

    assert learned <= MAY_BE_LEARNED


_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(IMAGES[:6]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(
    spec=st.dictionaries(st.sampled_from(["containers", "initContainers", "volumes", "imagePullSecrets"]), _JSON),
    metadata=st.dictionaries(st.sampled_from(["labels", "annotations", "ownerReferences", "name"]), _JSON),
    namespace=st.sampled_from(NAMESPACES),
    differs=st.dictionaries(st.sampled_from(["uid", "operation", "subResource", "oldObject", "dryRun"]), _JSON),
)
def test_hostile_reviews_learn_no_more(
    spec: object, metadata: object, namespace: str, differs: dict[str, object]
) -> None:
    """Nor does any shape of a review, well-formed or not, make an answer say more."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    review = a_review(pod, namespace=namespace, **differs)

    assert ask(a_handler(), to_bytes(review)) - {namespace} <= MAY_BE_LEARNED


def test_the_search_sees_what_answers_hold() -> None:
    """A word of the patch, which is packed, and one of the audit annotations are both seen."""
    told = ask(a_handler(), to_bytes(a_review(a_pod_body("quay.io/my-org/api:v1"), namespace=HOME)))

    assert told == {SLUG, PROXY, SECRET}
