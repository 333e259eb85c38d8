"""What keeps the writer from writing as fast as it can: repairs that do not last, and many deletions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicated_proxy.core.pull_secrets import Action, DesiredSecret, SecretPlan
from replicated_proxy.core.statuses import SyncResult, SyncState
from replicated_proxy.kube.pacing import Pace, Rate

CONTENDED: Final = "Contended"
_MESSAGE: Final = (
    "somebody else keeps undoing it: find who (kubectl get secret -o yaml --show-managed-fields) and leave one of the "
    "two in charge; until then it is put right once a minute at most"
)
_WRITES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE})


class Deferred(Exception):
    """A write has to wait, although nothing failed.

    Attributes:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"deferred for {seconds:.1f} s")
        self.seconds = seconds


class Restraint:
    """Decides whether a write may happen now.

    A repair is a write of what was written there before. The first ones of a namespace happen at once, further ones
    after growing pauses; when they do not end the namespace counts as contended, until some minutes were calm.
    """

    def __init__(self, deletions_per_second: float, clock: Callable[[], float]) -> None:
        self._repairs = Pace(clock)
        self._deletions = Rate(deletions_per_second, clock)
        self._written: dict[str, DesiredSecret | None] = {}

    def check(self, plan: SecretPlan) -> SyncResult | None:
        """Return None where the plan may be carried out, or the result that stands for it until it may.

        Raises:
            Deferred: not yet.
        """
        name = plan.namespace
        if plan.action is not Action.DELETE:
            self._deletions.drop(name)
        pause = self._repairs.remaining(name) if self._repeats(plan) else 0.0
        if self._repairs.fights(name) and (pause or plan.action is Action.NOTHING):
            return SyncResult(SyncState.FAILED, CONTENDED, _MESSAGE, pause or self._repairs.calm_in(name))
        if pause == 0.0 and plan.action is Action.DELETE:
            pause = self._deletions.wait(name)
        if pause:
            raise Deferred(pause)
        return None

    def note(self, plan: SecretPlan) -> None:
        """Say that a plan was carried out."""
        if plan.action not in _WRITES:
            return
        if self._repeats(plan):
            self._repairs.note(plan.namespace)
        self._written[plan.namespace] = plan.desired

    def result(self, plan: SecretPlan, result: SyncResult | None) -> SyncResult | None:
        """Return what came of a plan, or that its namespace is contended."""
        if result is None or not self._repairs.fights(plan.namespace):
            return result
        return SyncResult(SyncState.FAILED, CONTENDED, _MESSAGE, self._repairs.pause(plan.namespace))

    def forget(self, namespace: str) -> None:
        """Drop what is known of a namespace that is gone."""
        self._written.pop(namespace, None)
        self._repairs.forget(namespace)
        self._deletions.drop(namespace)

    def _repeats(self, plan: SecretPlan) -> bool:
        """Tell whether a plan writes what was written there before."""
        return plan.action in _WRITES and self._written.get(plan.namespace, ...) == plan.desired
