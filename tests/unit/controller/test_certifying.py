"""The keeper of the certificate, against an API server of three objects."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, cast

import pytest

from builders import Json
from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.controller import certifying
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics
from serving import NOW
from simulated_clock import SimulatedClock, settle

SETTINGS = Settings()
AUTHORITY, SERVING = SETTINGS.certificates.ca_secret, SETTINGS.certificates.serving_secret
CONFIGURATION = SETTINGS.webhook.configuration_name
LOOK_SECONDS = 600
OURS = {"app.kubernetes.io/managed-by": "replicated-proxy-operator"}


class Api:
    """The API server: objects by name, watches that see each change, and whoever meddles after a write."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.writes: list[str] = []
        self.meddle: Callable[[str], None] = lambda _: None
        self.refusal: ApiError | None = None
        self._watches: dict[str, list[asyncio.Queue[tuple[str, Json]]]] = {}
        self._version = 0

    def put(self, name: str, body: Json) -> Json:
        """Store an object."""
        self._version += 1
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{self._version}"} | body.get("metadata", {})
        stored = body | {"metadata": metadata | {"resourceVersion": str(self._version)}}
        self.objects[name] = stored
        self._tell(name, "MODIFIED", stored)
        return copy.deepcopy(stored)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._tell(name, "DELETED", self.objects.pop(name))

    def _tell(self, name: str, kind: str, body: Json) -> None:
        """Tell whoever watches."""
        for queue in self._watches.get(name, ()):
            queue.put_nowait((kind, copy.deepcopy(body)))

    async def _write(self, what: str) -> None:
        """Note a write, and refuse it where the test wants that."""
        await asyncio.sleep(0)
        self.writes.append(what)
        if self.refusal is not None:
            raise self.refusal

    async def list_all(self, _: Resource, __: str = "", field_selector: str = "") -> Listing:
        """List one object by its name."""
        name = field_selector.partition("=")[2]
        return Listing((copy.deepcopy(self.objects[name]),) if name in self.objects else (), "1")

    async def watch(self, _: Resource, __: str, *, field_selector: str, **___: str) -> AsyncIterator[tuple[str, Json]]:
        """Yield changes."""
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        self._watches.setdefault(field_selector.partition("=")[2], []).append(queue)
        while True:
            yield await queue.get()

    async def get(self, _: Resource, name: str, __: str) -> Json:
        """Read one object."""
        if name not in self.objects:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.objects[name])

    async def create(self, resource: Resource, body: Json, _: str) -> Json:
        """Create a Secret."""
        assert resource is SECRETS
        name = body["metadata"]["name"]
        await self._write(f"create {name}")
        if name in self.objects:
            raise Conflict(409, "AlreadyExists", name)
        return self._written(name, body)

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Replace a Secret, as strictly as the API server."""
        assert resource is SECRETS
        name = body["metadata"]["name"]
        await self._write(f"replace {name}")
        stored = self.objects[name]
        if stored["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", name)
        if stored["type"] != body["type"] or stored.get("immutable"):
            raise ApiError(422, "Invalid", "field is immutable")
        return self._written(name, body)

    async def patch(self, path: str, operations: list[Json]) -> Json:
        """Patch the configuration's caBundle."""
        assert path == MUTATING_WEBHOOKS.path(CONFIGURATION)
        await self._write(f"patch {CONFIGURATION}")
        if CONFIGURATION not in self.objects:
            raise NotFound(404, "NotFound", CONFIGURATION)
        body = copy.deepcopy(self.objects[CONFIGURATION])
        for index in range(len(operations) // 2):
            body["webhooks"][index]["clientConfig"]["caBundle"] = operations[2 * index + 1]["value"]
        return self._written(CONFIGURATION, body)

    def _written(self, name: str, body: Json) -> Json:
        """Store, answer, and let whoever meddles do so."""
        stored = self.put(name, body)
        self.meddle(name)
        return stored


def a_configuration(*names: str, bundle: bytes = b"") -> Json:
    """Return a webhook configuration."""
    client: Json = {"caBundle": base64.b64encode(bundle).decode()} if bundle else {}
    return {"webhooks": [{"name": name, "clientConfig": dict(client)} for name in names]}


def a_foreign_secret(**differs: Any) -> Json:
    """Return a Secret that somebody made for something else."""
    return {"type": "Opaque", "data": {"somebody": "ZWxzZQ=="}, **differs}


class Keeping:
    """A running keeper of a replica that leads; whoever waits here lets a second pass in each turn."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.clock = SimulatedClock(NOW)
        self.keeper = CertificateKeeper(cast("KubeClient", api), SETTINGS, self.clock, Metrics())

    async def __aenter__(self) -> Self:
        """Start."""
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        """Watch and act."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keeper.follow())
            group.create_task(self.keeper.keep())

    @property
    def pauses(self) -> list[float]:
        """The pauses between steps, so far."""
        return [seconds for seconds in self.clock.asked if seconds != LOOK_SECONDS]

    async def __aexit__(self, *_: object) -> None:
        """End; a keeper that ended by itself failed."""
        assert not self.task.done()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let everybody go on until something is so."""
        async with asyncio.timeout(20):
            while not condition():
                self.clock.step(1.0)
                await asyncio.sleep(0)

    async def until_well(self) -> None:
        """Wait until the keeper has nothing to say."""
        await self.until(lambda: not self.keeper.problems())

    async def until_said(self, words: str) -> str:
        """Wait until the keeper complains with these words; returns all of it."""
        await self.until(lambda: words in " ".join(self.keeper.problems()))
        return " ".join(self.keeper.problems())

    async def turns(self) -> None:
        """Let everybody go on for long."""
        for _ in range(500):
            await asyncio.sleep(0)


@pytest.fixture
def api() -> Api:
    """Return an API server with the chart's webhook configuration."""
    api = Api()
    api.put(CONFIGURATION, a_configuration("pods"))
    return api


@pytest.fixture
def retried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the attempts after errors, without waiting for them."""
    made: list[int] = []

    async def pause(attempt: int, _: ApiError | None = None) -> None:
        made.append(attempt)
        await asyncio.sleep(0)

    monkeypatch.setattr(certifying, "retry_pause", pause)
    return made


async def test_first_start_takes_three_writes(api: Api) -> None:
    """Authority, bundle, serving certificate; then nothing is wrong and nothing more is written."""
    async with Keeping(api) as keeping:
        assert keeping.keeper.problems() != []
        await keeping.until_well()
        await keeping.turns()
    assert api.writes == [f"create {AUTHORITY}", f"patch {CONFIGURATION}", f"create {SERVING}"]
    bundle = api.objects[CONFIGURATION]["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == read_serving(api.objects[SERVING]).bundle


async def test_configuration_without_entries_is_not_written(api: Api) -> None:
    """With its webhooks removed there is nowhere to publish: no patch that changes nothing, for ever."""
    async with Keeping(api) as keeping:
        await keeping.until_well()
        before = list(api.writes)
        api.put(CONFIGURATION, {"webhooks": []})
        said = await keeping.until_said("has no webhooks")
        await keeping.turns()
        assert CONFIGURATION in said
        assert api.writes == before
        api.put(CONFIGURATION, a_configuration("pods", "more"))
        await keeping.until_well()
    assert api.writes == [*before, f"patch {CONFIGURATION}"]


async def test_missing_configuration_is_a_problem(api: Api) -> None:
    """Without the webhook configuration the controller says which one it looks for."""
    api.remove(CONFIGURATION)
    async with Keeping(api) as keeping:
        await keeping.until_said(f"no webhook configuration named {CONFIGURATION}")
        await keeping.turns()
    assert api.writes == []


async def test_fight_over_the_bundle_is_tamed(api: Api) -> None:
    """Where somebody takes `caBundle` back each time, pauses grow, and readiness says what is going on."""

    def take_back(name: str) -> None:
        if name == CONFIGURATION:
            api.put(CONFIGURATION, a_configuration("pods", bundle=b"theirs"))

    api.meddle = take_back
    async with Keeping(api) as keeping:
        await keeping.until_said("undone again and again")
        await keeping.until(lambda: len(keeping.pauses) >= 7)
        assert keeping.pauses[:7] == [1, 2, 4, 8, 16, 32, 60]


async def test_two_releases_with_one_serving_secret_are_tamed(api: Api) -> None:
    """Where another release writes the same Secret, each write waits longer than the one before."""

    def write_over(name: str) -> None:
        if name == SERVING:
            api.put(SERVING, {"type": "kubernetes.io/tls", "data": {}, "metadata": {"labels": OURS}})

    api.meddle = write_over
    async with Keeping(api) as keeping:
        await keeping.until_said("undone again and again")
        await keeping.until(lambda: len(keeping.pauses) >= 7)
        assert keeping.pauses[:7] == [1, 2, 4, 8, 16, 32, 60]


@pytest.mark.parametrize("name", [AUTHORITY, SERVING])
@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/managed-by": "Helm"}], ids=["unlabelled", "labelled"])
async def test_foreign_secret_is_never_written(api: Api, name: str, labels: dict[str, str]) -> None:
    """A Secret that somebody else made stays as it is; the problem names it and the way out, and going it heals."""
    before = api.put(name, a_foreign_secret(metadata={"labels": labels}))
    async with Keeping(api) as keeping:
        said = await keeping.until_said(f"Secret ns/{name} holds no usable certificate")
        await keeping.turns()
        assert "delete it, or choose another name" in said
        assert api.objects[name] == before
        api.remove(name)
        await keeping.until_well()
    assert f"create {name}" in api.writes


async def test_secret_that_becomes_foreign_during_a_pause_is_left_alone(api: Api) -> None:
    """What was ours before a pause and is somebody else's after it is not written over."""
    async with Keeping(api) as keeping:
        await keeping.until_well()
        api.put(SERVING, {"type": "kubernetes.io/tls", "data": {}, "metadata": {"labels": OURS}})
        while not keeping.pauses:
            await keeping.turns()
        api.put(SERVING, a_foreign_secret())
        await keeping.turns()
        await keeping.until_said("is not the operator's own")
    assert api.objects[SERVING]["data"] == a_foreign_secret()["data"]


@pytest.mark.parametrize("name", [AUTHORITY, SERVING])
@pytest.mark.parametrize(
    "differs", [{"type": "Opaque"}, {"type": "kubernetes.io/tls", "immutable": True}], ids=["type", "immutable"]
)
async def test_own_secret_that_cannot_be_changed_is_named(api: Api, name: str, differs: Json) -> None:
    """One of ours with another type, or made immutable, is named with the way out; once deleted it is made anew."""
    api.put(name, a_foreign_secret(**differs, metadata={"labels": OURS}))
    async with Keeping(api) as keeping:
        await keeping.until_said(f"Secret ns/{name} has another type")
        api.remove(name)
        await keeping.until_well()
    assert f"replace {name}" not in api.writes
    assert api.objects[name]["type"] == "kubernetes.io/tls"


async def test_refused_write_is_a_problem_until_it_succeeds(api: Api, retried: list[int]) -> None:
    """The server's words are in readiness while a step fails, its pauses grow, and success ends the problem."""
    api.refusal = ApiError(403, "Forbidden", "a policy forbids Secrets")
    async with Keeping(api) as keeping:
        await keeping.until_said("a policy forbids Secrets")
        await keeping.until(lambda: len(retried) > 3)
        api.refusal = None
        await keeping.until_well()
    assert retried[:4] == [0, 1, 2, 3]


@pytest.mark.usefixtures("retried")
async def test_mistake_does_not_end_the_controller(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expects is logged and tried again: pull secrets must not wait for it."""
    broken: list[Callable[..., Awaitable[Json]]] = [api.create]

    async def fail(*_: object) -> Json:
        monkeypatch.setattr(api, "create", broken.pop())
        raise KeyError("metadata")

    monkeypatch.setattr(api, "create", fail)
    async with Keeping(api) as keeping:
        await keeping.until_said("KeyError")
        await keeping.until_well()


async def test_standby_writes_nothing_and_a_new_leader_reads_anew(api: Api) -> None:
    """Watching alone writes nothing; whoever begins to lead acts on what stands there, not on what watches brought."""
    keeper = CertificateKeeper(cast("KubeClient", api), SETTINGS, SimulatedClock(NOW), Metrics())
    following = asyncio.create_task(keeper.follow())
    await settle()
    assert api.writes == []
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    async with Keeping(api) as other:
        await other.until_well()
    before = list(api.writes)
    keeping = asyncio.create_task(keeper.keep())
    await settle()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)

    assert keeper.problems() == []
    assert api.writes == before


@pytest.mark.parametrize("bundle", ["", "not base64", 5, None])
async def test_odd_bundle_is_replaced(api: Api, bundle: Any) -> None:
    """Whatever stands in `caBundle`, it is replaced."""
    api.put(CONFIGURATION, {"webhooks": [{"name": "pods", "clientConfig": {"caBundle": bundle}}]})
    async with Keeping(api) as keeping:
        await keeping.until_well()
    assert f"patch {CONFIGURATION}" in api.writes
