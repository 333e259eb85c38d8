"""Time series are as many as the words in the code, whatever Pods are called and whatever they name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.reasons import Outcome, Reason
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, to_bytes

WORDS = {"", "true", "false", *Outcome, *Reason}
OUTCOMES = {"patched", "unchanged", "left-alone", "not-ours", "failed", "malformed"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["app", "other", "kube-system"]) | st.text(max_size=8), st.text(max_size=20)),
        max_size=8,
    )
)
def test_labels_are_words_of_the_code(pods: list[tuple[str, str]]) -> None:
    """Namespaces, names and images that a tenant chooses are in no label of reviews, Pods and images."""
    tables, metrics = TableHolder(), Metrics()
    tables.update(a_config_map())
    handler = ReviewHandler(tables, RewritePolicy(), Known(), metrics)
    for namespace, text in pods:
        handler.answer(to_bytes(a_review(a_pod_body(text, f"quay.io/{text}"), namespace=namespace, name=text)))
    samples = [
        sample
        for family in (metrics.reviews, metrics.images, metrics.pods_left_alone)
        for described in family.collect()
        for sample in described.samples
    ]

    assert {value for sample in samples for value in sample.labels.values()} <= WORDS | OUTCOMES
    assert not pods or samples
