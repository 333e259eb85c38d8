"""Looking names up aside: what hangs holds up nobody but those who wait for it."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from replicated_proxy.core.addresses import AddressRules
from replicated_proxy.detection.dialing import CheckedResolver, ForbiddenHost, Lookups, look_up_addresses
from replicated_proxy.detection.questions import Limits
from simulated_clock import settle


class SlowNames:
    """A resolver that answers nothing until it is let.

    Attributes:
        running: look-ups that have begun.
    """

    def __init__(self) -> None:
        self._let = threading.Event()
        self._begun = threading.Semaphore(0)
        self.running = 0

    def look_up(self, host: str) -> list[str]:
        """Wait, for names that say so."""
        self.running += 1
        self._begun.release()
        if host.startswith("slow"):
            self._let.wait()
        return ["127.0.0.1"]

    async def begun(self) -> None:
        """Wait until one more look-up has begun."""
        await asyncio.to_thread(self._begun.acquire)

    def let(self) -> None:
        """Answer them all."""
        self._let.set()


async def test_hanging_lookups_hold_up_only_their_share() -> None:
    """With all threads taken, others wait for their turn; the event loop does not."""
    names = SlowNames()
    lookups = Lookups(names.look_up, most=2)
    hanging = [asyncio.create_task(lookups.find(f"slow{number}.test")) for number in range(2)]
    await names.begun()
    await names.begun()

    waiting = asyncio.create_task(lookups.find("quick.test"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    assert names.running == 2

    names.let()
    assert await waiting == ["127.0.0.1"]
    assert await asyncio.gather(*hanging) == [["127.0.0.1"]] * 2


async def test_every_question_that_goes_on_can_be_looked_up() -> None:
    """As many namespaces as it takes may ask for names that hang: whoever's turn it is waits for none of those."""
    names = SlowNames()
    lookups = Lookups(names.look_up)
    hanging = [asyncio.create_task(lookups.find(f"slow{number}.test")) for number in range(Limits().running - 1)]
    await settle()
    try:
        assert await asyncio.wait_for(lookups.find("quick.test"), 5.0) == ["127.0.0.1"]
    finally:
        names.let()
        await asyncio.gather(*hanging)
        lookups.close()


async def test_lookup_that_nobody_waits_for_keeps_its_place_until_it_ends() -> None:
    """Giving up on a name does not end the thread that asks, so there are never more of them than allowed."""
    names = SlowNames()
    lookups = Lookups(names.look_up, most=1)
    given_up = asyncio.create_task(lookups.find("slow.test"))
    await names.begun()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)

    waiting = asyncio.create_task(lookups.find("quick.test"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    assert names.running == 1

    names.let()
    assert await waiting == ["127.0.0.1"]


async def test_whoever_gives_up_in_the_queue_takes_no_turn() -> None:
    """A probe whose time is over is not looked up afterwards."""
    names = SlowNames()
    lookups = Lookups(names.look_up, most=1)
    hanging = asyncio.create_task(lookups.find("slow.test"))
    await names.begun()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lookups.find("impatient.test"), 0.05)

    names.let()
    await hanging
    assert await lookups.find("quick.test") == ["127.0.0.1"]
    assert names.running == 2


def test_event_loop_ends_before_a_hanging_lookup() -> None:
    """The process waits for no name server; what it says later is for nobody."""
    names, before = SlowNames(), threading.enumerate()

    async def give_up() -> None:
        lookups = Lookups(names.look_up)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lookups.find("slow.test"), 0.05)

    asyncio.run(give_up())
    (thread,) = [each for each in threading.enumerate() if each.name == "look-up" and each not in before]

    assert thread.daemon
    names.let()


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long"), ValueError("null byte"), OSError("x")]
)
async def test_every_failure_of_a_lookup_is_one_of_the_name(error: Exception) -> None:
    """The standard library raises more than it says."""

    def fail(_host: str) -> list[str]:
        raise error

    with pytest.raises(OSError, match=r".*"):
        await Lookups(fail).find("quay.test")


async def test_threads_are_kept_and_end_when_told() -> None:
    """One is enough for look-ups one after the other."""
    before = threading.enumerate()
    lookups = Lookups(lambda _: ["127.0.0.1"])
    for _ in range(5):
        await lookups.find("quay.test")
    (thread,) = [each for each in threading.enumerate() if each.name == "look-up" and each not in before]

    lookups.close()
    await asyncio.to_thread(thread.join)
    assert not thread.is_alive()


async def test_system_without_threads_costs_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be started the name is not found, and the next one is looked up again."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookups = Lookups(lambda _: ["127.0.0.1"], most=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread"):
            await lookups.find("quay.test")

    assert await lookups.find("quay.test") == ["127.0.0.1"]
    lookups.close()


async def test_system_knows_this_machine() -> None:
    """The real resolver is asked for real."""
    assert "127.0.0.1" in await Lookups(look_up_addresses).find("127.0.0.1")


async def test_permitted_addresses_are_kept_in_order_and_few() -> None:
    """Two of each family, in the order that the system prefers."""
    addresses = ["2600::1", "10.0.0.1", "2600::2", "2600::3", "8.8.8.8", "8.8.4.4", "1.1.1.1", "fe80::1%lo"]
    resolver = CheckedResolver(Lookups(lambda _: addresses), AddressRules())

    found = await resolver.resolve("quay.test", 443)

    assert [each["host"] for each in found] == ["2600::1", "2600::2", "8.8.8.8", "8.8.4.4"]
    assert {each["port"] for each in found} == {443}
    await resolver.close()


async def test_name_with_nothing_but_forbidden_addresses_is_told_from_none() -> None:
    """Somebody's own registry, and no registry."""
    with pytest.raises(ForbiddenHost):
        await CheckedResolver(Lookups(lambda _: ["10.0.0.1", "::1"]), AddressRules()).resolve("quay.test")
    with pytest.raises(OSError, match="has no address"):
        await CheckedResolver(Lookups(lambda _: []), AddressRules()).resolve("quay.test")
