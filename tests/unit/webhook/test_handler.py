"""One review from bytes to bytes, and what is counted and logged about it."""

from __future__ import annotations

import base64
import logging
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, a_route, a_table
from replicated_proxy.core.admission import PodReview, Verdict
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.visibility import VisibilityOf
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook import reviews
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.reviews import MalformedReview
from replicated_proxy.webhook.tables import TableHolder
from serving import PROXY, Known, a_config_map, a_pod_body, a_review, read_patch, read_response, to_bytes


class Handler:
    """A handler with a table and metrics to look at."""

    def __init__(self, table: RoutingTable | None = None) -> None:
        self.metrics = Metrics()
        self.tables = TableHolder()
        self.tables.update(a_config_map(table))
        self.handler = ReviewHandler(self.tables, RewritePolicy(), Known(), self.metrics)

    def answer(self, review: Json) -> Json:
        """Return the response to a review."""
        return read_response(self.handler.answer(to_bytes(review)))

    def count(self, name: str, **labels: str) -> float | None:
        """Return a sample."""
        return self.metrics.registry.get_sample_value(f"replicated_proxy_{name}", labels)


def test_image_is_rewritten_and_counted() -> None:
    """A Pod of the application gets its patch; review and images are counted."""
    handler = Handler()
    response = handler.answer(a_review(a_pod_body("quay.io/my-org/api:v1", "localhost/x")))
    assert {"op": "replace", "path": "/spec/containers/0/image", "value": f"{PROXY}/quay.io/my-org/api:v1"} in (
        read_patch(response)
    )
    assert handler.count("reviews_total", outcome="patched", dry_run="false") == 1
    assert handler.count("images_total", outcome="rewritten", reason="") == 1
    assert handler.count("images_total", outcome="untouched", reason="local-host") == 1
    assert handler.count("review_seconds_count") == 1


def test_own_output_changes_nothing() -> None:
    """A second review of the patched Pod answers without a patch."""
    handler = Handler()
    pod = a_pod_body("nginx", initContainers=[{"name": "i", "image": "quay.io/a/b"}])
    patched = jsonpatch.apply_patch(pod, read_patch(handler.answer(a_review(pod))))
    assert "patch" not in handler.answer(a_review(patched))
    assert handler.count("reviews_total", outcome="unchanged", dry_run="false") == 1


def test_pod_left_alone_says_why() -> None:
    """A Pod that no License covers is counted by reason, which stands in the audit log too."""
    handler = Handler()
    response = handler.answer(a_review(namespace="elsewhere"))
    assert response["auditAnnotations"] == {"reason": "no-license"}
    assert handler.count("pods_left_alone_total", reason="no-license") == 1
    assert handler.count("reviews_total", outcome="left-alone", dry_run="false") == 1


def test_dry_run_is_answered_the_same_and_counted_apart() -> None:
    """A dry run gets the same patch, and its images are not counted: nothing will be stored."""
    handler = Handler()
    assert handler.answer(a_review(dryRun=True)) == Handler().answer(a_review())
    handler.answer(a_review(namespace="elsewhere", dryRun=True))
    assert handler.count("reviews_total", outcome="patched", dry_run="true") == 1
    assert handler.count("reviews_total", outcome="left-alone", dry_run="true") == 1
    assert handler.count("images_total", outcome="rewritten", reason="") is None
    assert handler.count("pods_left_alone_total", reason="no-license") == 0


def test_other_requests_are_allowed_unchanged() -> None:
    """A request that is not for this webhook is allowed, and counted as such."""
    handler = Handler()
    assert handler.answer(a_review(operation="DELETE", object=None)) == {"uid": "a-uid", "allowed": True}
    assert handler.count("reviews_total", outcome="not-ours", dry_run="false") == 1


def test_malformed_review_is_counted() -> None:
    """A malformed body is the caller's error and is counted."""
    handler = Handler()
    with pytest.raises(MalformedReview):
        handler.handler.answer(b"{}")
    assert handler.count("reviews_total", outcome="malformed", dry_run="false") == 1


def test_mistake_of_ours_admits_the_pod(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the decision allows the Pod without a patch, warns, counts, and logs nothing of the Pod."""

    def fail(review: PodReview, table: RoutingTable, policy: RewritePolicy, see: VisibilityOf) -> Verdict:
        del table, policy, see
        raise RuntimeError(f"quoting {review.pod.slots[0].image}")

    handler = Handler()
    failing = ReviewHandler(handler.tables, RewritePolicy(), Known(), handler.metrics, decide=fail)
    with caplog.at_level(logging.ERROR):
        response = read_response(failing.answer(to_bytes(a_review(a_pod_body("private/image"), name="main"))))
    assert response["allowed"] is True
    assert "patch" not in response
    assert len(response["warnings"]) == 1
    assert handler.count("reviews_total", outcome="failed", dry_run="false") == 1
    (record,) = caplog.records
    told: dict[str, Any] = vars(record)
    assert (told["uid"], told["namespace"], told["pod"], told["kind"]) == ("a-uid", "app", "main", "RuntimeError")
    assert "private/image" not in str(told)


def test_mistake_in_converting_admits_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake between decoding and deciding allows the Pod as well: never an HTTP error for a good review."""

    def fail(_request: object) -> PodReview:
        raise KeyError("private/image")

    monkeypatch.setattr(reviews, "_convert", fail)
    handler = Handler()
    response = handler.answer(a_review())
    assert response["allowed"] is True
    assert "patch" not in response
    assert len(response["warnings"]) == 1
    assert handler.count("reviews_total", outcome="failed", dry_run="false") == 1


def test_new_table_decides_the_next_review() -> None:
    """The table is looked at anew for each review."""
    handler = Handler()
    assert "patch" in handler.answer(a_review())
    handler.tables.update(a_config_map(a_table(a_route(namespace="elsewhere"))))
    assert "patch" not in handler.answer(a_review())


def test_without_a_table_nothing_is_decided() -> None:
    """A review that comes before the first table is allowed unchanged."""
    handler = ReviewHandler(TableHolder(), RewritePolicy(), Known(), Metrics())
    assert read_response(handler.answer(to_bytes(a_review()))) == {"uid": "a-uid", "allowed": True}


@given(st.lists(st.text(max_size=40), max_size=4), st.lists(st.text(max_size=40), max_size=2))
def test_patch_applies_to_the_pod_it_was_made_for(images: list[str], inits: list[str]) -> None:
    """Whatever the images are, the patch applies and touches nothing but what it may."""
    containers = [{"name": f"i{index}", "image": image, "x-unknown": 1} for index, image in enumerate(inits)]
    pod = a_pod_body(*images, initContainers=containers, unknownField={"a": [1]})
    response = Handler().answer(a_review(pod))
    patched = jsonpatch.apply_patch(pod, read_patch(response)) if "patch" in response else pod
    for container in (*patched["spec"]["containers"], *patched["spec"]["initContainers"]):
        container["image"] = ""
    for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        container["image"] = ""
    patched["spec"].pop("imagePullSecrets", None)
    patched["metadata"].pop("annotations", None)
    assert patched == pod


def test_patch_is_standard_base64() -> None:
    """The API server decodes the patch with the standard alphabet and padding."""
    assert base64.b64decode(Handler().answer(a_review())["patch"], validate=True).startswith(b"[")
