"""Handlers that know every image to be private, for tests of what reviews are answered with."""

from __future__ import annotations

from typing import Final

from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.reviews import MalformedReview
from replicated_proxy.webhook.tables import TableHolder
from serving import Known, a_config_map

_METRICS: Final = Metrics()
_TABLES: Final = TableHolder()
_TABLES.update(a_config_map())


def a_handler() -> ReviewHandler:
    """Return a handler that has answered nothing yet."""
    return ReviewHandler(_TABLES, RewritePolicy(), Known(), _METRICS)


def answer_of(handler: ReviewHandler, body: bytes) -> bytes | None:
    """Answer a body; None where it is malformed."""
    try:
        answer = handler.answer(body)
    except MalformedReview:
        return None
    assert isinstance(answer, bytes)
    return answer
