"""Carrying out one namespace's plan at the API server, and saying what came of it."""

from __future__ import annotations

import logging
from typing import Any, Final

from replicated_proxy.controller.restraint import Restraint
from replicated_proxy.controller.world import Store
from replicated_proxy.core.pull_secrets import (
    Action,
    DesiredSecret,
    ObservedSecret,
    Ownership,
    SecretPlan,
    render_secret,
    render_update,
)
from replicated_proxy.core.statuses import SyncResult, SyncState, conflict
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import ApiError, Conflict, Forbidden, NotFound
from replicated_proxy.kube.resources import SECRETS
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_BEING_DELETED: Final = SyncResult(
    SyncState.FAILED,
    "BeingDeleted",
    "the copy is being deleted and a finalizer of somebody else keeps it: remove the finalizer, and a new one is made",
)


class Stale(Exception):
    """The Secret is other than the plan assumed; the cache has been refreshed, so plan again."""


class SecretWriter:
    """Writes pull secrets; knows nothing of Licenses."""

    def __init__(
        self,
        client: KubeClient,
        secrets: Store[ObservedSecret],
        ownership: Ownership,
        metrics: Metrics,
        restraint: Restraint,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._secrets = secrets
        self._ownership = ownership
        self._restraint = restraint
        self.forget = restraint.forget

    async def carry_out(self, plan: SecretPlan) -> SyncResult | None:
        """Do what the plan says; returns None where the namespace is going away or needs no Secret.

        Raises:
            Stale: somebody else was faster; plan again.
            Deferred: it has to wait.
        """
        if plan.action is not Action.CONFLICT and plan.observed is not None and plan.observed.deleting:
            return _BEING_DELETED if plan.desired else None  # Its last event brings the namespace back.
        if (result := self._restraint.check(plan)) is not None:
            return result
        try:
            result = await self._act(plan)
            self._restraint.note(plan)
            return self._restraint.result(plan, result)
        except (Conflict, NotFound) as error:
            if isinstance(error, NotFound) and plan.action is Action.CREATE:
                return None  # The namespace is gone; its event is on the way.
            await self._refresh(plan.namespace)
            raise Stale from error
        except ApiError as error:
            if isinstance(error, Forbidden) and error.namespace_terminating:
                return None
            return self._fail(plan.namespace, error)

    async def _act(self, plan: SecretPlan) -> SyncResult | None:
        """Send the requests of one action."""
        if plan.action is Action.CONFLICT:
            return conflict(self._ownership.secret_name)
        if plan.action in {Action.REPLACE, Action.DELETE}:
            await self._delete(plan)
        if plan.desired is not None and plan.action in {Action.CREATE, Action.REPLACE}:
            self._note(await self._create(plan.namespace, plan.desired))
        if plan.desired is not None and plan.observed is not None and plan.action is Action.UPDATE:
            self._note(await self._update(plan.desired, plan.observed))
        if plan.action is not Action.NOTHING:
            self._count(plan)
        return SyncResult(SyncState.SYNCED) if plan.desired else None

    async def _create(self, namespace: str, desired: DesiredSecret) -> Object:
        """Create the Secret; 409 means that one is there after all."""
        return await self._client.create(SECRETS, render_secret(namespace, desired, self._ownership), namespace)

    async def _update(self, desired: DesiredSecret, observed: ObservedSecret) -> Object:
        """Change the Secret in place, if it is still as it was observed."""
        path = SECRETS.path(self._ownership.secret_name, observed.namespace)
        return await self._client.merge(path, render_update(observed.namespace, desired, observed, self._ownership))

    async def _delete(self, plan: SecretPlan) -> None:
        """Delete the very Secret that was observed, if it is still as it was: somebody may have made it theirs."""
        seen = plan.observed
        if seen is not None:
            name = self._ownership.secret_name
            await self._client.delete(SECRETS, name, plan.namespace, seen.uid, seen.resource_version)
            self._secrets.forget(plan.namespace, seen)

    async def _refresh(self, namespace: str) -> None:
        """Read the Secret as it is now into the cache."""
        known = self._secrets.get(namespace)
        try:
            body = await self._client.get(SECRETS, self._ownership.secret_name, namespace)
        except NotFound:
            self._secrets.forget(namespace, known)
        except ApiError as error:
            _log.warning("pull secret cannot be read: %s", error, extra={"namespace": namespace})
        else:
            self._note(body)

    def _note(self, body: dict[str, Any]) -> None:
        """Take the answer into the cache at once: its event may take a while."""
        self._secrets.apply("MODIFIED", body)

    def _count(self, plan: SecretPlan) -> None:
        """Log and count a write that succeeded; thousands of first copies are told by the status and the metric."""
        done = f"{plan.action.value}d"
        self._metrics.secret_syncs.labels(done).inc()
        because = {"because": plan.reason} if plan.reason else {}
        level = logging.DEBUG if plan.action is Action.CREATE else logging.INFO
        _log.log(level, "pull secret %s", done, extra={"namespace": plan.namespace, **because})

    def _fail(self, namespace: str, error: ApiError) -> SyncResult:
        """Log and count a write that failed, and say why in the API server's words."""
        self._metrics.secret_syncs.labels("failed").inc()
        _log.warning("pull secret not written: %s", error, extra={"namespace": namespace})
        return SyncResult(SyncState.FAILED, error.reason, str(error), error.retry_after)
