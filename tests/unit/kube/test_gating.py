"""The gate that the Lease holds open for writes."""

from __future__ import annotations

import asyncio

import pytest

from replicated_proxy.clock import SystemClock
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.gating import NotLeading, WriteGate
from simulated_clock import SimulatedClock, settle


class Write:
    """A write on its way, which ends when the test says so."""

    def __init__(self, gate: WriteGate) -> None:
        self._gate = gate
        self.answer = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> str:
        """Pass the gate and wait for the answer."""
        async with self._gate.passage("PATCH /path"):
            await self.answer.wait()
        return "written"


async def test_gate_is_shut_at_first() -> None:
    """Nothing is written before there was a Lease, and the error says so."""
    write = Write(WriteGate(SimulatedClock()))

    with pytest.raises(NotLeading, match="PATCH /path was not carried out: this replica does not hold the Lease"):
        await write.task
    assert issubclass(NotLeading, ApiError)


async def test_gate_is_open_until_its_moment() -> None:
    """Writes pass until the moment, on the monotonic clock, and not at it."""
    clock = SimulatedClock()
    gate = WriteGate(clock)
    gate.open_until(10.0)
    clock.jump(9.9)
    write = Write(gate)
    write.answer.set()
    assert await write.task == "written"

    clock.jump(0.1)
    assert gate.remaining == 0.0
    with pytest.raises(NotLeading):
        await Write(gate).task


async def test_write_on_its_way_is_cut_off_when_the_gate_shuts() -> None:
    """A Lease that is lost ends what is on its way at once."""
    gate = WriteGate(SimulatedClock())
    gate.open_until(10.0)
    write = Write(gate)
    await settle()

    gate.shut()

    with pytest.raises(NotLeading):
        await write.task


async def test_write_on_its_way_is_cut_off_at_the_end() -> None:
    """Where nobody renews and nobody shuts, the write ends by itself at the moment."""
    clock = SystemClock()
    gate = WriteGate(clock)
    gate.open_until(clock.monotonic() + 0.05)

    with pytest.raises(NotLeading):
        await Write(gate).task


async def test_renewal_keeps_writes_on_their_way() -> None:
    """A write that takes longer than what was left when it began goes on when the Lease is renewed meanwhile."""
    clock = SystemClock()
    gate = WriteGate(clock)
    first = clock.monotonic() + 1.0  # Enough for the write to begin on a busy machine.
    gate.open_until(first)
    write = Write(gate)
    await settle()
    gate.open_until(first + 60.0)
    # The loop calls in the order of the times: the write would have been cut off by then.
    asyncio.get_running_loop().call_later(first - clock.monotonic() + 0.01, write.answer.set)

    assert await write.task == "written"


async def test_errors_of_a_write_are_its_own() -> None:
    """A write that fails by itself fails with its own error, a timeout included."""
    gate = WriteGate(SimulatedClock())
    gate.open_until(10.0)

    with pytest.raises(TimeoutError, match="of its own"):
        async with gate.passage("PUT /path"):
            raise TimeoutError("of its own")


async def test_draining_lets_writes_end_and_no_more_begin() -> None:
    """At an orderly end what is on its way ends well, what comes then waits, and after it the gate is shut."""
    gate = WriteGate(SimulatedClock())
    gate.open_until(10.0)
    write = Write(gate)
    await settle()
    draining = asyncio.create_task(gate.drain(5.0))
    await settle()
    late = Write(gate)
    await settle()
    assert not draining.done()

    write.answer.set()

    assert await write.task == "written"
    await draining
    assert gate.remaining == 0.0
    assert not late.task.done()
    late.task.cancel()
    await asyncio.gather(late.task, return_exceptions=True)


async def test_draining_does_not_wait_for_ever() -> None:
    """A write that does not end is cut off after a while."""
    gate = WriteGate(SimulatedClock())
    gate.open_until(10.0)
    write = Write(gate)
    await settle()

    await gate.drain(0.05)

    with pytest.raises(NotLeading):
        await write.task
