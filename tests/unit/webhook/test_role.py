"""The webhook from start to end, against an API server of two objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Self, cast

import aiohttp
import pytest

from asking import ScriptedRegistries
from builders import Json
from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.certificates.issuing import make_authority
from replicated_proxy.clock import Clock
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import decode_verdicts, encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.sharing import Access, Replicas, sharing_token
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.resources import CONFIG_MAPS, SECRETS, Resource
from replicated_proxy.settings import Settings, WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.role import WebhookRole
from serving import (
    NAMESPACE,
    SERVER_NAME,
    SERVICE,
    a_config_map,
    a_review,
    a_serving_secret,
    client_session,
    to_bytes,
)
from simulated_clock import SimulatedClock


class Objects:
    """What the role's client sees: one object of each kind, and its changes."""

    def __init__(self) -> None:
        self._changes: dict[Resource, asyncio.Queue[Json]] = {CONFIG_MAPS: asyncio.Queue(), SECRETS: asyncio.Queue()}
        self.asked: set[tuple[Resource, str, str]] = set()
        self.watched = asyncio.Event()

    def put(self, resource: Resource, body: Json) -> None:
        """Create or change the object of a kind."""
        body["metadata"]["resourceVersion"] = "2"
        self._changes[resource].put_nowait(body)

    async def list_all(self, resource: Resource, namespace: str = "", field_selector: str = "") -> Listing:
        """List nothing: everything comes as a change."""
        self.asked.add((resource, namespace, field_selector))
        return Listing((), "1")

    async def watch(self, resource: Resource, *_: object, **__: object) -> AsyncIterator[tuple[str, Json]]:
        """Yield the changes."""
        self.watched.set()
        while True:
            yield "MODIFIED", await self._changes[resource].get()


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class Replica:
    """A running role."""

    def __init__(self, drain_seconds: float = 0, clock: Clock | None = None) -> None:
        webhook = WebhookSettings(
            port=0, health_port=0, bind="127.0.0.1", drain_seconds=drain_seconds, service_name=SERVICE
        )
        self.objects = Objects()
        self.registries = ScriptedRegistries()
        self.settings = Settings(webhook=webhook, namespace=NAMESPACE)
        self.role = WebhookRole(self.settings, cast("KubeClient", self.objects), Metrics(), self.registries, clock)
        self.stop = asyncio.Event()
        now = datetime.now(UTC)
        self.authority = make_authority(now, timedelta(days=2))
        self.secret = a_serving_secret(self.authority, now=now, days=1)

    async def __aenter__(self) -> Self:
        """Start without any object."""
        self.running = asyncio.create_task(self.role.run(self.stop))
        await self.objects.watched.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it, however far it is."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def serve(self) -> None:
        """Give it what it needs and wait until it serves."""
        self.objects.put(CONFIG_MAPS, a_config_map())
        self.objects.put(SECRETS, self.secret)
        await self.role.serving.wait()

    async def verdicts(self) -> tuple[RepositoryVerdict, ...]:
        """Collect as the controller does."""
        material = read_serving(self.secret)
        token = sharing_token(material.key)
        replicas = Replicas(Access(material.bundle.decode(), SERVER_NAME, token, self.role.server.port))
        try:
            return decode_verdicts(await replicas.fetch("127.0.0.1") or "")
        finally:
            await replicas.close()

    async def ready(self) -> tuple[int, str]:
        """Ask the readiness probe."""
        url = f"http://127.0.0.1:{self.role.health.port}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def review(self) -> tuple[int, str | None]:
        """Send a review; returns status and the Connection header."""
        async with (
            client_session(self.role.server.port, self.authority) as session,
            session.post(
                "/mutate",
                data=to_bytes(a_review()),
                headers={"Content-Type": "application/json"},
                server_hostname=SERVER_NAME,
            ) as answer,
        ):
            return answer.status, answer.headers.get("Connection")


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """Return a replica that has started and has seen no object yet."""
    async with Replica(drain_seconds=3600) as replica:
        yield replica


async def test_starts_unready_and_says_what_is_missing(replica: Replica) -> None:
    """Before table and certificate are there, the probe lists both and the port is closed."""
    status, text = await replica.ready()
    assert status == 503
    assert text.splitlines() == [
        "the serving Secret does not exist",
        "no routing table has been read yet",
    ]
    assert not replica.role.serving.is_set()


async def test_one_of_two_is_not_enough(replica: Replica) -> None:
    """With the certificate alone the replica still waits for a table."""
    replica.objects.put(SECRETS, replica.secret)
    await turns()
    assert replica.role.problems() == ["no routing table has been read yet"]
    assert not replica.role.serving.is_set()


async def test_serves_once_both_are_there(replica: Replica) -> None:
    """With table and certificate it serves and is ready."""
    await replica.serve()
    assert await replica.ready() == (200, "ok\n")
    assert await replica.review() == (200, None)


async def test_serves_once_its_clock_is_set() -> None:
    """A node that boots an hour behind finds the certificate not valid yet; when its clock is set, no event tells."""
    clock = SimulatedClock(datetime.now(UTC) - timedelta(hours=1))
    async with Replica(clock=clock) as replica:
        replica.objects.put(CONFIG_MAPS, a_config_map())
        replica.objects.put(SECRETS, replica.secret)
        await clock.advance(60.0)
        assert "not" in replica.role.problems()[0]
        assert not replica.role.serving.is_set()

        clock.skew = timedelta(hours=1)
        await clock.advance(60.0)
        await replica.role.serving.wait()
        assert replica.role.problems() == []


async def test_asks_for_its_two_objects_by_name_only(replica: Replica) -> None:
    """Its permission is to one ConfigMap and one Secret, so it lists by those names in its own namespace."""
    await replica.serve()
    assert replica.objects.asked == {
        (CONFIG_MAPS, NAMESPACE, f"metadata.name={replica.settings.routes_config_map}"),
        (SECRETS, NAMESPACE, f"metadata.name={replica.settings.certificates.serving_secret}"),
    }


async def test_drains_unready_and_closing(replica: Replica) -> None:
    """Told to stop, it is unready at once and goes on answering, closing each connection."""
    await replica.serve()
    replica.stop.set()
    await turns()
    assert await replica.ready() == (503, "draining: this replica is about to end\n")
    assert await replica.review() == (200, "close")
    assert not replica.running.done()


async def test_ends_after_draining() -> None:
    """After the drain everything is closed and the role returns."""
    async with Replica() as replica:
        await replica.serve()
        replica.stop.set()
        await replica.running
        with pytest.raises(OSError, match="Connect call failed"):
            await replica.review()
        with pytest.raises(OSError, match="Connect call failed"):
            await replica.ready()


async def test_ends_at_once_when_it_never_served() -> None:
    """Told to stop before it served, there is nothing to drain."""
    async with Replica(drain_seconds=3600) as replica:
        replica.stop.set()
        await replica.running


async def test_starts_with_what_was_known_before(replica: Replica) -> None:
    """What stands beside the table is known from the first review on: a restart makes nobody wait, and asks nobody."""
    said = datetime.now(UTC).replace(second=0, microsecond=0)
    known = RepositoryVerdict("docker.io/library/nginx", Visibility.PUBLIC, said, "app")
    config_map = a_config_map()
    config_map["data"][VERDICTS_KEY] = encode_verdicts([known], 1000)
    replica.objects.put(CONFIG_MAPS, config_map)
    replica.objects.put(SECRETS, replica.secret)
    await replica.role.serving.wait()
    assert await replica.review() == (200, None)
    assert await replica.verdicts() == (known,)
    assert replica.registries.asked == []


async def test_what_it_learns_can_be_collected_and_a_restart_goes_on_from_it(replica: Replica) -> None:
    """The words of a replica that asked a registry are what the next replica starts with."""
    await replica.serve()
    assert await replica.review() == (200, None)
    assert replica.registries.asked == ["docker.io/library/nginx:latest"]
    learned = await replica.verdicts()
    assert [verdict.repository for verdict in learned] == ["docker.io/library/nginx"]

    async with Replica() as other:
        config_map = a_config_map()
        config_map["data"][VERDICTS_KEY] = encode_verdicts(learned, 1000)
        other.objects.put(CONFIG_MAPS, config_map)
        other.objects.put(SECRETS, other.secret)
        await other.role.serving.wait()
        await other.review()
        assert other.registries.asked == []


async def test_end_closes_the_way_to_registries() -> None:
    """When the role ends no question goes on, and the connections to registries are closed."""
    async with Replica() as replica:
        replica.registries.hanging.add("docker.io")
        await replica.serve()
        review = asyncio.create_task(replica.review())
        while not replica.registries.busy:  # noqa: ASYNC110 - the question begins in another task.
            await asyncio.sleep(0)
        replica.stop.set()
        await replica.running
        assert (await review)[0] == 200
        assert replica.registries.busy == 0
        assert replica.registries.closed


async def test_mistake_in_following_ends_the_role() -> None:
    """A follower that fails unexpectedly ends the role: a restart is better than a table that stays old for ever."""
    replica = Replica()
    role = WebhookRole(replica.settings, cast("KubeClient", object()), Metrics(), ScriptedRegistries())
    with pytest.raises(ExceptionGroup):
        await role.run(replica.stop)
