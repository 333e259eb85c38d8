"""Statuses are written when they change, for each object apart, and to the very object they speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from builders import SECRET_NAME, Json, a_license_body, an_application_body, ids, versioned
from replicated_proxy.controller.reporting import Findings, Reporter
from replicated_proxy.controller.world import World
from replicated_proxy.core.coverage import CoverageSettings, plan_table
from replicated_proxy.core.objects import mapping_at
from replicated_proxy.core.pull_secrets import DesiredSecret, Ownership, render_secret
from replicated_proxy.core.routes import Definitions, RoutingTable
from replicated_proxy.core.statuses import SyncResult, SyncState
from replicated_proxy.core.validity import ValidityPolicy
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound
from replicated_proxy.kube.pacing import Pace
from simulated_clock import StandingClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SYNCED, FAILED = SyncResult(SyncState.SYNCED), SyncResult(SyncState.FAILED, "Forbidden", "quota exceeded")
INVALID = ApiError(422, "Invalid", "status.expiresAt is no date")


class Writes:
    """Stands in for the client: keeps what is written, and answers as told."""

    def __init__(self, refusals: Mapping[str, ApiError] | None = None) -> None:
        self.refusals = refusals or {}
        self.patches: dict[str, Sequence[Mapping[str, Any]]] = {}
        self.events: list[Json] = []
        self.bodies: dict[str, Json] = {}

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Take a status; the answer is the object with it."""
        name = path.split("/")[-2]
        if name in self.refusals:
            raise self.refusals[name]
        self.patches[name] = operations
        return self.bodies[name] | {"status": operations[-1]["value"]}

    async def create(self, _: object, body: Json, __: str) -> Json:
        """Take an Event."""
        self.events.append(body)
        return body


class Desk:
    """A reporter with a world of its own."""

    def __init__(self, *bodies: Json, namespaces: Sequence[str] = (), **refusals: ApiError) -> None:
        self.world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset())
        self.writes = Writes(refusals)
        self.clock = StandingClock()
        client = cast("KubeClient", self.writes)
        self.reporter = Reporter(client, self.world, lambda: NOW, ValidityPolicy(), Pace(self.clock))
        self.published = RoutingTable(SECRET_NAME)
        for body in (versioned(body, number + 1) for number, body in enumerate(bodies)):
            self.writes.bodies[body["metadata"]["name"]] = body
            store = self.world.licenses if body["kind"] == "License" else self.world.applications
            store.apply("ADDED", body)
        for name in namespaces:
            self.world.namespaces.apply("ADDED", {"metadata": {"name": name}})

    def findings(self, results: Mapping[str, SyncResult] | None = None, problem: str = "") -> Findings:
        """Return what a turn of the reconciler finds."""
        settings = CoverageSettings(SECRET_NAME, frozenset({"kube-system"}))
        plan = plan_table(self.world.sources(), self.world.namespaces.values(), settings, self.published)
        return Findings(plan, self.world.declared(), results or {}, problem)

    async def report(self, results: Mapping[str, SyncResult] | None = None, problem: str = "") -> bool:
        """Report what a turn finds; returns whether that brought news."""
        return await self.reporter.report(self.findings(results, problem))

    def status(self, name: str) -> Json:
        """Return the status that was written."""
        status: Json = self.writes.patches[name][-1]["value"]
        return status

    def condition(self, name: str, type_: str = "Ready") -> tuple[str, str, str]:
        """Return a written condition."""
        (found,) = (item for item in self.status(name)["conditions"] if item["type"] == type_)
        return (found["status"], found["reason"], found["message"])


async def test_status_goes_to_the_very_object() -> None:
    """The UID is tested in the same request, so that a namesake made meanwhile gets nothing; nulls are left out."""
    desk = Desk(a_license_body(), namespaces=["app"])
    await desk.report({"app": SYNCED})

    test, add = desk.writes.patches["my-app"]
    assert test == {"op": "test", "path": "/metadata/uid", "value": "uid-of-app-my-app"}
    assert (add["op"], add["path"], "expiresAt" in add["value"]) == ("add", "/status", False)
    assert add["value"]["namespaces"]["summary"] == "1/1"


@pytest.mark.parametrize(
    ("differs", "news"),
    [({}, False), ({"generation": 2}, True), ({"annotations": {"proxy.kots.io/paused": "true"}}, True)],
    ids=["nothing", "spec", "annotation"],
)
async def test_answer_that_brings_a_change_says_so(differs: Json, news: bool) -> None:
    """The answer to a status is the whole object: what somebody else changed in it comes with no later event."""
    desk = Desk(a_license_body(), namespaces=["app"])
    desk.writes.bodies["my-app"] = versioned(desk.writes.bodies["my-app"], 9, **differs)

    assert await desk.report({"app": SYNCED}) is news


async def test_status_is_written_once() -> None:
    """What stands there already is not written again, and posts no Event again."""
    desk = Desk(a_license_body(), an_application_body("a"), namespaces=["app", "a"])
    await desk.report({"app": SYNCED, "a": FAILED})
    written, posted = set(desk.writes.patches), len(desk.writes.events)
    desk.writes.patches.clear()
    await desk.report({"app": SYNCED, "a": FAILED})

    assert ({"my-app", "my-application"}, {}, posted) == (written, desk.writes.patches, len(desk.writes.events))


async def test_status_that_somebody_else_undoes_is_written_after_growing_pauses() -> None:
    """The first repair is made at once, then after 1, 2, 4 seconds and so on; what is held back says for how long."""
    desk = Desk(a_license_body(), namespaces=["app"])
    await desk.report({"app": SYNCED})
    pauses = []
    for version in range(10, 20, 2):
        body = desk.writes.bodies["my-app"]
        desk.world.licenses.apply("MODIFIED", versioned(body | {"status": {"somebody": "else's"}}, version))
        desk.writes.bodies["my-app"] = versioned(body, version + 1)
        desk.writes.patches.clear()
        await desk.report({"app": SYNCED})
        pauses.append(desk.reporter.held)
        assert bool(desk.writes.patches) is not bool(desk.reporter.held)
        desk.clock.now += desk.reporter.held
        await desk.report({"app": SYNCED})
        assert (set(desk.writes.patches), desk.reporter.held) == ({"my-app"}, 0.0)

    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0]


async def test_change_of_our_own_is_written_at_once_however_often() -> None:
    """Nobody is in the way of a status that says something new each time, nor of one that was made anew."""
    desk = Desk(a_license_body(), namespaces=["app"])
    for result in (SYNCED, FAILED, SYNCED, FAILED, SYNCED):
        desk.writes.patches.clear()
        await desk.report({"app": result})
        assert (set(desk.writes.patches), desk.reporter.held) == ({"my-app"}, 0.0)

    assert await desk.report({"app": SYNCED}) is False


@pytest.mark.parametrize(
    "error", [INVALID, NotFound(404, "NotFound", "gone"), Conflict(409, "Conflict", "another")], ids=repr
)
async def test_status_that_cannot_be_written_is_not_tried_again(error: ApiError) -> None:
    """An invalid status stays invalid and an object that is gone stays gone; the others get theirs."""
    desk = Desk(a_license_body("first"), a_license_body("bad"), a_license_body("last"), bad=error)
    await desk.report()

    assert {"first", "last"} == set(desk.writes.patches)


async def test_status_that_may_be_written_later_is_tried_again() -> None:
    """Another error is raised after all others got their status, also when an invalid one comes after it."""
    desk = Desk(
        *map(a_license_body, ("first", "away", "bad", "last")), away=ApiError(503, "Unavailable", "later"), bad=INVALID
    )
    with pytest.raises(ApiError, match="later"):
        await desk.report()

    assert {"first", "last"} == set(desk.writes.patches)


async def test_hostile_license_gets_a_status_that_fits() -> None:
    """40,000 characters where a date belongs come back as a sentence, in the status and in its Event."""
    entitlements = {"expires_at": {"value": "x" * 40_000, "valueType": "String"}}
    desk = Desk(
        a_license_body(entitlements=entitlements),
        an_application_body(*(f"team-{number}-*" for number in range(500))),
    )
    await desk.report()
    status, reason, message = desk.condition("my-app")

    assert (status, reason, len(message) < 300) == ("False", "InvalidExpiry", True)
    assert len(desk.condition("my-application")[2]) == 1024
    assert max(len(event["message"]) for event in desk.writes.events) == 1024


async def test_years_have_four_digits() -> None:
    """A date of the year 1 is written as one, or the API server refuses the status."""
    desk = Desk(a_license_body(entitlements={"expires_at": {"value": "0001-01-01T00:00:00Z", "valueType": "String"}}))
    await desk.report()

    assert desk.status("my-app")["expiresAt"] == "0001-01-01T00:00:00Z"


async def test_license_that_is_being_deleted_says_so() -> None:
    """Its status tells why its credentials are gone although the object is there."""
    desk = Desk(a_license_body(), namespaces=["app"])
    body = versioned(a_license_body(), 7, deletionTimestamp="2026-01-02T00:00:00Z")
    desk.world.licenses.take(Listing((body,), "8"))
    await desk.report()

    assert desk.condition("my-app")[:2] == ("False", "Deleting")
    assert desk.status("my-app")["namespaces"]["desired"] == 0


async def test_paused_license_without_copies_says_that_nothing_is_written() -> None:
    """A namespace that came while the License was paused is not said to be on its way."""
    desk = Desk(a_license_body(), namespaces=["app"])
    desk.published = desk.findings().plan.table
    paused = a_license_body(metadata={"annotations": {"proxy.kots.io/paused": "true"}})
    desk.world.licenses.apply("MODIFIED", versioned(paused, 7))
    await desk.report({"app": SyncResult(SyncState.WAITING)})

    assert desk.condition("my-app", "Synced")[:2] == ("Unknown", "Held")
    assert desk.condition("my-app")[:2] == ("Unknown", "Paused")


async def test_second_license_of_an_application_says_that_it_is_shadowed() -> None:
    """Where both reach, the older gives credentials; the other names it and counts only where it does."""
    old = a_license_body(metadata={"namespace": "old", "name": "old"})
    new = a_license_body(metadata={"namespace": "new", "name": "new", "creationTimestamp": "2026-02-01T00:00:00Z"})
    both = [
        an_application_body("*", metadata={"namespace": namespace, "name": f"of-{namespace}"})
        for namespace in ("old", "new")
    ]
    names = ["old", "new", "any", "kube-system"]
    desk = Desk(old, new, *both, namespaces=names)
    await desk.report(dict.fromkeys(names, SYNCED))

    assert desk.condition("new")[:2] == ("True", "Shadowed")
    assert "old/old in 2 namespaces" in desk.condition("new")[2]
    assert desk.condition("old")[:2] == ("True", "Shadowed")
    assert "new/new in 1 namespace" in desk.condition("old")[2]
    assert (
        desk.status("new")["namespaces"]["summary"],
        desk.status("old")["namespaces"]["summary"],
    ) == ("1/1", "2/2")


async def test_namespace_that_does_not_exist_is_pending_or_failed() -> None:
    """A listed namespace is pending until it exists; one that could not be created is a failure that is named."""
    desk = Desk(a_license_body(), an_application_body("later", "refused", "stale"), namespaces=["app"])
    await desk.report({"app": SYNCED, "refused": FAILED, "stale": SYNCED})
    counts = mapping_at(desk.status("my-app"), "namespaces")

    assert (counts["desired"], counts["failed"], counts["pending"]) == (2, 1, 2)
    assert [item["namespace"] for item in desk.status("my-app")["failures"]] == ["refused"]


async def test_terminating_namespace_counts_no_more() -> None:
    """Nothing can be created in it, and nobody is told to wait."""
    desk = Desk(a_license_body(), namespaces=["app"])
    desk.world.namespaces.apply(
        "MODIFIED", {"metadata": {"name": "app", "resourceVersion": "9", "deletionTimestamp": "2026-01-02T00:00:00Z"}}
    )
    await desk.report()

    assert desk.status("my-app")["namespaces"]["desired"] == 0


async def test_license_that_takes_too_much_of_the_table_says_so() -> None:
    """Whether it is the table or one License's share of it, the reason is the same."""
    desk = Desk(
        a_license_body(), an_application_body(*(f"{number:063}" for number in range(9_000))), namespaces=["app"]
    )
    await desk.report()
    share = desk.condition("my-app")
    await desk.report(problem="the routing table has 1000001 bytes")

    assert ("False", "RoutingTableTooLarge") == share[:2] == desk.condition("my-app")[:2]
    assert desk.condition("my-app")[2] == "the routing table has 1000001 bytes"


async def test_license_that_cannot_be_read_says_why() -> None:
    """It keeps its place in the world for that alone."""
    desk = Desk(a_license_body(licenseID=""))
    await desk.report()

    assert desk.condition("my-app")[:2] == ("False", "InvalidLicense")


async def test_license_that_makes_no_sense_any_more_takes_nothing_away() -> None:
    """The object is still there, so nobody deleted it: its route stays, and what it has not got it does not get."""
    desk = Desk(a_license_body(), namespaces=["app"])
    desk.published = desk.findings().plan.table
    desk.world.licenses.apply("MODIFIED", versioned(a_license_body(licenseID=""), 7))
    await desk.report({"app": SyncResult(SyncState.WAITING)})

    assert desk.findings().plan.table == desk.published
    assert desk.condition("my-app")[:2] == ("False", "InvalidLicense")
    assert desk.condition("my-app", "Synced")[:2] == ("Unknown", "Held")


UNCOUNTED: list[tuple[str, str, tuple[str, str]]] = [
    ("ended", "2026-05-01T00:00:00Z", ("True", "Frozen")),
    ("ends soon", "2026-06-02T00:00:00Z", ("False", "ExpiringSoon")),
    ("ends later", "2027-06-02T00:00:00Z", ("False", "NotExpired")),
]


@pytest.mark.parametrize(("end", "expected"), [row[1:] for row in UNCOUNTED], ids=ids(UNCOUNTED))
async def test_license_that_does_not_count_has_an_end_nevertheless(end: str, expected: tuple[str, str]) -> None:
    """While it is being deleted nothing follows from its end, and it is not said to have none."""
    body = a_license_body(entitlements={"expires_at": {"value": end, "valueType": "String"}})
    desk = Desk(body)
    desk.world.licenses.take(Listing((versioned(body, 7, deletionTimestamp="2026-05-02T00:00:00Z"),), "8"))
    await desk.report()

    assert expected == desk.condition("my-app", "Expired")[:2]


async def test_credentials_are_said_to_be_gone_only_when_they_are() -> None:
    """Deletions are paced: until the last copy is gone the status says that they are being taken back."""
    body = a_license_body()
    desk = Desk(body, namespaces=["app"])
    desk.world.licenses.take(Listing((versioned(body, 7, deletionTimestamp="2026-05-02T00:00:00Z"),), "8"))
    ownership = Ownership("operator-system/operator", SECRET_NAME)
    copy = render_secret("app", DesiredSecret(b"{}", ("uid-of-app-my-app",)), ownership)
    desk.world.secrets.apply("ADDED", versioned(copy, 9))
    await desk.report()
    before = desk.condition("my-app", "Synced")
    desk.world.secrets.forget("app", desk.world.secrets.get("app"))
    await desk.report()

    assert before == ("False", "Syncing", "its credentials are being taken back")
    assert desk.condition("my-app", "Synced")[:2] == ("True", "AllSynced")


async def test_license_made_anew_with_its_kind_waits_for_its_application() -> None:
    """What its namesake published stays, and it does not say that it is in use itself."""
    desk = Desk(a_license_body(), an_application_body("workers"), namespaces=["app", "workers"])
    desk.world.definitions = Definitions("l-1", "a-1")
    desk.published = desk.findings().plan.table
    desk.world.definitions = Definitions("l-2", "a-2")
    again = versioned(a_license_body(metadata={"uid": "new-uid"}), 7)
    desk.writes.bodies["my-app"] = again
    desk.world.licenses.take(Listing((again,), "8"))
    desk.world.applications.take(Listing((), "8"))
    await desk.report({"app": SYNCED, "workers": SYNCED})

    assert desk.condition("my-app")[:2] == ("Unknown", "ApplicationUnknown")
    assert desk.status("my-app")["namespaces"]["summary"] == "2/2"


@pytest.mark.parametrize(
    "late",
    [
        versioned(a_license_body("late", entitlements={"expires_at": {"value": "2024-01-01T00:00:00Z"}}), 9),
        versioned(a_license_body(), 9, annotations={"proxy.kots.io/paused": "true"}),
        versioned(an_application_body("late"), 9),
    ],
    ids=["new License", "paused License", "new Application"],
)
async def test_what_the_plan_did_not_see_waits_for_the_next(late: Json) -> None:
    """An object that came or changed after the plan was made is not said to have no effect: its own turn is due."""
    desk = Desk(a_license_body(), namespaces=["app"])
    findings = desk.findings({"app": SYNCED})
    store = desk.world.licenses if late["kind"] == "License" else desk.world.applications
    desk.writes.bodies[late["metadata"]["name"]] = late
    store.apply("MODIFIED", late)
    await desk.reporter.report(findings)
    assert late["metadata"]["name"] not in desk.writes.patches

    await desk.report({"app": SYNCED})
    assert desk.status(late["metadata"]["name"])


async def test_application_waits_for_the_license_that_the_plan_did_not_see() -> None:
    """It is not said to be bound to none while there is one that the next turn looks at."""
    desk = Desk(an_application_body("elsewhere"), a_license_body("other", metadata={"namespace": "b"}))
    findings = desk.findings()
    desk.world.licenses.apply("ADDED", versioned(a_license_body(), 9))
    await desk.reporter.report(findings)
    assert list(desk.writes.patches) == ["other"]


async def test_secret_that_cannot_be_read_says_why_wherever_it_is() -> None:
    """The administrator named it: `sources.namespaces` has no part in it, readable or not."""
    key = "vault/secrets/license/key"
    world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset({"app"}), secret_keys=[key])
    world.secret_licenses.doubt(key, "Secret vault/license does not exist")
    writes = Writes()
    plan = plan_table(world.sources(), (), CoverageSettings(SECRET_NAME, frozenset()), RoutingTable(SECRET_NAME))
    pace = Pace(StandingClock())
    reporter = Reporter(cast("KubeClient", writes), world, lambda: NOW, ValidityPolicy(), pace)
    await reporter.report(Findings(plan, world.declared(), {}, ""))
    told = {event["reason"]: event["message"] for event in writes.events}

    assert told["SourceUnknown"] == "Secret vault/license does not exist"
