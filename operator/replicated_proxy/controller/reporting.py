"""Statuses and Events of Licenses and Applications: written only when they change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from replicated_proxy.controller.world import ApplicationEntry, LicenseEntry, World
from replicated_proxy.core.conditions import Condition, ConditionStatus, find_transitions, render_conditions
from replicated_proxy.core.coverage import TablePlan
from replicated_proxy.core.objects import Body, ObjectIdentity, format_timestamp
from replicated_proxy.core.pull_secrets import MANAGER
from replicated_proxy.core.statuses import (
    LicenseReport,
    StatusReason,
    SyncResult,
    SyncState,
    application_conditions,
    application_fields,
    license_conditions,
    license_fields,
)
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.resources import APPLICATIONS, CORE_EVENTS, LICENSES, Resource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the statuses are made of.

    Attributes:
        plan: the routing table and its bindings.
        results: the last result in each namespace.
        table_problem: why the table could not be published, or empty.
    """

    plan: TablePlan
    results: Mapping[str, SyncResult]
    table_problem: str


class Reporter:
    """Writes statuses and posts Events."""

    def __init__(self, client: KubeClient, world: World, now: Callable[[], datetime]) -> None:
        self._client = client
        self._world = world
        self._now = now

    async def report(self, findings: Findings) -> None:
        """Bring every status up to date.

        Raises:
            ApiError: a status could not be written; the rest is tried all the same and the last error raised.
        """
        failure: ApiError | None = None
        for write in self._writes(findings):
            try:
                await write
            except NotFound:
                continue  # Deleted meanwhile.
            except ApiError as error:
                _log.warning("status not written: %s", error)
                failure = error
        if failure is not None:
            raise failure

    def _writes(self, findings: Findings) -> Iterable[Any]:
        """Return what there is to write, one awaitable for each object whose status is out of date."""
        by_license = self._results_by_license(findings)
        for entry in self._world.licenses.values():
            report = self._license_report(entry, findings, by_license.get(entry.identity.uid, {}))
            yield self._write(LICENSES, entry, license_conditions(report), license_fields(report))
        for item in self._world.applications.values():
            problem = self._application_problem(item, findings.plan)
            note = findings.plan.bindings.notes.get(item.identity.uid, "")
            conditions = application_conditions(item.application, problem, note)
            yield self._write(APPLICATIONS, item, conditions, application_fields(item.application))

    def _results_by_license(self, findings: Findings) -> dict[str, dict[str, SyncResult]]:
        """Collect each License's namespaces; one that is listed and missing is pending."""
        collected: dict[str, dict[str, SyncResult]] = {}
        table, waiting = findings.plan.table, SyncResult(SyncState.WAITING)
        for namespace in self._world.namespaces.values():
            if not namespace.terminating:
                result = findings.results.get(namespace.name, waiting)
                for item in table.covering(namespace.name):
                    collected.setdefault(item.route.uid, {})[namespace.name] = result
        for name in table.listed:
            if self._world.namespaces.get(name) is None:
                for item in table.covering(name):
                    collected.setdefault(item.route.uid, {})[name] = SyncResult(SyncState.PENDING)
        return collected

    def _license_report(
        self, entry: LicenseEntry, findings: Findings, results: Mapping[str, SyncResult]
    ) -> LicenseReport:
        """Put together what a License's status says."""
        problem, reason = entry.problem, StatusReason.INVALID_LICENSE
        if not self._world.honours(entry.identity.namespace):
            problem, reason = "the setting sources.namespaces leaves this namespace out", StatusReason.NOT_HONOURED
        elif findings.table_problem:
            problem, reason = findings.table_problem, StatusReason.TABLE_TOO_LARGE
        table = findings.plan.table
        return LicenseReport(
            lic=entry.lic,
            problem=problem,
            problem_reason=reason.value,
            held=any(route.license == entry.identity.key and route.uid in findings.plan.held for route in table.routes),
            results=results,
            secret_name=table.secret_name,
            own_namespace_excluded=table.rules.excludes(entry.identity.namespace),
        )

    def _application_problem(self, entry: ApplicationEntry, plan: TablePlan) -> str:
        """Say why an Application has no effect, or nothing."""
        if not self._world.honours(entry.identity.namespace):
            return "the setting sources.namespaces leaves this namespace out"
        return plan.bindings.problems.get(entry.identity.uid, "")

    async def _write(
        self,
        resource: Resource,
        entry: LicenseEntry | ApplicationEntry,
        conditions: list[Condition],
        fields: dict[str, Any],
    ) -> None:
        """Write one status if it says something new, and post its transitions."""
        generation = entry.identity.generation
        status = {
            "observedGeneration": generation,
            "conditions": render_conditions(conditions, entry.status, generation, self._now()),
            **fields,
        }
        if _is_same(status, entry.status):
            return
        path = resource.path(entry.identity.name, entry.identity.namespace, "status")
        body = await self._client.merge(path, {"status": status})
        store = self._world.licenses if resource is LICENSES else self._world.applications
        store.apply("MODIFIED", body)
        for condition in find_transitions(conditions, entry.status):
            await self._post(body, entry.identity, condition)

    async def _post(self, body: Object, identity: ObjectIdentity, condition: Condition) -> None:
        """Post one Event; a lost Event is not worth a retry, since the status says the same."""
        moment = format_timestamp(self._now())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{identity.name[:50]}-", "namespace": identity.namespace},
            "involvedObject": {
                "apiVersion": body.get("apiVersion"),
                "kind": body.get("kind"),
                "name": identity.name,
                "namespace": identity.namespace,
                "uid": identity.uid,
            },
            "type": "Warning" if condition.status is ConditionStatus.FALSE else "Normal",
            "reason": condition.reason,
            "message": condition.message[:1024],
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            await self._client.create(CORE_EVENTS, event, identity.namespace)
        except ApiError as error:
            _log.info("event not posted: %s", error)


def _is_same(wanted: Mapping[str, Any], found: Body) -> bool:
    """Tell whether a status says all that it should; a field that should be absent is."""
    return all(found.get(name) == value for name, value in wanted.items())
