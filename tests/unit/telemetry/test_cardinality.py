"""Time series are as many as the words in the code, whatever Pods are called and whatever they name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, to_bytes


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

    assert not foreign_words(metrics)
    assert metrics.registry.get_sample_value("replicated_proxy_review_seconds_count") == len(pods)


def foreign_words(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return every label that has another word than its metric's own, by metric and label."""
    words = {(each.name, label): known for each in metrics.described for label, known in each.labels.items()}
    return [
        (sample.name, label, word)
        for family in metrics.registry.collect()
        for sample in family.samples
        for label, word in sample.labels.items()
        if label != "le" and word not in (words[sample.name, label] or {word})
    ]


def test_foreign_word_is_found() -> None:
    """The look at labels sees what is not a word of the code."""
    metrics = Metrics()
    metrics.images.labels("rewritten", "quay.io/app")

    assert foreign_words(metrics) == [("replicated_proxy_images_total", "reason", "quay.io/app")]
