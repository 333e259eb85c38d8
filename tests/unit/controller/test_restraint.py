"""What keeps the writer from writing as fast as it can."""

from __future__ import annotations

import pytest

from replicated_proxy.controller.restraint import CONTENDED, Deferred, Restraint
from replicated_proxy.core.pull_secrets import Action, DesiredSecret, SecretPlan
from replicated_proxy.core.statuses import SyncResult, SyncState
from simulated_clock import StandingClock

WANTED = DesiredSecret(b"{}", ("uid",))
SYNCED = SyncResult(SyncState.SYNCED)


@pytest.fixture
def restraint(clock: StandingClock) -> Restraint:
    """Return one that lets two deletions through in a second."""
    return Restraint(2.0, clock)


def a_plan(action: Action, namespace: str = "app", desired: DesiredSecret | None = WANTED) -> SecretPlan:
    """Plan something."""
    return SecretPlan(action, namespace, None, desired)


def repair(restraint: Restraint, clock: StandingClock) -> float:
    """Put a copy right as soon as that may be; returns the wait."""
    waited = 0.0
    while True:
        try:
            held = restraint.check(a_plan(Action.UPDATE))
        except Deferred as deferred:
            pause = deferred.seconds
        else:
            if held is None:
                restraint.note(a_plan(Action.UPDATE))
                return waited
            pause = held.retry_after
        waited += pause
        clock.now += pause


def test_first_writes_and_the_first_repair_wait_for_nothing(restraint: Restraint, clock: StandingClock) -> None:
    """A new copy, a new content and the repair of a copy happen at once."""
    for plan in (a_plan(Action.CREATE), a_plan(Action.UPDATE, desired=DesiredSecret(b"new"))):
        assert restraint.check(plan) is None
        restraint.note(plan)

    assert repair(restraint, clock) == 0


def test_repairs_without_end_are_paced(restraint: Restraint, clock: StandingClock) -> None:
    """Each further repair waits twice as long, a minute at most."""
    restraint.note(a_plan(Action.CREATE))
    waits = [repair(restraint, clock) for _ in range(10)]

    assert waits == pytest.approx([0, 1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_namespace_counts_as_contended_until_it_is_calm(restraint: Restraint, clock: StandingClock) -> None:
    """What does not stay is said while it lasts, also while the copy is right, and not any more after some minutes."""
    restraint.note(a_plan(Action.CREATE))
    for _ in range(4):
        repair(restraint, clock)
    assert restraint.result(a_plan(Action.UPDATE), SYNCED) == SYNCED

    repair(restraint, clock)
    contended = restraint.result(a_plan(Action.UPDATE), SYNCED)
    held = restraint.check(a_plan(Action.NOTHING))
    assert contended is not None
    assert held is not None
    assert (contended.state, contended.reason, held.reason) == (SyncState.FAILED, CONTENDED, CONTENDED)

    clock.now += held.retry_after
    assert restraint.check(a_plan(Action.NOTHING)) is None
    assert repair(restraint, clock) == 0


def test_new_contents_are_no_fight(restraint: Restraint, clock: StandingClock) -> None:
    """However often a License changes, each change reaches its copies at once."""
    for number in range(20):
        plan = a_plan(Action.UPDATE, desired=DesiredSecret(str(number).encode()))
        assert restraint.check(plan) is None
        restraint.note(plan)
        clock.now += 0.1


def test_namespaces_are_apart(restraint: Restraint, clock: StandingClock) -> None:
    """A fight in one namespace slows down no other, and ends with its namespace."""
    restraint.note(a_plan(Action.CREATE))
    for _ in range(6):
        repair(restraint, clock)

    assert restraint.check(a_plan(Action.CREATE, "other")) is None
    restraint.forget("app")
    assert restraint.check(a_plan(Action.CREATE)) is None


def test_deletions_are_paced(restraint: Restraint, clock: StandingClock) -> None:
    """Two a second: two at once, and then each in its turn, which comes without asking anew."""
    plans = [a_plan(Action.DELETE, f"namespace-{number}", None) for number in range(4)]
    assert [restraint.check(plan) for plan in plans[:2]] == [None, None]
    for plan, wait in zip(plans[2:], (0.5, 1.0), strict=True):
        with pytest.raises(Deferred) as deferred:
            restraint.check(plan)
        assert deferred.value.seconds == pytest.approx(wait)

    clock.now += 1.0

    assert [restraint.check(plan) for plan in plans[2:]] == [None, None]


def test_creations_are_not_paced(restraint: Restraint) -> None:
    """Only deletions wait for each other."""
    assert {restraint.check(a_plan(Action.CREATE, f"namespace-{number}")) for number in range(100)} == {None}
