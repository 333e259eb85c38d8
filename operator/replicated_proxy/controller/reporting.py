"""Statuses and Events of Licenses and Applications: written only when they change, and not against somebody else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from replicated_proxy.controller.announcing import Announcer, refer_to, refer_to_secret
from replicated_proxy.controller.entries import ApplicationEntry, LicenseEntry
from replicated_proxy.controller.world import Declared, World
from replicated_proxy.core.conditions import Condition, find_transitions, render_conditions
from replicated_proxy.core.coverage import TablePlan
from replicated_proxy.core.footprints import Footprint, measure_footprints
from replicated_proxy.core.license_conditions import LicenseReport, license_conditions, license_fields
from replicated_proxy.core.licenses import ExpiryPolicy
from replicated_proxy.core.objects import Body, mapping_at
from replicated_proxy.core.statuses import (
    StatusReason,
    SyncResult,
    SyncState,
    application_conditions,
    application_fields,
)
from replicated_proxy.core.validity import ExpiryStanding, Moment, ValidityPolicy, judge_expiry
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound
from replicated_proxy.kube.pacing import Pace
from replicated_proxy.kube.resources import APPLICATIONS, LICENSES, Resource

_log = logging.getLogger(__name__)
_INVALID: Final = 422
_WAITING: Final = SyncResult(SyncState.WAITING)
_PENDING: Final = SyncResult(SyncState.PENDING)
_LEFT_OUT: Final = "the setting sources.namespaces leaves this namespace out"
_OVERSIZED: Final = (
    "it takes more than its share of the routing table, and what was published of it stays: "
    'list fewer namespaces and images in its Applications, or "*"'
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the statuses are made of.

    Attributes:
        plan: the routing table and its bindings.
        declared: what the plan was made from.
        results: the last result in each namespace.
        table_problem: why the table could not be published, or empty.
    """

    plan: TablePlan
    declared: Declared
    results: Mapping[str, SyncResult]
    table_problem: str

    def speak_of(self, entry: LicenseEntry | ApplicationEntry) -> bool:
        """Tell whether they hold for an object as it is now; one that came or changed since has a turn of its own."""
        return self.declared.get(entry.uid) == replace(entry, status={})


class Reporter:
    """Writes statuses and posts Events.

    Attributes:
        held: seconds after which a status may be written that was held back, since somebody else writes it, too.
    """

    def __init__(
        self, client: KubeClient, world: World, now: Callable[[], datetime], policy: ValidityPolicy, pace: Pace
    ) -> None:
        """Take the pace by which a status that somebody else changed is written again."""
        self.held = 0.0
        self._pace = pace
        self._written: dict[str, Body] = {}
        self._client = client
        self._world = world
        self._now = now
        self._policy = policy
        self._announcer = Announcer(client, now)
        self._told: dict[str, Body] = {}

    async def report(self, findings: Findings) -> bool:
        """Bring every status up to date; returns whether an answer brought news, for which no event comes any more.

        One that the API server finds invalid is not tried again until something changes: the answer would be the
        same, and so it is for an object that was made anew under its name, whose own event is on the way.

        Raises:
            ApiError: a status could not be written; the rest is tried all the same and the last error raised.
        """
        failure: ApiError | None = None
        news = False
        self.held = 0.0
        self._forget_the_gone()
        for write in self._writes(findings):
            try:
                news |= await write
            except (NotFound, Conflict):
                continue  # Deleted meanwhile.
            except ApiError as error:
                _log.warning("status not written: %s", error)
                failure = failure if error.status == _INVALID else error
        if failure is not None:
            raise failure
        return news

    def _writes(self, findings: Findings) -> Iterable[Awaitable[bool]]:
        """Return what there is to write, one awaitable for each object whose status is out of date."""
        footprints = measure_footprints(findings.plan.table, self._results(findings))
        noted = self._world.noted()
        for entry in filter(findings.speak_of, self._world.licenses.values()):
            report = self._license_report(entry, findings, footprints, noted)
            yield self._write(LICENSES, entry, license_conditions(report), license_fields(report))
        for entry in filter(findings.speak_of, self._world.secret_licenses.entries().values()):
            report = self._license_report(entry, findings, footprints, noted)
            if entry.lic is None:
                report = replace(report, problem_reason=StatusReason.SOURCE_UNKNOWN.value)
            yield self._tell(entry.key, entry, license_conditions(report))
        unsettled = self._unsettled(findings)
        for item in filter(findings.speak_of, self._world.applications.values()):
            if item.identity.namespace in unsettled:
                continue
            problem = self._application_problem(item, findings.plan)
            note = findings.plan.bindings.notes.get(item.identity.uid, "")
            conditions = application_conditions(item.application, problem, note)
            yield self._write(APPLICATIONS, item, conditions, application_fields(item.application))

    def _unsettled(self, findings: Findings) -> set[str]:
        """Return the namespaces with a License that came or changed since: whose Applications it takes is not known."""
        licenses = (*self._world.licenses.values(), *self._world.secret_licenses.entries().values())
        return {entry.identity.namespace for entry in licenses if not findings.speak_of(entry)}

    def _results(self, findings: Findings) -> dict[str, SyncResult]:
        """Collect what came of each namespace; one that is listed and missing is pending."""
        results = {
            namespace.name: findings.results.get(namespace.name, _WAITING)
            for namespace in self._world.namespaces.values()
            if not namespace.terminating
        }
        for name in findings.plan.table.listed:
            if self._world.namespaces.get(name) is None:
                found = findings.results.get(name, _PENDING)
                results[name] = found if found.state is SyncState.FAILED else _PENDING  # It could not be created.
        return results

    def _license_report(
        self, entry: LicenseEntry, findings: Findings, footprints: Mapping[str, Footprint], noted: frozenset[str]
    ) -> LicenseReport:
        """Put together what a License's status says."""
        problem, reason = self._license_problem(entry, findings)
        plan, table = findings.plan, findings.plan.table
        # By its key: the row may be that of a License whose kind was deleted and made anew.
        route = next((item for item in table.routes if item.license == entry.key), None)
        footprint = footprints.get(route.uid, Footprint()) if route else Footprint()
        standing = self._standing(entry, plan)
        return LicenseReport(
            lic=entry.lic,
            problem=problem,
            problem_reason=reason.value,
            held=route is not None and route.uid in plan.held,
            tally=footprint.tally,
            shadows=footprint.shadows,
            secret_name=table.secret_name,
            own_namespace_excluded=table.rules.excludes(entry.identity.namespace),
            in_effect=route is not None,
            leaving=entry.uid in noted - plan.oversized - plan.unknown and (route is None or route.expired),
            renewed=standing is ExpiryStanding.REVOKED and not _has_ended(entry, self._now()),
            standing=standing,
            policy=self._policy,
        )

    def _standing(self, entry: LicenseEntry, plan: TablePlan) -> ExpiryStanding:
        """Tell how a License stands to its end; nothing follows from that of one that does not count."""
        if entry.lic is None:
            return ExpiryStanding.NEVER
        if (known := plan.standings.get(entry.uid)) is not None:
            return known
        policy = replace(self._policy, on_expiry=ExpiryPolicy.RETAIN)
        found = judge_expiry(entry.lic.expiry, Moment(self._now()), policy)
        return ExpiryStanding.FROZEN if found.passed else found

    def _license_problem(self, entry: LicenseEntry, findings: Findings) -> tuple[str, StatusReason]:
        """Say why a License is not used, or nothing."""
        if not entry.source and not self._world.honours(entry.identity.namespace):
            return _LEFT_OUT, StatusReason.NOT_HONOURED
        if findings.table_problem and not entry.problem:
            return findings.table_problem, StatusReason.TABLE_TOO_LARGE
        if entry.uid in findings.plan.oversized:
            return _OVERSIZED, StatusReason.TABLE_TOO_LARGE
        return entry.problem, StatusReason.INVALID_LICENSE

    def _application_problem(self, entry: ApplicationEntry, plan: TablePlan) -> str:
        """Say why an Application has no effect, or nothing."""
        if not self._world.honours(entry.identity.namespace):
            return _LEFT_OUT
        return plan.bindings.problems.get(entry.identity.uid, "")

    async def _write(
        self,
        resource: Resource,
        entry: LicenseEntry | ApplicationEntry,
        conditions: list[Condition],
        fields: dict[str, Any],
    ) -> bool:
        """Write one status if it says something new, and post its transitions.

        The answer is the whole object, so it may bring what somebody else has just changed: returns whether it did.
        """
        generation = entry.identity.generation
        status = {
            "observedGeneration": generation,
            "conditions": render_conditions(conditions, entry.status, generation, self._now()),
            **fields,
        }
        if _is_same(status, entry.status) or not self._may_write(entry):
            return False
        path = resource.path(entry.identity.name, entry.identity.namespace, "status")
        # The UID as a test: a merge patch's is ignored here, and a namesake must not get this one's status.
        body = await self._client.patch(
            path,
            (
                {"op": "test", "path": "/metadata/uid", "value": entry.identity.uid},
                {"op": "add", "path": "/status", "value": _without_nulls(status)},
            ),
        )
        self._written[entry.identity.uid] = mapping_at(body, "status")
        store = self._world.licenses if resource is LICENSES else self._world.applications
        store.apply("MODIFIED", body)
        for condition in find_transitions(conditions, entry.status):
            await self._announcer.announce(refer_to(body, entry.identity), condition)
        taken = store.get(entry.identity.key)
        return taken is not None and replace(taken, status=entry.status) != entry

    def _may_write(self, entry: LicenseEntry | ApplicationEntry) -> bool:
        """Tell whether a status may be written now; after growing pauses only, where another writer undoes it."""
        uid = entry.identity.uid
        if self._written.get(uid, entry.status) == entry.status:
            return True
        if left := self._pace.remaining(uid):
            self.held = min(self.held or left, left)
            return False
        self._pace.note(uid)
        if self._pace.fights(uid):
            _log.warning("status of %s is written by somebody else, too: is there another release?", entry.identity.key)
        return True

    def _forget_the_gone(self) -> None:
        """Drop what is known of the statuses of objects that do not exist any more."""
        stores = (self._world.licenses, self._world.applications)
        living = {entry.identity.uid for store in stores for entry in store.values()}
        for uid in self._written.keys() - living:
            del self._written[uid]
            self._pace.forget(uid)

    async def _tell(self, key: str, entry: LicenseEntry, conditions: list[Condition]) -> bool:
        """Post the transitions of a license that a Secret holds: there is no status to write them to, so no news."""
        earlier = self._told.get(key, {})
        self._told[key] = {"conditions": render_conditions(conditions, earlier, 0, self._now())}
        for condition in find_transitions(conditions, earlier):
            await self._announcer.announce(refer_to_secret(entry.identity), condition)
        return False


def _has_ended(entry: LicenseEntry, now: datetime) -> bool:
    """Tell whether a License's end lies behind us by our clock."""
    return entry.lic is not None and entry.lic.expiry.has_passed(now)


def _is_same(wanted: Mapping[str, Any], found: Body) -> bool:
    """Tell whether a status says all that it should; a field that should be absent is."""
    return all(found.get(name) == value for name, value in wanted.items())


def _without_nulls(status: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what should be absent."""
    return {name: value for name, value in status.items() if value is not None}
