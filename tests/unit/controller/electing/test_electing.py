"""Contending for the Lease, with every message that can get lost."""

from __future__ import annotations

import asyncio

import pytest

from contending import DEFAULTS, MINUTE, Join, LeaseServer, Passage
from simulated_clock import SimulatedClock, settle


async def test_first_contender_leads(server: LeaseServer, join: Join) -> None:
    """Where there is no Lease it is made, and from the beginning of that request writes are let through."""
    a = join("a")
    await settle()

    assert a.leading
    assert a.elector.problems() == []
    assert a.gate.remaining == DEFAULTS.renew
    assert server.lease is not None
    assert server.lease["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "replicated-proxy-operator"}
    assert (server.holder, server.lease["spec"]["leaseDurationSeconds"]) == ("a", 15)


async def test_quiet_contest_costs_renewals_only(clock: SimulatedClock, join: Join) -> None:
    """The leader renews each two seconds and asks nothing else; a standby, once it knows, asks nothing at all."""
    a = join("a")
    await settle()
    b = join("b")
    await settle()
    a.link.asked.clear()
    b.link.asked.clear()

    await clock.advance(10 * MINUTE)

    assert a.leading
    assert not b.leading
    assert b.elector.problems() == []
    assert a.link.asked == ["replace"] * 300
    assert b.link.asked == []


async def test_released_lease_is_taken_at_once(server: LeaseServer, clock: SimulatedClock, join: Join) -> None:
    """An orderly end is followed by a takeover before any time has passed."""
    a = join("a")
    await settle()
    b = join("b")
    await clock.advance(MINUTE)

    await a.stop()
    await settle()

    assert b.leading
    assert a.gate.remaining == 0.0
    assert server.lease is not None
    assert (server.holder, server.lease["spec"]["leaseTransitions"]) == ("b", 1)


async def test_silent_leader_stops_before_another_starts(clock: SimulatedClock, join: Join) -> None:
    """Cut off, the leader lets no write through from ten seconds on; from fifteen on another one leads."""
    a = join("a")
    await settle()
    b = join("b")
    await clock.advance(1.0)
    a.link.cut = True

    await clock.advance(8.9)
    assert a.leading
    await clock.advance(0.1)
    assert not a.leading
    assert a.gate.remaining == 0.0
    await clock.advance(4.9)
    assert not b.leading
    await clock.advance(0.1)
    assert b.leading

    a.link.cut = False
    await clock.advance(MINUTE)
    assert not a.leading
    assert b.leading


async def test_killed_leader_is_followed_when_its_lease_has_run_out(clock: SimulatedClock, join: Join) -> None:
    """Without a release the standby waits for the whole duration since it saw the last renewal."""
    a = join("a")
    await settle()
    b = join("b")
    await clock.advance(6.0)
    await a.kill()

    await clock.advance(14.9)
    assert not b.leading
    await clock.advance(0.1)
    assert b.leading


async def test_same_pod_takes_its_own_lease_again(clock: SimulatedClock, join: Join) -> None:
    """A container that was started again after a crash leads at once: nobody else has the name of its Pod."""
    first = join("a")
    await settle()
    await first.kill()

    second = join("a")
    await settle()

    assert second.leading
    await clock.advance(MINUTE)
    assert second.leading


async def test_two_of_one_name_do_not_take_turns(clock: SimulatedClock, join: Join) -> None:
    """Two processes that by mistake have one identity agree on one of them, and stay with it."""
    first = join("a")
    await settle()
    await clock.advance(1.0)
    second = join("a")
    await settle()
    assert (first.leading, second.leading) == (False, True)

    await clock.advance(10 * MINUTE)

    assert (first.leading, second.leading) == (False, True)


async def test_intruder_ends_a_term_at_once(server: LeaseServer, clock: SimulatedClock, join: Join) -> None:
    """When somebody edits the holder, writing stops before any time has passed; the Lease then has to run out."""
    a = join("a")
    await clock.advance(MINUTE)

    server.edit(holderIdentity="intruder")
    await settle()

    assert not a.leading
    assert a.gate.remaining == 0.0
    await clock.advance(14.9)
    assert not a.leading
    await clock.advance(0.1)
    assert a.leading


async def test_deleted_lease_is_taken_again_by_its_holder_alone(
    server: LeaseServer, clock: SimulatedClock, join: Join
) -> None:
    """Deleting the Lease makes nobody else lead: they know who may still be writing."""
    a = join("a")
    await settle()
    b = join("b")
    await clock.advance(MINUTE)

    server.delete()
    await settle()

    assert (a.leading, b.leading) == (True, False)
    assert server.holder == "a"


async def test_labels_of_others_stay_and_disturb_nobody(server: LeaseServer, clock: SimulatedClock, join: Join) -> None:
    """What somebody adds to the Lease survives renewals, and costs no term even when a renewal met the change."""
    a = join("a")
    await settle()
    a.link.cut = True
    assert server.lease is not None
    server.put(server.lease | {"metadata": server.lease["metadata"] | {"annotations": {"by": "them"}}})
    await settle()
    a.link.cut = False

    await clock.advance(MINUTE)

    assert a.leading
    assert "get" in a.link.asked
    assert server.lease["metadata"]["annotations"] == {"by": "them"}


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_first_request_that_gets_lost_is_made_up_for(
    server: LeaseServer, clock: SimulatedClock, join: Join, lost: str
) -> None:
    """Whether or not an attempt at the Lease arrived is found out by reading, and it is ours in the end."""
    a = join("a", Passage(), Passage(lost=lost))
    await settle()
    assert not a.leading

    await clock.advance(DEFAULTS.renew / 3 + DEFAULTS.retry)

    assert a.leading
    assert server.holder == "a"


async def test_lost_answers_to_renewals_cost_no_term(clock: SimulatedClock, join: Join) -> None:
    """A leader whose answers get lost once in a while reads, and goes on."""
    well, lost = Passage(), Passage(lost="answer")
    a = join("a", *[well, well, lost, well] * 20)
    await settle()

    for _ in range(60):
        await clock.advance(1.0)
        assert a.leading


async def test_request_without_an_answer_leaves_time_for_another(clock: SimulatedClock, join: Join) -> None:
    """A renewal on a dead connection is given up early enough that the next one still saves the term."""
    a = join("a", Passage(), Passage(), Passage(lost="request"))
    await settle()

    for _ in range(60):
        await clock.advance(1.0)
        assert a.leading


async def test_outage_ends_the_term_and_begins_another(clock: SimulatedClock, join: Join) -> None:
    """After an outage of the API server the holder, whose Lease nobody took, leads again."""
    a = join("a")
    await settle()
    a.link.cut = True
    await clock.advance(10.0)
    assert not a.leading
    a.link.cut = False

    await clock.advance(DEFAULTS.renew / 3 + DEFAULTS.retry)

    assert a.leading


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": {"holderIdentity": 5, "leaseTransitions": "x"}}])
async def test_odd_lease_is_taken(server: LeaseServer, join: Join, body: dict[str, object]) -> None:
    """A Lease that names nobody in any way that makes sense is free."""
    server.put(dict(body))
    a = join("a")
    await settle()

    assert a.leading
    assert server.holder == "a"


async def test_standby_releases_nothing(server: LeaseServer, clock: SimulatedClock, join: Join) -> None:
    """A standby that ends leaves the other one's Lease as it is."""
    a = join("a")
    await settle()
    b = join("b")
    await clock.advance(MINUTE)
    b.link.asked.clear()

    await b.stop()

    assert a.leading
    assert b.link.asked == []
    assert server.holder == "a"


async def test_release_meets_a_change(server: LeaseServer, join: Join) -> None:
    """A Lease that somebody labelled a moment ago is released all the same; one that was taken is left alone."""
    a = join("a")
    await settle()
    await a.kill()
    server.edit(preferredHolder="them")
    await a.elector.release()
    assert server.holder == ""

    b = join("b")
    await settle()
    await b.kill()
    server.edit(holderIdentity="c")
    await b.elector.release()
    assert server.holder == "c"


async def test_release_that_fails_ends_all_the_same(clock: SimulatedClock, join: Join) -> None:
    """An API server that does not answer keeps nobody from ending."""
    a = join("a")
    await settle()
    a.link.cut = True
    ending = asyncio.create_task(a.stop())

    await clock.advance(DEFAULTS.renew)

    assert ending.done()


async def test_lost_attempt_is_released_too(server: LeaseServer, join: Join) -> None:
    """Whoever ends without knowing whether it got the Lease looks, and gives up what is its own."""
    a = join("a")
    await settle()
    await a.stop()
    b = join("b")
    await settle()
    b.link.cut = True
    server.edit(renewTime="unheard")
    await b.kill()
    b.link.cut = False

    await b.elector.release()

    assert server.holder == ""
