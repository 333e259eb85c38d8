"""The certificate's keeper on a real API server: run in this process, so that it can be asked, stopped and killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from operating import Cluster, Json
from replicated_proxy.certificates.documents import ServingMaterial, read_serving
from replicated_proxy.clock import SystemClock
from replicated_proxy.controller.certificate_places import published_in
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics
from rig.roles import NAMESPACE, RELEASE

KIND = "mutatingwebhookconfiguration"


class CountingClient(KubeClient):
    """The product's client, which counts what it writes, and can die in the middle of it.

    Attributes:
        writes: so many were made.
        most: after so many it never learns what came of the last one.
        died: set from then on.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.writes = 0
        self.most = 0
        self.died = asyncio.Event()

    async def create(self, resource: Resource, body: Json, namespace: str = "") -> Json:
        """Create and count."""
        return await self._count(await super().create(resource, body, namespace))

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Replace and count."""
        return await self._count(await super().replace(resource, body))

    async def patch(self, path: str, operations: Any) -> Json:
        """Patch and count."""
        return await self._count(await super().patch(path, operations))

    async def _count(self, answer: Json) -> Json:
        """Count a write; the last one's answer never comes."""
        self.writes += 1
        if self.writes == self.most:
            self.died.set()
            await asyncio.Event().wait()
        return answer


class ShiftedClock(SystemClock):
    """The machine's clock, put ahead by the test; whoever sleeps wakes when it has come that far.

    Attributes:
        ahead: by so much.
        naps: so often somebody went to sleep.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.naps = 0

    def now(self) -> datetime:
        """Return the shifted time."""
        return super().now() + self.ahead

    def monotonic(self) -> float:
        """Return the shifted seconds."""
        return super().monotonic() + self.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Wait until the shifted time has come."""
        self.naps += 1
        end = self.monotonic() + seconds
        while self.monotonic() < end:  # noqa: ASYNC110 - time is put ahead by an assignment.
            await asyncio.sleep(0.005)


class Keeping:
    """A running keeper, and the cluster that it keeps.

    Attributes:
        watching: whether it watches too; one that is ended soon does without, since connections that are cancelled
            while they open are left to the garbage collector.
    """

    def __init__(
        self, cluster: Cluster, client: CountingClient, settings: Settings, clock: SystemClock | None = None
    ) -> None:
        self.watching = True
        self.cluster = cluster
        self.client = client
        self.settings = settings
        self.metrics = Metrics()
        self.keeper = CertificateKeeper(client, settings, clock or SystemClock(), self.metrics)

    async def __aenter__(self) -> Self:
        """Start."""
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        """Watch and act, as where this replica leads."""
        async with asyncio.TaskGroup() as group:
            if self.watching:
                group.create_task(self.keeper.follow())
            group.create_task(self.keeper.keep())

    async def __aexit__(self, *_: object) -> None:
        """End; a keeper that ended by itself failed."""
        assert not self._task.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(120):
            while not condition():  # noqa: ASYNC110 - conditions of any kind.
                await asyncio.sleep(0.02)

    async def until_well(self) -> None:
        """Wait until the keeper has nothing to say."""
        await self.until(lambda: not self.keeper.problems())

    async def until_said(self, words: str) -> str:
        """Wait until the keeper complains with these words; returns all of it."""
        await self.until(lambda: words in " ".join(self.keeper.problems()))
        return " ".join(self.keeper.problems())

    async def until_repaired(self) -> ServingMaterial:
        """Wait until what is served is trusted by what is published, as both stand in the cluster; returns it."""
        async with asyncio.timeout(120):
            while (found := await self.served()) is None or found.bundle != await self.published():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found

    async def served(self) -> ServingMaterial | None:
        """Read the serving Secret from the API server; None where it cannot be served."""
        name = self.settings.certificates.serving_secret
        listing = await self.client.list_all(SECRETS, NAMESPACE, f"metadata.name={name}")
        try:
            return read_serving(listing.items[0]) if listing.items else None
        except ValueError:
            return None

    async def published(self) -> bytes | None:
        """Read `caBundle` of our entries from the API server."""
        return published_in(await self.client.get(MUTATING_WEBHOOKS, self.settings.webhook.configuration_name))

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl beside the keeper."""
        return await asyncio.to_thread(self.cluster.kubectl, *arguments)

    async def get(self, *what: str) -> Json:
        """Read an object."""
        return await asyncio.to_thread(self.cluster.get, *what)


async def close(client: KubeClient) -> None:
    """Close a client, and wait until its connections have ended too: a loop that ends first leaves them open."""
    await client.close()
    loop: Any = asyncio.get_running_loop()
    async with asyncio.timeout(120):
        while len(loop._selector.get_map()) > 1:  # noqa: ASYNC110 - nothing else tells; one is the loop's own.
            await asyncio.sleep(0.01)


def controller_account(cluster: Cluster) -> Path:
    """Write a kubeconfig of the controller's service account, as the chart makes it."""
    return cluster.plane.kubeconfig_for_service_account(NAMESPACE, f"{RELEASE}-controller")
