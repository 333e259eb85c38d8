"""Watches that die without a word, and real ends of history: what pumps and the watchdog make of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self

import pytest

from faulty import FaultyCluster, faulty_cluster
from operating import (
    DEFAULT_HOSTS,
    SECRET,
    Cluster,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
)
from replicated_proxy.controller.pump import EventPump
from replicated_proxy.controller.pumping import Pump, Pumped, WatchedKind
from replicated_proxy.controller.watch_pump import WatchPump
from replicated_proxy.controller.watchdog import Patience, Watchdog
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.resources import SECRETS, Resource
from replicated_proxy.telemetry.metrics import Metrics
from rig.errors import RigError
from rig.faults import Answer, Drop, Freeze, Requests
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

WATCHES = Requests(path="/secrets", watch=True)
NEW_ID = "another-license-id-for-tests"


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyCluster]:
    """A cluster behind a proxy."""
    with faulty_cluster() as cluster:
        yield cluster


@pytest.fixture
async def client(faulty: FaultyCluster) -> AsyncIterator[KubeClient]:
    """The controller's client, by way of the proxy."""
    connected = await KubeClient.connect(faulty.kubeconfig("controller"))
    yield connected
    await connected.close()
    faulty.proxy.clear()


class Watched:
    """A pump of pull secrets with its watchdog, and what came."""

    def __init__(self, client: KubeClient, kind: str, quiet_seconds: float, silence_seconds: float) -> None:
        self.seen: list[tuple[str | None, str]] = []
        self.metrics = Metrics()
        kinds = (WatchedKind(SECRETS, f"metadata.name={SECRET}"),)
        pumped = Pumped("core", kinds, quiet_seconds)
        self.pump: Pump
        if kind == "kopf":
            self.pump = EventPump(pumped, client.connection, self._deliver, lambda _: None)
        else:
            self.pump = WatchPump(pumped, client, self._deliver, lambda _: None)
        self.watchdog = Watchdog(
            client, [self.pump], self.metrics, Patience(silence_seconds, check_seconds=0.2, most_restarts=2)
        )

    def _deliver(self, _resource: Resource, kind: str | None, body: Object) -> None:
        """Note an event."""
        self.seen.append((kind, body["metadata"]["namespace"]))

    @property
    def restarts(self) -> float:
        """How often the watchdog started the pump anew."""
        return self.metrics.registry.get_sample_value("replicated_proxy_watch_restarts_total", {"pump": "core"}) or 0.0

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [asyncio.ensure_future(work) for work in (self.pump.run(), self.watchdog.run())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait for a condition without holding up the loop."""
    await asyncio.to_thread(wait_until, condition, what=what, seconds=seconds)


def make_secret(cluster: FaultyCluster, namespace: str) -> None:
    """Make a Secret of the watched name."""
    cluster.kubectl("create", "secret", "generic", SECRET, "-n", namespace)


@pytest.fixture(params=["kopf", "ours"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whose watches: kopf's, for Licenses and Applications, or ours, for namespaces and pull secrets."""
    word: str = request.param
    return word


async def test_frozen_watch_is_started_anew(
    faulty: FaultyCluster, client: KubeClient, frozen_namespaces: Namespaces, kind: str
) -> None:
    """What happened while a watch was silently dead is found by a fresh start, without a new process."""
    [namespace] = frozen_namespaces.create("frozen")
    async with Watched(client, kind, quiet_seconds=600, silence_seconds=1.5) as watched:
        freeze = faulty.proxy.inject(WATCHES, Freeze())
        await until(lambda: freeze.hits, "the watch to freeze")
        make_secret(faulty, namespace)
        await until(lambda: (None, namespace) in watched.seen, "the Secret")

        assert watched.restarts >= 1


async def test_watch_without_bookmarks_is_asked_for_anew(
    faulty: FaultyCluster, client: KubeClient, frozen_namespaces: Namespaces, kind: str
) -> None:
    """The first remedy is the pump's own: it asks again from where it was, and nothing is listed or started."""
    [namespace] = frozen_namespaces.create("frozen")
    async with Watched(client, kind, quiet_seconds=1.0, silence_seconds=600) as watched:
        freeze = faulty.proxy.inject(WATCHES, Freeze())
        await until(lambda: freeze.hits, "the watch to freeze")
        make_secret(faulty, namespace)
        await until(lambda: ("ADDED", namespace) in watched.seen, "the Secret")

        assert watched.restarts == 0


async def test_watches_that_no_start_helps_end_the_process(
    faulty: FaultyCluster, client: KubeClient, kind: str
) -> None:
    """Where each new watch is silent too the liveness probe fails in the end."""
    faulty.proxy.inject(WATCHES, Freeze(), None)
    async with Watched(client, kind, quiet_seconds=600, silence_seconds=0.5) as watched:
        await until(watched.watchdog.problems, "the watchdog to give up")

        assert watched.watchdog.problems()[0].startswith("the watches of core stay silent after 3")


async def test_absence_of_the_api_server_starts_nothing(faulty: FaultyCluster, client: KubeClient, kind: str) -> None:
    """While nothing answers, the watchdog looks on; the pump and the liveness probe stay as they are."""
    async with Watched(client, kind, quiet_seconds=600, silence_seconds=0.5) as watched:
        await until(lambda: faulty.proxy.seen["WATCH", "secrets"], "a watch")
        away = faulty.proxy.inject(Requests(), Drop(), None)
        before = watched.restarts
        await until(lambda: away.hits > 10, "tries")

        assert watched.restarts - before <= 1  # One may have been on its way.
        assert watched.watchdog.problems() == []


async def test_refused_token_is_not_tried_in_a_hurry(
    faulty: FaultyCluster, client: KubeClient, frozen_namespaces: Namespaces, kind: str
) -> None:
    """A token that is refused is read anew after growing pauses, and once it is accepted everything goes on."""
    [namespace] = frozen_namespaces.create("refused")
    refused = faulty.proxy.inject(Requests(), Answer(401, "Unauthorized"), None)
    async with Watched(client, kind, quiet_seconds=600, silence_seconds=600) as watched:
        await until(lambda: refused.hits >= 8, "tries")
        tries = refused.hits
        faulty.proxy.clear()
        make_secret(faulty, namespace)
        await until(lambda: any(name == namespace for _, name in watched.seen), "the Secret", seconds=60)

    assert tries < 50


@pytest.fixture
def frozen_namespaces(faulty: FaultyCluster) -> Iterator[Namespaces]:
    """Make namespaces behind the proxy; they are deleted at the end without waiting."""
    made = Namespaces(faulty)
    yield made
    faulty.kubectl("delete", "namespace", *made.created, "--wait=false")


def compact(cluster: Cluster) -> None:
    """Make etcd forget its history up to now."""
    base = f"http://127.0.0.1:{cluster.plane.etcd_port}/v3/"
    answer = _post(f"{base}kv/range", {"key": "AA=="})
    _post(f"{base}kv/compaction", {"revision": answer["header"]["revision"], "physical": True})


def _post(url: str, body: object) -> dict[str, dict[str, str]]:
    """Ask etcd's JSON gateway."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback.
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise.
        found: dict[str, dict[str, str]] = json.load(answer)
        return found


def is_gone(cluster: Cluster, version: str) -> bool:
    """Tell whether a watch from a version is answered with 410."""
    path = f"/api/v1/secrets?watch=true&timeoutSeconds=1&resourceVersion={version}"
    try:
        return '"code":410' in cluster.kubectl("get", "--raw", path).replace(" ", "")
    except RigError as error:
        return "too old resource version" in str(error) or "Expired" in str(error)


def test_history_that_is_gone_loses_nothing(cluster: Cluster, controller: RoleProcess, namespaces: Namespaces) -> None:
    """A controller that was away while etcd was compacted and the API server restarted finds everything out."""
    app, kept, unlisted, edited = namespaces.create("app", "kept", "unlisted", "edited")
    cluster.apply(a_license(app), an_application(app, kept, unlisted, edited))
    for namespace in (app, kept, unlisted, edited):
        cluster.await_secret(namespace)

    os.kill(controller.pid, signal.SIGSTOP)
    try:
        cluster.kubectl("delete", "secret", SECRET, "-n", kept)
        cluster.kubectl("patch", "secret", SECRET, "-n", edited, "--type=merge", "-p", '{"metadata":{"labels":null}}')
        cluster.apply(an_application(app, kept, edited, namespaces.name("late")), a_license(app, licenseID=NEW_ID))
        [late] = namespaces.create("late")
        cluster.plane.api_server.stop()
        compact(cluster)
        cluster.plane.api_server.start()
        assert is_gone(cluster, "1")
    finally:
        os.kill(controller.pid, signal.SIGCONT)

    wanted = expected_content(*DEFAULT_HOSTS, license_id=NEW_ID)
    for namespace in (app, kept, edited, late):
        wait_until(
            lambda name=namespace: (found := cluster.secret(name)) and content_of(found) == wanted,  # type: ignore[misc]
            what=f"the right copy in {namespace}",
            seconds=60,
        )
    cluster.await_no_secret(unlisted)
    controller.await_ready()


def test_namespace_made_anew_within_a_second_is_served(
    cluster: Cluster, controller: RoleProcess, namespaces: Namespaces
) -> None:
    """A namespace that is deleted and made again under its name, at once and several times, has its copy again."""
    [app] = namespaces.create("app")
    again = namespaces.name("again")
    cluster.apply(a_license(app), an_application(app, again))
    for _ in range(3):
        cluster.kubectl("create", "namespace", again)
        copy = cluster.await_secret(again)
        cluster.kubectl("delete", "namespace", again, "--wait=true")
    cluster.kubectl("create", "namespace", again)
    last = cluster.await_secret(again)

    assert last["metadata"]["uid"] != copy["metadata"]["uid"]
    assert content_of(last) == expected_content(*DEFAULT_HOSTS)
    controller.await_ready()
    cluster.kubectl("delete", "namespace", again, "--wait=false")
