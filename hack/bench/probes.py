"""What asking a registry costs the process that asks: `python -m bench.probes`.

The registry and its token server run in a process of their own: the processor time counted here is the prober's.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from replicated_proxy.core.images import ImageReference, parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.detection.asking import Prober
from replicated_proxy.detection.dialing import Lookups
from replicated_proxy.settings.detecting import DetectionSettings
from rig.authority import Authority, KeyPair
from rig.loopback import Loopback
from rig.scripted_server import Behaviour, Heard, ScriptedServer, answer, by_path
from rig.waiting import port_answers, wait_until

_NAMES = {"open.test": 1, "closing.test": 2, "tokened.test": 3, "tokens.test": 4}
_ROUNDS = 300
_READY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What probes of one kind cost.

    Attributes:
        milliseconds: of processor time, for one probe.
        stall: the most of it that is spent before the event loop turns to anything else; median of several probes.
    """

    milliseconds: float
    stall: float


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        loopback, authority = Loopback.pick(), Authority.create(Path(folder))
        pairs = {name: authority.server(name, [name]) for name in _NAMES}
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(loopback, pairs), daemon=True)
        server.start()
        try:
            addresses = [loopback.address(number) for number in _NAMES.values()]
            wait_until(
                lambda: all(port_answers(address, loopback.port) for address in addresses),
                what="the servers",
                seconds=_READY_SECONDS,
            )
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_measure(loopback, authority))
        finally:
            server.terminate()
            server.join()


async def _measure(loopback: Loopback, authority: Authority) -> None:
    """Ask each of them many times."""
    settings = DetectionSettings(
        allowed_networks=(str(loopback.network),), ca_file=str(authority.pair.certificate), assume={}
    )
    names = Lookups(lambda host: [loopback.address(_NAMES[host])])
    kinds = {
        "HEAD, on a connection that is there": "open.test/api",
        "HEAD, with a new connection (TLS 1.3)": "closing.test/api",
        "HEAD, token, HEAD, with two new connections": "tokened.test/api",
    }
    print(f"{'one probe':<46} {'CPU ms':>8} {'longest step ms':>16}")
    for kind, image in kinds.items():
        prober = Prober(settings, lookups=names, port=loopback.port)
        cost = await _cost(prober.probe, parse_image(image))
        await prober.close()
        print(f"{kind:<46} {cost.milliseconds:>8.2f} {cost.stall:>16.2f}")


async def _cost(probe: Callable[[ImageReference], Awaitable[ProbeResult]], image: ImageReference) -> Cost:
    """Return what a probe costs."""
    await probe(image)
    begin = time.process_time()
    for _ in range(_ROUNDS):
        result = await probe(image)
        if result.outcome is not ProbeOutcome.PUBLIC:
            raise RuntimeError(f"{image.text} was not answered as expected: {result}")
    spent = time.process_time() - begin
    stalls = [await _longest_step(probe, image) for _ in range(_ROUNDS // 10)]
    return Cost(spent / _ROUNDS * 1000, median(stalls) * 1000)


async def _longest_step(probe: Callable[[ImageReference], Awaitable[ProbeResult]], image: ImageReference) -> float:
    """Return the most processor time between two turns of the event loop during a probe."""
    longest, task = 0.0, asyncio.ensure_future(probe(image))
    last = time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


def _serve(loopback: Loopback, pairs: dict[str, KeyPair]) -> None:
    """Run the servers, in a process of their own."""
    closing = answer(200, "Connection: close")
    challenge = answer(401, 'WWW-Authenticate: Bearer realm="https://tokens.test/token"')
    token = answer(200, "Connection: close", body=b'{"token": "%s"}' % (b"x" * 2_000))
    behaviours = {
        "open.test": answer(200),
        "closing.test": _ending(closing),
        "tokened.test": _ending_after_token(challenge, closing),
        "tokens.test": _ending(by_path({"/token": token})),
    }

    async def run() -> None:
        servers = [
            ScriptedServer(loopback.address(_NAMES[name]), loopback.port, pairs[name], behave)
            for name, behave in behaviours.items()
        ]
        for server in servers:
            await server.__aenter__()
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _ending(behave: Behaviour) -> Behaviour:
    """Close the connection after the answer."""

    async def ending(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await behave(heard, writer)
        writer.close()

    return ending


def _ending_after_token(challenge: Behaviour, granted: Behaviour) -> Behaviour:
    """Challenge on a connection that stays, and close it after the answer to the token."""
    kept, ended = challenge, _ending(granted)

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await (ended if "authorization" in heard.headers else kept)(heard, writer)

    return behave


if __name__ == "__main__":
    main()
