"""From a host's name to a connection: looked up aside, judged by address, and connected to what was judged.

The name in an image is chosen by whoever creates the Pod, and so is what DNS says about it. So the address is judged
after the look-up, the connection goes to the address that was judged, and the socket judges once more.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from replicated_proxy.core.addresses import Address, AddressRules
from replicated_proxy.detection.bounding import BoundedConnector

LookUp = Callable[[str], list[str]]

# Each hanging look-up holds a thread for as long as the C library waits. Whoever comes then waits for a turn, within
# the time of its probe. No fewer than questions that go on at a time: two namespaces with names that hang would do.
_MOST_LOOKUPS: Final = 32
# Of either family. A name with thousands of addresses would make us knock at thousands of doors.
_MOST_ADDRESSES: Final = 2
# A registry is asked again with its token at once, and for the next image of the Pod; nothing later is worth a socket.
_KEEP_ALIVE_SECONDS: Final = 5.0
_AGENT: Final = "replicated-proxy-operator"


class ForbiddenHost(OSError):
    """Every address of the host is on somebody's own network."""


def look_up_addresses(host: str) -> list[str]:
    """Ask the system's resolver; it may take long.

    Raises:
        OSError: there is no such name, or nobody who knows.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class _Question:
    """A name to look up, and who waits for it."""

    host: str
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[str]]


class Lookups:
    """Look-ups in threads of their own, so that one that hangs holds up neither the event loop nor anybody's pool.

    The threads are daemons: the process does not wait for a name server when it ends. They are kept, since starting one
    stops the event loop until it runs.
    """

    def __init__(self, look_up: LookUp = look_up_addresses, most: int = _MOST_LOOKUPS) -> None:
        self._look_up = look_up
        self._free = asyncio.Semaphore(most)
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    async def find(self, host: str) -> list[str]:
        """Return the addresses of a name.

        Raises:
            OSError: it has none.
        """
        loop = asyncio.get_running_loop()
        await self._free.acquire()
        try:
            self._make_ready()
        except RuntimeError:
            self._free.release()
            raise OSError("no thread can be started to look the name up") from None
        question = _Question(host, loop, loop.create_future())
        self._questions.put(question)
        return await question.answer

    def close(self) -> None:
        """Let the threads end, each after what it looks up now."""
        for _ in range(self._threads):
            self._questions.put(None)
        self._threads = self._idle = 0

    def _make_ready(self) -> None:
        """Have a thread wait for a question.

        Raises:
            RuntimeError: the system gives us no more threads.
        """
        if self._idle:
            self._idle -= 1
            return
        threading.Thread(target=self._work, name="look-up", daemon=True).start()
        self._threads += 1

    def _work(self) -> None:
        """Look up one name after the other, in a thread; whoever asked may be gone, and the loop with it."""
        while (question := self._questions.get()) is not None:
            found: list[str] | Exception
            try:
                found = self._look_up(question.host)
            except Exception as error:  # noqa: BLE001 - carried to whoever asked.
                found = error
            with suppress(RuntimeError):  # The loop is closed.
                question.loop.call_soon_threadsafe(self._settle, question.answer, found)

    def _settle(self, answer: asyncio.Future[list[str]], found: list[str] | Exception) -> None:
        """Hand the answer over, in the loop, and let the next look-up begin."""
        self._idle += 1
        self._free.release()
        if answer.done():
            return
        if isinstance(found, list):
            answer.set_result(found)
        elif isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_exception(OSError(f"the name cannot be looked up: {type(found).__name__}"))


class CheckedResolver(AbstractResolver):
    """Returns only addresses that the rules permit; the connection goes to one of these and no other."""

    def __init__(self, lookups: Lookups, rules: AddressRules) -> None:
        self._lookups = lookups
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            ForbiddenHost: all of its addresses are on somebody's own network.
            OSError: it has none.
        """
        del family  # Both: which of them works is what the connection finds out.
        found = [ip_address(each) for each in await self._lookups.find(host)]
        permitted = [address for address in found if self._rules.permit(address)]
        if not found:
            raise OSError(f"{host[:253]!r} has no address")
        if not permitted:
            raise ForbiddenHost(f"every address of {host[:253]!r} is private, local or internal")
        few = [
            address
            for version in (4, 6)
            for address in [each for each in permitted if each.version == version][:_MOST_ADDRESSES]
        ]
        return [_as_result(host, address, port) for address in sorted(few, key=permitted.index)]

    async def close(self) -> None:
        """Nothing is held open."""


class PlainResolver(AbstractResolver):
    """Looks up the egress proxy, which an administrator chose and which may be anywhere."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look the proxy's name up.

        Raises:
            OSError: it has no address.
        """
        del family
        return [_as_result(host, ip_address(each), port) for each in await self._lookups.find(host)]

    async def close(self) -> None:
        """Nothing is held open."""


def open_session(lookups: Lookups, rules: AddressRules, *, behind_proxy: bool) -> aiohttp.ClientSession:
    """Return a session that knows no cookies, no passwords, no environment and no way around the rules.

    It has no limit of connections: each probe has at most one at a time, and who asks bounds the probes.
    """
    connector = BoundedConnector(
        PlainResolver(lookups) if behind_proxy else CheckedResolver(lookups, rules),
        use_dns_cache=False,
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        socket_factory=None if behind_proxy else _guarding(rules),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"},
    )


def _guarding(rules: AddressRules) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """Return what makes sockets: the last look at an address before somebody is connected to."""

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = info
        if not rules.permit(ip_address(where[0])):
            raise ForbiddenHost(f"a connection to {where[0]} is not permitted")
        return socket.socket(family, kind, protocol)

    return make


def _as_result(host: str, address: Address, port: int) -> ResolveResult:
    """Say an address as aiohttp wants to hear it."""
    return {
        "hostname": host,
        "host": str(address),
        "port": port,
        "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,
        "proto": 0,
        "flags": socket.AI_NUMERICHOST,
    }
