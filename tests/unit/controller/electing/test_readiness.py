"""What makes a contender for the Lease ready, and what it says while it is not."""

from __future__ import annotations

import pytest

from contending import DEFAULTS, MINUTE, Join, LeaseServer, Passage
from replicated_proxy.kube.errors import Forbidden
from simulated_clock import SimulatedClock, settle


async def test_refusal_is_named(clock: SimulatedClock, join: Join) -> None:
    """Without permission for the Lease nobody leads, readiness says why, and granting it heals."""
    a = join("a")
    a.link.refusal = Forbidden(403, "Forbidden", 'leases "lease" is forbidden')
    await clock.advance(MINUTE)

    assert not a.elector.settled.is_set()
    assert a.elector.problems() == ['Lease ns/lease: 403 Forbidden: leases "lease" is forbidden']

    a.link.refusal = None
    await clock.advance(MINUTE)
    assert a.leading
    assert a.elector.problems() == []


async def test_refused_writes_are_a_problem_all_the_time_and_logged_once(
    clock: SimulatedClock, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading the Lease, which is allowed, solves nothing: readiness does not come and go, nor does the log repeat."""
    a = join("a", *[Passage(there=0.25)] * 100)
    a.link.refusal, a.link.read_only = Forbidden(403, "Forbidden", "no writing"), True
    await clock.advance(1.0)
    said = set()
    for _ in range(100):
        await clock.advance(0.1)
        said.update(a.elector.problems())

    assert said == {"Lease ns/lease: 403 Forbidden: no writing"}
    assert [record.getMessage() for record in caplog.records].count("lease: 403 Forbidden: no writing") == 1

    a.link.refusal = None
    await clock.advance(MINUTE)
    assert a.elector.problems() == []


async def test_standby_that_was_not_faster_forgets_what_was_wrong_before(
    server: LeaseServer, clock: SimulatedClock, join: Join
) -> None:
    """It knows by now who leads, so it is ready whatever its earlier attempts met."""
    server.put({"spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1}})
    b = join("b", Passage(), Passage(there=1.0), Passage(there=1.0))
    await clock.advance(1.5)
    server.lease = None  # Deleted while the attempt is on its way, which ends with 404.
    await clock.advance(3.0)
    server.put({"spec": {"holderIdentity": "c", "leaseDurationSeconds": 3600}})
    await clock.advance(MINUTE)
    server.edit(renewTime="later")
    await clock.advance(MINUTE)

    assert not b.leading
    assert b.elector.problems() == []


async def test_lease_that_is_not_read_yet_is_a_problem(join: Join) -> None:
    """Until it is known who leads, a replica is not ready."""
    assert join("a").elector.problems() == ["Lease ns/lease: has not been read"]


async def test_standby_is_ready_once_the_holder_has_renewed(clock: SimulatedClock, join: Join) -> None:
    """A Lease with a holder in it says nothing of whether there is one: the next renewal does."""
    join("a")
    await settle()
    b = join("b")
    await settle()
    assert b.elector.problems() == ["Lease ns/lease: a has not renewed it since it was read here first"]

    await clock.advance(DEFAULTS.retry)
    assert b.elector.problems() == []


async def test_no_standby_is_ready_before_somebody_leads_in_place_of_the_dead(
    clock: SimulatedClock, join: Join
) -> None:
    """After a leader that ended without a release, all that start wait until one of them has taken over."""
    a = join("a")
    await settle()
    await a.kill()
    b, c = join("b"), join("c")

    await clock.advance(DEFAULTS.lease - 0.1)
    assert all(each.elector.problems() != [] for each in (b, c))
    await clock.advance(0.2)
    assert b.leading != c.leading
    await clock.advance(DEFAULTS.retry)
    assert b.elector.problems() == c.elector.problems() == []


async def test_ready_standby_stays_ready_without_a_leader(
    server: LeaseServer, clock: SimulatedClock, join: Join
) -> None:
    """Neither the death of leaders, nor an intruder in the Lease, nor its deletion takes readiness away."""
    a = join("a")
    await settle()
    b, c = join("b"), join("c")
    await clock.advance(DEFAULTS.retry)

    await a.kill()
    for _ in range(30):
        await clock.advance(1.0)
        assert b.elector.problems() == c.elector.problems() == []
    server.edit(holderIdentity="intruder", leaseDurationSeconds=600)
    await clock.advance(MINUTE)
    assert not b.leading
    assert not c.leading
    assert b.elector.problems() == c.elector.problems() == []
    server.delete()
    await clock.advance(MINUTE)
    assert b.elector.problems() == c.elector.problems() == []
