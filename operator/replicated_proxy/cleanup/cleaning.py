"""Carrying out an uninstallation at the API server, until a look around finds nothing of ours any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.cleanup.planning import (
    CopiesPlan,
    HomeObject,
    is_going,
    is_made_by_operator,
    list_home_objects,
    plan_copies,
    seconds_until_free,
)
from replicated_proxy.clock import Clock
from replicated_proxy.core.leases import LeaseTiming, Observation, observe
from replicated_proxy.core.objects import read_identity
from replicated_proxy.core.pull_secrets import Ownership, Removal, SecretPlan
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound
from replicated_proxy.kube.resources import LEASES, SECRETS
from replicated_proxy.settings import Settings

_log = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one look around came to.

    Attributes:
        problem: why another one is needed, for people; empty when nothing of ours is left.
        pause: seconds to wait before it, where somebody said how many.
        deleted: how many objects went.
    """

    problem: str = ""
    pause: float = 0.0
    deleted: int = 0


@dataclass(slots=True)
class _Deletions:
    """What came of a number of deletions that run side by side."""

    done: int = 0
    failed: list[tuple[str, ApiError]] = field(default_factory=list)


class Cleaner:
    """Deletes what this installation made; safe to run again, and beside another one of itself."""

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._ownership = Ownership(settings.installation, settings.secret.name)
        self._lease: Observation | None = None
        self._copies = CopiesPlan()
        self._deleted = 0
        self._told = ""

    async def clean(self, seconds: float) -> bool:
        """Look around and delete until nothing of ours is left; returns False when the time was too short for it."""
        deadline = self._clock.monotonic() + seconds
        attempt = 0
        while True:
            found = await self._round(deadline)
            self._deleted += found.deleted
            attempt = 0 if found.deleted else attempt + 1
            pause = found.pause or min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
            if not found.problem or self._clock.monotonic() + pause >= deadline:
                self._summarize(found.problem, seconds)
                return not found.problem
            self._tell(found.problem)
            await self._clock.sleep(pause)

    def _tell(self, problem: str) -> None:
        """Log why it goes on, once for each reason."""
        if problem != self._told:
            _log.info("clean-up goes on: %s", problem)
        self._told = problem

    async def _round(self, deadline: float) -> Round:
        """Look around once: is anybody working, which copies are there, what is left at home."""
        try:
            held = await self._wait_for_lease()
            if held.problem:
                return held
            copies = await self._delete_copies(deadline)
            return copies if copies.problem else await self._delete_home_objects()
        except ApiError as error:
            return Round(str(error), error.retry_after)

    async def _wait_for_lease(self) -> Round:
        """Say how long to wait for the controller, which would make anew what is deleted here."""
        controller = self._settings.controller
        timing = LeaseTiming(controller.lease_seconds, controller.renew_seconds, controller.retry_seconds)
        body = await self._read(HomeObject("Lease", LEASES, controller.lease_name))
        now = self._clock.monotonic()
        self._lease = observe(self._lease, body, now)
        seconds = seconds_until_free(self._lease, now, timing)
        if not seconds:
            return Round()
        where = f"{self._settings.namespace}/{controller.lease_name}"
        holder = self._lease.record.holder
        # Looked at again before it runs out: the holder may release it, and a renewal shows that it is alive.
        pause = min(seconds, controller.retry_seconds)
        return Round(f"controller {holder} holds the Lease {where}; it has to be stopped first", pause)

    async def _delete_copies(self, deadline: float) -> Round:
        """Delete this installation's copies, several at a time; one that fails holds up no other."""
        listing = await self._client.list_all(SECRETS, field_selector=f"metadata.name={self._ownership.secret_name}")
        self._copies = plan_copies(listing.items, self._ownership)
        outcome, queue = _Deletions(), iter(self._copies.deletions)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.controller.concurrency):
                group.create_task(self._work(queue, outcome, deadline))
        if outcome.failed:
            (namespace, error), *_ = outcome.failed
            problem = f"{len(outcome.failed)} pull secrets could not be deleted, the first one in {namespace}: {error}"
            return Round(problem, error.retry_after, outcome.done)
        if not self._copies.deletions:
            return Round()
        share = f"{outcome.done} of {len(self._copies.deletions)}"
        return Round(f"{share} pull secrets were deleted; looking whether any is left", deleted=outcome.done)

    async def _work(self, queue: Iterator[SecretPlan], outcome: _Deletions, deadline: float) -> None:
        """Take deletions from the queue until it is empty or the time is up."""
        for plan in queue:
            if self._clock.monotonic() >= deadline:
                return
            try:
                outcome.done += await self._delete_copy(plan)
            except ApiError as error:
                outcome.failed.append((plan.namespace, error))

    async def _delete_copy(self, plan: SecretPlan) -> bool:
        """Delete the very Secret that was looked at; returns False where somebody was faster."""
        seen = plan.observed
        uid, version = (seen.uid, seen.resource_version) if seen else ("", "")
        try:
            await self._client.delete(SECRETS, self._ownership.secret_name, plan.namespace, uid, version)
        except (NotFound, Conflict):
            return False  # Gone, changed, or another one by now, which the next look around judges anew.
        _log.info("pull secret deleted", extra={"namespace": plan.namespace, "reason": plan.reason})
        return True

    async def _delete_home_objects(self) -> Round:
        """Delete what the controller made in the operator's own namespace."""
        tried = deleted = 0
        for item in list_home_objects(self._settings):
            body = await self._read(item)
            if body is not None and is_made_by_operator(body) and not is_going(body):
                tried += 1
                deleted += await self._delete_home_object(item, body)
        problem = f"objects in {self._settings.namespace} were deleted; looking whether any is left" if tried else ""
        return Round(problem, deleted=deleted)

    async def _delete_home_object(self, item: HomeObject, body: Object) -> bool:
        """Delete one of them, unless it is another one by now."""
        namespace = self._settings.namespace
        try:
            await self._client.delete(item.resource, item.name, namespace, read_identity(body).uid)
        except (NotFound, Conflict):
            return False
        extra = {"namespace": namespace, "object": item.name, "reason": Removal.UNINSTALLED.value}
        _log.info("%s deleted", item.kind, extra=extra)
        return True

    async def _read(self, item: HomeObject) -> Object | None:
        """Read an object of the own namespace, None where there is none."""
        try:
            return await self._client.get(item.resource, item.name, self._settings.namespace)
        except NotFound:
            return None

    def _summarize(self, problem: str, seconds: float) -> None:
        """Say at the end what went and what was left alone."""
        counts = {
            "deleted": self._deleted,
            "kept_by_finalizers": self._copies.going,
            "of_other_installations": self._copies.others,
            "foreign": self._copies.foreign,
            "installation": self._settings.installation,
        }
        if problem:
            _log.error("clean-up not finished within %g s: %s; run it again", seconds, problem, extra=counts)
        else:
            _log.info("clean-up finished: nothing of this installation is left", extra=counts)
