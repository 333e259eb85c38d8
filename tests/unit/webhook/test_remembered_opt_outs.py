"""Labels of the settings decide, so what is remembered of one Pod holds for no other that differs in them."""

from __future__ import annotations

import pytest

from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map, a_pod_body, a_review, read_response, to_bytes


@pytest.mark.parametrize("order", [("spilo", "web"), ("web", "spilo")], ids="-then-".join)
def test_pod_that_differs_in_an_excluded_label_alone_gets_an_answer_of_its_own(order: tuple[str, str]) -> None:
    """Whichever came first, the labelled Pod stays and the other one is rewritten."""
    tables = TableHolder()
    tables.update(a_config_map())
    policy = RewritePolicy(excluded_labels=(("application", "spilo"),))
    handler = ReviewHandler(tables, policy, Known(), Metrics())
    patched = {}
    for value in order:
        pod = a_pod_body("quay.io/my-org/api:v1")
        pod["metadata"]["labels"] = {"application": value}
        patched[value] = "patch" in read_response(handler.answer(to_bytes(a_review(pod))))

    assert patched == {"web": True, "spilo": False}
