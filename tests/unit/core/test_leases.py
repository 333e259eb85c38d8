"""Who leads: what the next move is, for every state of the Lease."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import Json
from replicated_proxy.core.leases import (
    LONGEST_LEASE,
    Candidate,
    LeaseRecord,
    LeaseTiming,
    Move,
    Observation,
    Plan,
    acquired_record,
    format_micro_time,
    observe,
    plan_move,
    read_lease,
    released_record,
    render_lease,
    renewed_record,
)

TIMING = LeaseTiming(lease=15.0, renew=10.0, retry=2.0)
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
STAMP = "2026-09-01T12:00:00.000000Z"
MINE = LeaseRecord("me", STAMP, STAMP, 15.0, 3)
THEIRS = replace(MINE, holder="they")
STANDBY = Candidate("me")
LEADER = Candidate("me", term=STAMP, renewed_at=100.0)


def seen(record: LeaseRecord, since: float = 100.0, version: str = "7") -> Observation:
    """Return an observation."""
    return Observation(record, version, since)


@pytest.mark.parametrize(
    ("candidate", "lease", "now", "expected"),
    [
        pytest.param(STANDBY, seen(LeaseRecord(), version=""), 100, Plan(Move.ACQUIRE), id="no-lease"),
        pytest.param(STANDBY, seen(replace(THEIRS, holder="")), 100, Plan(Move.ACQUIRE), id="released"),
        pytest.param(STANDBY, seen(THEIRS), 100, Plan(Move.WAIT, 15), id="held"),
        pytest.param(STANDBY, seen(THEIRS), 114, Plan(Move.WAIT, 1), id="held-still"),
        pytest.param(STANDBY, seen(THEIRS), 115, Plan(Move.ACQUIRE), id="run-out"),
        pytest.param(STANDBY, seen(replace(THEIRS, seconds=60)), 115, Plan(Move.WAIT, 45), id="held-for-longer"),
        pytest.param(STANDBY, seen(replace(THEIRS, seconds=0)), 114, Plan(Move.WAIT, 1), id="duration-unknown"),
        pytest.param(STANDBY, seen(THEIRS, version=""), 110, Plan(Move.WAIT, 5), id="held-and-deleted"),
        pytest.param(STANDBY, seen(THEIRS, version=""), 115, Plan(Move.ACQUIRE), id="held-and-deleted-run-out"),
        pytest.param(STANDBY, seen(MINE), 100, Plan(Move.ACQUIRE), id="ours-from-before-a-crash"),
        pytest.param(replace(STANDBY, term=STAMP), seen(MINE), 100, Plan(Move.ACQUIRE), id="ours-after-an-outage"),
        pytest.param(replace(STANDBY, term="before"), seen(MINE), 100, Plan(Move.WAIT, 15), id="a-namesake's"),
        pytest.param(LEADER, seen(MINE), 100, Plan(Move.WAIT, 2), id="just-renewed"),
        pytest.param(LEADER, seen(MINE), 102, Plan(Move.RENEW), id="renewal-due"),
        pytest.param(LEADER, seen(MINE), 109.9, Plan(Move.RENEW), id="renewal-late"),
        pytest.param(
            LEADER, seen(MINE), 110, Plan(Move.STEP_DOWN, reason="it could not be renewed for 10 s"), id="too-late"
        ),
        pytest.param(LEADER, seen(THEIRS), 100, Plan(Move.STEP_DOWN, reason="the Lease is held by they"), id="lost"),
        pytest.param(
            LEADER,
            seen(replace(MINE, acquired="later")),
            100,
            Plan(Move.STEP_DOWN, reason="the Lease is held by me"),
            id="lost-to-a-namesake",
        ),
        pytest.param(
            LEADER, seen(MINE, version=""), 100, Plan(Move.STEP_DOWN, reason="the Lease was deleted"), id="deleted"
        ),
        pytest.param(
            LEADER,
            seen(replace(MINE, holder="")),
            100,
            Plan(Move.STEP_DOWN, reason="the Lease was emptied"),
            id="emptied",
        ),
    ],
)
def test_next_move(candidate: Candidate, lease: Observation, now: float, expected: Plan) -> None:
    """Free, ours and run-out Leases are taken, others waited for; a leader renews, and steps down when it lost it."""
    assert plan_move(candidate, lease, now, TIMING) == expected


def a_lease(version: str = "7", **spec: Any) -> Json:
    """Return a Lease that they hold; `spec` replaces fields."""
    held: Json = {"holderIdentity": "they", "acquireTime": STAMP, "renewTime": STAMP, "leaseDurationSeconds": 15}
    return {"metadata": {"name": "l", "resourceVersion": version}, "spec": held | {"leaseTransitions": 3} | spec}


@pytest.mark.parametrize(
    ("body", "since"),
    [
        pytest.param(a_lease("8", renewTime="later"), 130, id="renewed"),
        pytest.param(a_lease("8", holderIdentity="me"), 130, id="taken"),
        pytest.param(a_lease("8"), 100, id="labelled-by-somebody"),
        pytest.param(None, 100, id="deleted"),
    ],
)
def test_only_a_new_record_is_a_sign_of_life(body: Json | None, since: float) -> None:
    """A Lease runs out from when its record was first seen so, whatever else of the object changes."""
    before = observe(None, a_lease(), 100)

    after = observe(before, body, 130)

    assert (after.since, after.version) == (since, "8" if body else "")
    assert body is not None or after.record == THEIRS


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, THEIRS, id="as-it-should-be"),
        pytest.param(
            {"holderIdentity": None, "acquireTime": 5, "renewTime": {}}, LeaseRecord("", "", "", 15, 3), id="texts"
        ),
        pytest.param(
            {"leaseDurationSeconds": "15", "leaseTransitions": None}, replace(THEIRS, seconds=0, transitions=0), id="no"
        ),
        pytest.param(
            {"leaseDurationSeconds": -1, "leaseTransitions": True}, replace(THEIRS, seconds=0, transitions=0), id="odd"
        ),
        pytest.param({"leaseDurationSeconds": 2**31 - 1}, replace(THEIRS, seconds=LONGEST_LEASE), id="for-ever"),
        pytest.param({"leaseDurationSeconds": 2**31}, replace(THEIRS, seconds=0), id="beyond-int32"),
        pytest.param({"leaseDurationSeconds": float("nan")}, replace(THEIRS, seconds=0), id="nan"),
    ],
)
def test_whatever_stands_in_a_lease_can_be_read(spec: Json, expected: LeaseRecord) -> None:
    """Fields of foreign types count as missing, and no duration keeps everybody out for longer than an hour."""
    assert read_lease(a_lease(**spec)) == expected


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": []}, {"spec": "text", "metadata": 5}])
def test_lease_without_a_spec_is_free(body: Json) -> None:
    """A Lease that says nothing is held by nobody."""
    assert plan_move(STANDBY, observe(None, body, 100), 100, TIMING).move is Move.ACQUIRE


def test_taking_over_counts_a_transition_and_begins_a_term() -> None:
    """Whoever takes a Lease from another writes the new term, and counts; taking one's own again counts nothing."""
    taken = acquired_record(STANDBY, seen(THEIRS), TIMING, NOON)

    assert taken == LeaseRecord("me", STAMP, STAMP, 15.0, 4)
    assert acquired_record(STANDBY, seen(MINE), TIMING, NOON).transitions == 3
    assert acquired_record(STANDBY, seen(LeaseRecord(), version=""), TIMING, NOON).transitions == 0


def test_renewal_keeps_the_term() -> None:
    """A renewal changes the time of the renewal and nothing else."""
    renewed = renewed_record(LEADER, seen(MINE), TIMING, NOON.replace(second=2))

    assert renewed == replace(MINE, renewed="2026-09-01T12:00:02.000000Z")


def test_released_lease_is_free_at_once() -> None:
    """A released Lease names nobody, and the next holder's transition is counted from where it was."""
    released = released_record(seen(MINE), NOON)

    assert plan_move(STANDBY, seen(released), 100, TIMING).move is Move.ACQUIRE
    assert (released.holder, released.transitions) == ("", 3)


def test_lease_is_written_in_kubernetes_own_forms() -> None:
    """Whole seconds, and moments with six digits as MicroTime has them."""
    assert render_lease(MINE) == {
        "holderIdentity": "me",
        "acquireTime": "2026-09-01T12:00:00.000000Z",
        "renewTime": "2026-09-01T12:00:00.000000Z",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
    }
    assert format_micro_time(NOON.replace(microsecond=5)) == "2026-09-01T12:00:00.000005Z"
