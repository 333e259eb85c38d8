"""Collects what the webhook's replicas learned of registries, so that it outlives them and reaches the others.

The leader asks each replica from time to time, and writes what they say beside the routing table, which replicas watch
anyway. A replica speaks with registries, so what it says is read as anybody's. Written is only what is new: that a
registry said the same again is no reason to, unless what stands there would soon count as too old.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from replicated_proxy.certificates.documents import InvalidCertificate, read_serving
from replicated_proxy.certificates.issuing import webhook_name
from replicated_proxy.clock import Clock
from replicated_proxy.controller.publishing import TablePublisher
from replicated_proxy.core.rewriting import Mode
from replicated_proxy.core.verdict_documents import InvalidVerdicts, decode_verdicts, encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict, are_outdated, merge_verdicts, statements
from replicated_proxy.detection.sharing import Access, Replicas, sharing_token
from replicated_proxy.kube.client import Object
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_WRITE_SECONDS: Final = 60.0  # Each write goes to every replica's watch.
_MOST_REPLICAS: Final = 64

Resolve = Callable[[str], Awaitable[set[str]]]


async def resolve_name(name: str) -> set[str]:
    """Return the addresses of a name; none where it has none.

    Looked up by the C library in a thread: it waits.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]) for *_, address in found}


@dataclass(frozen=True, slots=True)
class Reach:
    """How replicas are reached.

    Attributes:
        secret: where the serving Secret is to be seen.
        resolve: who knows addresses.
    """

    secret: Callable[[], Object | None]
    resolve: Resolve = resolve_name


class VerdictCollector:
    """One term's collector; `run` until cancelled."""

    def __init__(
        self, settings: Settings, publisher: TablePublisher, reach: Reach, clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._reach = reach
        self._clock = clock
        self._results = {word: metrics.verdict_collections.labels(word) for word in ("changed", "unchanged", "failed")}
        self._known: dict[str, RepositoryVerdict] = {}
        self._entrance: tuple[Object, Replicas] | None = None
        self._written: float | None = None
        self._read: tuple[str, tuple[RepositoryVerdict, ...]] = ("", ())
        self._told = ""

    async def run(self) -> None:
        """Collect until cancelled; nothing that goes wrong here keeps the leader from anything else."""
        if self._settings.rewrite.mode is not Mode.PRIVATE:
            return  # Nobody asks registries.
        try:
            self._known = merge_verdicts({}, _decode(self._publisher.verdicts), self._clock.now())
            while True:
                await self._try()
                await self._clock.sleep(self._settings.detection.collect_seconds)
        finally:
            await self._leave()

    async def _try(self) -> None:
        """Collect once."""
        try:
            await self._collect()
            await self._publish()
        except ApiError as error:
            _log.warning("verdicts cannot be written, trying again: %s", error)
        except Exception as error:  # noqa: BLE001 - pull secrets and routing table go on, whatever is wrong here.
            _log.error("collecting verdicts failed, trying again: %s", type(error).__name__)

    async def _collect(self) -> None:
        """Ask every replica, and join what they say into what is known."""
        replicas = await self._enter()
        if replicas is None:
            return
        addresses = sorted(await self._reach.resolve(self._settings.detection.replicas_service))[:_MOST_REPLICAS]
        replicas.forget(set(addresses))
        texts = await asyncio.gather(*(self._ask(replicas, address) for address in addresses))
        self._tell(addresses, sum(text is None for text in texts))
        reports = [verdict for text in texts if text for verdict in _decode(text)]
        if reports:
            self._known = merge_verdicts(self._known, reports, self._clock.now())

    async def _ask(self, replicas: Replicas, address: str) -> str | None:
        """Return what a replica says, empty where that is nothing new, None where it does not answer."""
        try:
            text = await replicas.fetch(address)
        except OSError as error:
            _log.debug("replica %s tells no verdicts: %s", address, error)
            self._results["failed"].inc()
            return None
        self._results["unchanged" if text is None else "changed"].inc()
        return text or ""

    def _tell(self, addresses: list[str], failed: int) -> None:
        """Log how many replicas there are, when that is another number than before."""
        told = f"{len(addresses)} addresses, {failed} of them without an answer"
        if told != self._told:
            name = self._settings.detection.replicas_service
            _log.info("collecting verdicts from %s: %s", name, told)
        self._told = told

    async def _publish(self) -> None:
        """Write what is known if it is news beside what stands there, and not too often."""
        if not self._is_news(self._known.values()):
            return
        now = self._clock.monotonic()
        if self._written is not None and now - self._written < _WRITE_SECONDS:
            return
        text = encode_verdicts(self._known.values(), self._publisher.room_for_verdicts())
        kept = _decode(text)
        # What found no room is given up, or it would be new again and again.
        self._known = {verdict.repository: verdict for verdict in kept}
        if not self._is_news(kept):
            return
        if await self._publisher.publish_verdicts(text):
            self._written = now
            _log.info("verdicts published", extra={"verdicts": len(kept), "bytes": len(text)})

    def _is_news(self, verdicts: Collection[RepositoryVerdict]) -> bool:
        """Tell whether verdicts say something else than what stands there, or the same so much later that it counts."""
        text = self._publisher.verdicts
        if self._read[0] is not text:
            self._read = (text, _decode(text))
        written = self._read[1]
        return statements(written) != statements(verdicts) or are_outdated(written, verdicts)

    async def _enter(self) -> Replicas | None:
        """Return the way to the replicas by the serving Secret of now, None without a usable one."""
        secret = self._reach.secret()
        if secret is None:
            return None
        if self._entrance is None or self._entrance[0] is not secret:
            await self._leave()
            try:
                material = read_serving(secret)
            except InvalidCertificate:
                return None  # The certificates' keeper says so and makes a new one.
            webhook = self._settings.webhook
            name = webhook_name(webhook.service_name, self._settings.namespace)
            access = Access(material.bundle.decode(), name, sharing_token(material.key), webhook.port)
            self._entrance = (secret, Replicas(access))
        return self._entrance[1]

    async def _leave(self) -> None:
        """Close the connections."""
        if self._entrance is not None:
            _, replicas = self._entrance
            self._entrance = None
            await replicas.close()


def _decode(text: str) -> tuple[RepositoryVerdict, ...]:
    """Read verdicts; nobody is believed to have written them well."""
    try:
        return decode_verdicts(text)
    except InvalidVerdicts as error:
        _log.debug("no verdicts: %s", error)
        return ()
