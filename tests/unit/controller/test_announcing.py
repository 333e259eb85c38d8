"""Events, one for each transition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from replicated_proxy.controller.announcing import Announcer, refer_to
from replicated_proxy.core.conditions import Condition, ConditionStatus
from replicated_proxy.core.objects import is_object_name, read_identity
from replicated_proxy.kube.client import KubeClient

SUFFIX = "x7k2p"  # As the API server appends to `generateName`.


class Writes:
    """Takes Events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def create(self, _resource: object, body: dict[str, Any], _namespace: str) -> dict[str, Any]:
        """Take an Event."""
        self.events.append(body)
        return body


@pytest.mark.parametrize("name", ["app", f"{'a' * 49}.b", f"{'a' * 49}-b", "a" * 253])
async def test_event_has_a_legal_name_whatever_its_object_is_called(name: str) -> None:
    """The object's name is cut so that the API server can make a name of it; a dot before the hyphen would be none."""
    writes = Writes()
    body = {"apiVersion": "kots.io/v1beta1", "kind": "License", "metadata": {"name": name, "namespace": "ns"}}
    announcer = Announcer(cast("KubeClient", writes), lambda: datetime(2030, 1, 1, tzinfo=UTC))

    await announcer.announce(refer_to(body, read_identity(body)), Condition("Ready", ConditionStatus.TRUE, "Up", ""))

    (event,) = writes.events
    assert is_object_name(event["metadata"]["generateName"] + SUFFIX)
    assert event["involvedObject"]["name"] == name
