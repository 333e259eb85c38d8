"""Carrying out plans: what is written, what is said of it, and what has to wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from builders import SECRET_NAME, Json
from replicated_proxy.controller.restraint import Deferred, Restraint
from replicated_proxy.controller.world import Store
from replicated_proxy.controller.writing import SecretWriter, Stale
from replicated_proxy.core.pull_secrets import (
    Action,
    DesiredSecret,
    ObservedSecret,
    Ownership,
    Removal,
    SecretPlan,
    plan_secret,
    read_secret,
    render_secret,
)
from replicated_proxy.core.statuses import SyncResult, SyncState
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError, error_from_status
from replicated_proxy.telemetry.metrics import Metrics

OWNERSHIP = Ownership("operator-system/operator", SECRET_NAME)
WANTED = DesiredSecret(b'{"auths":{}}', ("uid",))
TERMINATING = {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}


class Server:
    """Takes writes, or refuses them as told."""

    def __init__(self) -> None:
        self.error: ApiError | None = None
        self.done: list[str] = []
        self.versions: list[str] = []
        self.present: Json = {}
        self.meanwhile: Callable[[], object] = lambda: None

    async def create(self, _resource: object, body: Json, namespace: str) -> Json:
        """Create a Secret."""
        return self._do("create", namespace, body)

    async def merge(self, path: str, body: Json) -> Json:
        """Change a Secret."""
        return self._do("merge", path.split("/")[4], body)

    async def delete(self, _resource: object, _name: str, namespace: str, uid: str, version: str) -> None:
        """Delete a Secret, in the state that was seen."""
        self.versions.append(version)
        self._do(f"delete {uid}", namespace, {})

    async def get(self, _resource: object, _name: str, _namespace: str) -> Json:
        """Read a Secret."""
        self.meanwhile()
        if not self.present:
            raise error_from_status(404, {}, "Not Found")
        return self.present

    def _do(self, what: str, namespace: str, body: Json) -> Json:
        """Take a write."""
        self.done.append(f"{what} {namespace}")
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return body | {"metadata": body.get("metadata", {}) | {"uid": "u1", "resourceVersion": "7"}}


class Desk:
    """A writer with its server and its cache."""

    def __init__(self) -> None:
        self.server = Server()
        self.secrets: Store[ObservedSecret] = Store("secret", lambda body: read_secret(body, OWNERSHIP), _namespace_of)
        self.now = 1000.0
        client = cast("KubeClient", self.server)
        restraint = Restraint(1.0, lambda: self.now)
        self.metrics = Metrics()
        self.writer = SecretWriter(client, self.secrets, OWNERSHIP, self.metrics, restraint)


def _namespace_of(body: Any) -> str:
    """Return the key of a Secret."""
    return str(body["metadata"]["namespace"])


def a_copy(namespace: str = "app") -> Json:
    """Return a copy of ours as the API server has it."""
    body = render_secret(namespace, WANTED, OWNERSHIP)
    return body | {"metadata": body["metadata"] | {"uid": "u1", "resourceVersion": "5"}}


def a_deletion(namespace: str = "app", removal: Removal = Removal.NOT_COVERED) -> SecretPlan:
    """Plan a deletion."""
    return plan_secret(namespace, None, read_secret(a_copy(namespace), OWNERSHIP), removal)


@pytest.fixture
def desk() -> Desk:
    """Return a desk."""
    return Desk()


async def test_deletion_says_why(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A deletion goes to the very Secret that was seen, as it was seen, and the log says for what reason."""
    with caplog.at_level(logging.INFO):
        assert await desk.writer.carry_out(a_deletion()) is None

    assert desk.server.done == ["delete u1 app"]
    assert desk.server.versions == ["5"]
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["namespace"]) == ("pull secret deleted", "app")
    assert vars(record)["because"] == Removal.NOT_COVERED.value


HELD: list[tuple[str, DesiredSecret | None, SyncState | None]] = [
    ("wanted", WANTED, SyncState.FAILED),
    ("not wanted", None, None),
]


@pytest.mark.parametrize(("desired", "state"), [row[1:] for row in HELD], ids=[row[0] for row in HELD])
async def test_copy_that_is_being_deleted_is_left_alone(
    desk: Desk, desired: DesiredSecret | None, state: SyncState | None
) -> None:
    """Where somebody's finalizer keeps it nothing is sent; where a copy is wanted the failure says what to do."""
    body = a_copy()
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    changed = DesiredSecret(b'{"auths":{"a":{}}}', ("uid",)) if desired else None
    result = await desk.writer.carry_out(plan_secret("app", changed, read_secret(body, OWNERSHIP)))

    assert desk.server.done == []
    assert (result.state if result else None) == state
    assert result is None or "remove the finalizer" in result.message


async def test_deletions_wait_their_turn(desk: Desk) -> None:
    """With one deletion a second the second one is deferred, and nothing is sent for it before."""
    await desk.writer.carry_out(a_deletion("one"))
    with pytest.raises(Deferred) as deferred:
        await desk.writer.carry_out(a_deletion("two"))
    assert desk.server.done == ["delete u1 one"]

    desk.now += deferred.value.seconds
    await desk.writer.carry_out(a_deletion("two"))

    assert desk.server.done == ["delete u1 one", "delete u1 two"]


async def test_creation_is_known_before_its_event_comes(desk: Desk) -> None:
    """The answer goes into the cache, so that the next turn finds nothing to do."""
    assert await desk.writer.carry_out(plan_secret("app", WANTED, None)) == SyncResult(SyncState.SYNCED)

    assert plan_secret("app", WANTED, desk.secrets.get("app")).action is Action.NOTHING


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (403, {"reason": "Forbidden"}, SyncState.FAILED),
        (403, TERMINATING, None),
        (404, {"reason": "NotFound"}, None),
        (429, {"reason": "TooManyRequests"}, SyncState.FAILED),
        (500, {"reason": "InternalError"}, SyncState.FAILED),
    ],
    ids=["refused", "terminating", "namespace-gone", "throttled", "broken"],
)
async def test_refused_creation(desk: Desk, status: int, body: Json, state: SyncState | None) -> None:
    """A refusal is a failure of its namespace, unless the namespace is going or gone, which needs nothing."""
    desk.server.error = error_from_status(status, body, "refused")
    result = await desk.writer.carry_out(plan_secret("app", WANTED, None))

    assert (result.state if result else None) is state


async def test_failure_carries_what_the_server_asked_for(desk: Desk) -> None:
    """How long to leave the server alone goes with the result, and makes it no other result."""
    desk.server.error = error_from_status(429, {"reason": "TooManyRequests"}, "busy", "17")
    result = await desk.writer.carry_out(plan_secret("app", WANTED, None))

    assert result is not None
    assert result.retry_after == 17
    assert result == SyncResult(SyncState.FAILED, result.reason, result.message)


@pytest.mark.parametrize(
    "plan",
    [
        lambda: plan_secret("app", WANTED, None),
        lambda: plan_secret("app", DesiredSecret(b"new"), read_secret(a_copy(), OWNERSHIP)),
        a_deletion,
    ],
    ids=["create", "update", "delete"],
)
@pytest.mark.parametrize("present", [{}, a_copy()], ids=["gone", "there"])
async def test_conflict_is_looked_at_and_planned_anew(
    desk: Desk, plan: Callable[[], SecretPlan], present: Json
) -> None:
    """When somebody was faster, what stands there now is read, and the plan is void."""
    desk.server.error = error_from_status(409, {"reason": "Conflict"}, "conflict")
    desk.server.present = present
    with pytest.raises(Stale):
        await desk.writer.carry_out(plan())

    assert (desk.secrets.get("app") is not None) is bool(present)


@pytest.mark.parametrize(
    "differs",
    [{"uid": "u2"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}],
    ids=["made anew", "kept by a finalizer"],
)
async def test_what_came_while_a_deletion_was_on_its_way_is_not_forgotten(desk: Desk, differs: Json) -> None:
    """An event that is faster than the answer tells what stands there now."""
    desk.secrets.apply("ADDED", a_copy())
    body = a_copy()
    body["metadata"] |= {"resourceVersion": "9"} | differs
    desk.server.meanwhile = lambda: desk.secrets.apply("MODIFIED", body)
    assert await desk.writer.carry_out(a_deletion()) is None

    assert desk.secrets.get("app") == read_secret(body, OWNERSHIP)


async def test_what_came_while_a_secret_was_looked_for_is_not_forgotten(desk: Desk) -> None:
    """The answer that there is none is older than the event of the one that there is."""
    desk.secrets.apply("ADDED", a_copy())
    body = a_copy()
    body["metadata"] |= {"uid": "u2", "resourceVersion": "9"}
    desk.server.error = error_from_status(409, {"reason": "Conflict"}, "conflict")

    def meanwhile() -> None:
        """Let the event come with the second request, which is the look."""
        desk.server.meanwhile = lambda: desk.secrets.apply("ADDED", body)

    desk.server.meanwhile = meanwhile
    with pytest.raises(Stale):
        await desk.writer.carry_out(a_deletion())

    assert desk.secrets.get("app") == read_secret(body, OWNERSHIP)


async def test_foreign_secret_is_left_alone(desk: Desk) -> None:
    """A Secret without our marks is a conflict, and no request is made."""
    foreign = read_secret({"metadata": {"namespace": "app", "uid": "u9"}, "type": "Opaque"}, OWNERSHIP)
    result = await desk.writer.carry_out(plan_secret("app", WANTED, foreign))

    assert result is not None
    assert result.state is SyncState.CONFLICTING
    assert desk.server.done == []


@pytest.mark.parametrize("differs", [{"immutable": True}, {"type": "Opaque"}], ids=["immutable", "type"])
async def test_copy_that_cannot_be_changed_is_replaced(desk: Desk, differs: Json) -> None:
    """Our own copy is deleted by its UID and created anew, at once although deletions are paced."""
    await desk.writer.carry_out(a_deletion("other"))
    observed = read_secret(a_copy() | differs, OWNERSHIP)
    result = await desk.writer.carry_out(plan_secret("app", DesiredSecret(b"new"), observed))

    assert result == SyncResult(SyncState.SYNCED)
    assert desk.server.done[1:] == ["delete u1 app", "create app"]
