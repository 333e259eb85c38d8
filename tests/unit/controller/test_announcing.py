"""Events, one for each transition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from replicated_proxy.controller.announcing import Announcer, refer_to
from replicated_proxy.core.conditions import Condition, ConditionStatus
from replicated_proxy.core.objects import is_object_name, read_identity
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError, Forbidden, Unreachable

SUFFIX = "x7k2p"  # As the API server appends to `generateName`.


A_LICENSE = {"apiVersion": "kots.io/v1beta1", "kind": "License", "metadata": {"name": "my-app", "namespace": "ns"}}


class Writes:
    """Takes Events, after as many refusals as it was made with."""

    def __init__(self, *refusals: ApiError) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked = 0
        self._refusals = list(refusals)

    async def create(self, _resource: object, body: dict[str, Any], _namespace: str) -> dict[str, Any]:
        """Take an Event."""
        self.asked += 1
        if self._refusals:
            raise self._refusals.pop(0)
        self.events.append(body)
        return body


async def announce(writes: Writes) -> None:
    """Announce a transition of a License."""
    announcer = Announcer(cast("KubeClient", writes), lambda: datetime(2030, 1, 1, tzinfo=UTC))
    condition = Condition("Ready", ConditionStatus.TRUE, "Up", "")
    await announcer.announce(refer_to(A_LICENSE, read_identity(A_LICENSE)), condition)


@pytest.mark.parametrize(
    ("refusals", "asked", "told"),
    [
        ([Unreachable("timed out")], 2, 1),
        ([ApiError(500, "InternalError", "etcd"), ApiError(429, "TooManyRequests", "slow down")], 3, 1),
        ([Forbidden(403, "Forbidden", "no")], 1, 0),
        ([Unreachable("refused")] * 9, 4, 0),
    ],
    ids=["no answer", "a server in trouble", "a refusal", "a server that is gone"],
)
async def test_event_is_posted_again_after_a_passing_failure(
    refusals: list[ApiError], asked: int, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may succeed a moment later is tried a few times, what was refused is not."""

    async def no_pause(_attempt: int, _error: ApiError) -> None:
        """Wait for nothing."""

    monkeypatch.setattr("replicated_proxy.controller.announcing.retry_pause", no_pause)
    writes = Writes(*refusals)

    await announce(writes)

    assert (writes.asked, len(writes.events)) == (asked, told)


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
