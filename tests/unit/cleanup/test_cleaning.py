"""Going on until nothing of ours is left, whatever the API server says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from builders import Json
from replicated_proxy.cleanup.cleaning import Cleaner
from replicated_proxy.core.pull_secrets import DesiredSecret, Ownership, render_secret
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable
from replicated_proxy.kube.resources import Resource
from replicated_proxy.settings import Settings
from simulated_clock import SimulatedClock

SETTINGS = Settings()
OURS = Ownership(SETTINGS.installation, SETTINGS.secret.name)
MINE = {"app.kubernetes.io/managed-by": "replicated-proxy-operator"}
FORBIDDEN = Forbidden(403, "Forbidden", "not yet")


@dataclass
class Cluster(KubeClient):
    """What the API server has, and which errors it gives first.

    Attributes:
        copies: Secrets of the pull secret's name by namespace.
        home: objects of the own namespace by kind and name.
        errors: what the next deletion or listing fails with, in order; None for none.
        deleted: what was deleted, in order.
        at_each: called before each listing.
    """

    copies: dict[str, Json] = field(default_factory=dict)
    home: dict[tuple[str, str], Json] = field(default_factory=dict)
    errors: dict[str, list[ApiError | None]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    at_each: Callable[[], None] = lambda: None
    after_listing: Callable[[], None] = lambda: None

    def _fail(self, what: str) -> None:
        """Raise the error that is next."""
        pending = self.errors.get(what, [])
        if pending and (error := pending.pop(0)) is not None:
            raise error

    async def list_all(self, resource: Resource, namespace: str = "", field_selector: str = "") -> Listing:
        """List the copies; only by the one name."""
        assert (resource.plural, namespace) == ("secrets", "")
        assert field_selector == f"metadata.name={SETTINGS.secret.name}"
        self._fail("list")
        self.at_each()
        listing = Listing(tuple(self.copies.values()), "1")
        self.after_listing()
        return listing

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Json:
        """Read an object of the own namespace."""
        assert namespace == SETTINGS.namespace
        self._fail("get")
        if (found := self.home.get((resource.plural, name))) is None:
            raise NotFound(404, "NotFound", "no such thing")
        return found

    async def delete(self, resource: Resource, name: str, namespace: str, uid: str, version: str = "") -> None:
        """Delete what has this UID and, where one is given, this resourceVersion."""
        self._fail(namespace)
        place: dict[Any, Json] = self.home if namespace == SETTINGS.namespace else self.copies
        key = (resource.plural, name) if namespace == SETTINGS.namespace else namespace
        found = place.get(key)
        if found is None:
            raise NotFound(404, "NotFound", "gone")
        metadata = found["metadata"]
        if metadata["uid"] != uid or version not in {"", metadata.get("resourceVersion")}:
            raise Conflict(409, "Conflict", "another one by now")
        del place[key]
        self.deleted.append(f"{namespace}/{name}")


def a_copy(namespace: str, uid: str = "1", ownership: Ownership = OURS) -> Json:
    """Write a copy."""
    body = render_secret(namespace, DesiredSecret(b"{}"), ownership)
    body["metadata"] |= {"uid": uid, "resourceVersion": "5"}
    return body


def an_object(labels: Json | None = None, **spec: object) -> Json:
    """Write an object of the own namespace."""
    return {"metadata": {"uid": "h", "labels": MINE if labels is None else labels}, "spec": spec}


async def clean(cluster: Cluster, seconds: float = 60.0, clock: SimulatedClock | None = None) -> bool:
    """Clean with time passing as fast as somebody waits."""
    clock = clock or SimulatedClock()
    task = asyncio.ensure_future(Cleaner(cluster, SETTINGS, clock).clean(seconds))
    while not task.done():
        await clock.advance(1.0)
    return task.result()


async def test_only_what_is_ours_goes(caplog: pytest.LogCaptureFixture) -> None:
    """Copies and home objects with our marks go, each with a line that gives the reason; a summary counts the rest."""
    another = Ownership("home/another", SETTINGS.secret.name)
    foreign: Json = {"metadata": {"namespace": "c", "uid": "f"}}
    home = {
        ("configmaps", "replicated-proxy-routes"): an_object(),
        ("secrets", "replicated-proxy-ca"): an_object(),
        ("secrets", "replicated-proxy-serving"): an_object({"app.kubernetes.io/managed-by": "cert-manager"}),
        ("leases", "replicated-proxy-controller"): an_object(),
    }
    cluster = Cluster({"a": a_copy("a"), "b": a_copy("b", ownership=another), "c": foreign}, home)

    with caplog.at_level(logging.INFO):
        assert await clean(cluster)

    names = ["routes", "ca", "controller"]
    assert cluster.deleted == [
        f"a/{SETTINGS.secret.name}",
        *(f"{SETTINGS.namespace}/replicated-proxy-{name}" for name in names),
    ]
    assert set(cluster.copies) == {"b", "c"}
    assert set(cluster.home) == {("secrets", "replicated-proxy-serving")}
    lines = [record for record in caplog.records if record.getMessage().endswith(" deleted")]
    assert [vars(line)["reason"] for line in lines] == ["the operator is uninstalled with cleanup.onUninstall"] * 4
    summary = vars(caplog.records[-1])
    assert (summary["deleted"], summary["of_other_installations"], summary["foreign"]) == (4, 1, 1)


async def test_nothing_to_do_is_done(caplog: pytest.LogCaptureFixture) -> None:
    """A second run deletes nothing and succeeds."""
    cluster = Cluster({"a": a_copy("a")})
    assert await clean(cluster)

    with caplog.at_level(logging.INFO):
        assert await clean(cluster)

    assert len(cluster.deleted) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "clean-up finished: nothing of this installation is left"
    ]


@pytest.mark.parametrize(
    "errors",
    [
        {"list": [Unreachable("down"), ApiError(500, "InternalError", "x"), ApiError(429, "TooManyRequests", "x")]},
        {"get": [FORBIDDEN, None, Unreachable("down")]},
        {"a": [FORBIDDEN, ApiError(503, "ServiceUnavailable", "x")], "b": [ApiError(500, "InternalError", "x")]},
        {"a": [NotFound(404, "NotFound", "x")], "b": [Conflict(409, "Conflict", "x")]},
        {SETTINGS.namespace: [Conflict(409, "Conflict", "x"), FORBIDDEN]},
    ],
)
async def test_errors_are_tried_again(errors: dict[str, list[ApiError | None]]) -> None:
    """What the API server refuses at first goes in the end, and one copy that fails holds up no other."""
    home = {("configmaps", "replicated-proxy-routes"): an_object()}
    cluster = Cluster({name: a_copy(name) for name in ("a", "b", "c")}, home, errors)

    assert await clean(cluster)

    assert (cluster.copies, cluster.home) == ({}, {})


async def test_one_that_fails_holds_up_no_other() -> None:
    """The others are gone after the first look around, in whatever order they come."""
    cluster = Cluster({name: a_copy(name) for name in ("a", "b", "c")}, errors={"b": [FORBIDDEN] * 100})

    assert not await clean(cluster)

    assert set(cluster.copies) == {"b"}


async def test_a_copy_that_comes_back_goes_too() -> None:
    """A controller that had not ended yet may write once more; the last look around has to find nothing."""
    cluster = Cluster({"a": a_copy("a")})
    again = [a_copy("a", uid="2")]

    def write_once_more() -> None:
        """Write a copy anew when the first one is gone."""
        if not cluster.copies and again:
            cluster.copies["a"] = again.pop()

    cluster.at_each = write_once_more
    assert await clean(cluster)

    assert len(cluster.deleted) == 2


async def test_a_copy_that_became_somebody_else_s_meanwhile_stays() -> None:
    """Marks taken off between the look around and the deletion count, although it is the same object."""
    cluster = Cluster({"a": a_copy("a")})

    def take_marks_off() -> None:
        """Make it another's after it was listed."""
        cluster.copies = {"a": {"metadata": {"namespace": "a", "uid": "1", "resourceVersion": "6"}}}

    cluster.after_listing = take_marks_off
    assert await clean(cluster)

    assert set(cluster.copies) == {"a"}
    assert cluster.deleted == []


async def test_time_that_is_too_short_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """At the deadline it gives up, says what was wrong last, and asks to be run again."""
    clock = SimulatedClock()
    cluster = Cluster({"a": a_copy("a")}, errors={"a": [FORBIDDEN] * 1_000})

    assert not await clean(cluster, 30.0, clock)

    assert 15 <= clock.monotonic() <= 30
    assert "not finished within 30 s: 1 pull secrets could not be deleted" in caplog.text
    assert "403 Forbidden: not yet" in caplog.text


async def test_a_working_controller_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is deleted while somebody renews the Lease; it is named with what has to be done."""
    lease = an_object(holderIdentity="pod-1", leaseDurationSeconds=15, renewTime="0")
    cluster = Cluster({"a": a_copy("a")}, {("leases", "replicated-proxy-controller"): lease})
    clock = SimulatedClock()

    class Renewing(Cluster):
        """A cluster whose Lease is renewed at each look."""

        async def get(self, resource: Resource, name: str, namespace: str = "") -> Json:
            """Read the Lease as it stands by now."""
            lease["spec"] = {**lease["spec"], "renewTime": str(clock.monotonic())}
            return await super().get(resource, name, namespace)

    with caplog.at_level(logging.INFO):
        assert not await clean(Renewing(cluster.copies, cluster.home), 60.0, clock)

    assert set(cluster.copies) == {"a"}
    assert "controller pod-1 holds the Lease" in caplog.text
    assert "has to be stopped first" in caplog.text


async def test_a_silent_lease_runs_out() -> None:
    """A controller that ended without releasing the Lease is waited for no longer than the Lease says."""
    lease = an_object(holderIdentity="pod-1", leaseDurationSeconds=15, renewTime="0")
    cluster = Cluster({"a": a_copy("a")}, {("leases", "replicated-proxy-controller"): lease})
    clock = SimulatedClock()

    assert await clean(cluster, 60.0, clock)

    assert cluster.copies == {}
    assert 15 <= clock.monotonic() < 30
