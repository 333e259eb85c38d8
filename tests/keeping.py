"""The keeper of the certificate, and an API server of three objects to keep it in."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Self, cast

from builders import Json
from replicated_proxy.certificates.issuing import service_names
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Conflict, NotFound
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from replicated_proxy.settings import CertificateSettings, Settings
from replicated_proxy.telemetry.metrics import Metrics
from serving import NOW
from simulated_clock import SimulatedClock

SETTINGS = Settings(certificates=CertificateSettings(propagation_delay=timedelta()))
AUTHORITY, SERVING = SETTINGS.certificates.ca_secret, SETTINGS.certificates.serving_secret
CONFIGURATION = SETTINGS.webhook.configuration_name
POD_ENTRY = "pods.proxy.kots.io"
LOOK_SECONDS = 600
OUT_OF_SYNC = "replicated_proxy_ca_bundle_out_of_sync"
NAMES = service_names(SETTINGS.webhook.service_name, SETTINGS.namespace)
OURS = {"app.kubernetes.io/managed-by": "replicated-proxy-operator"}


class Api:
    """The API server: objects by name, watches that see each change, and whoever meddles after a write."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.writes: list[str] = []
        self.meddle: Callable[[str], None] = lambda _: None
        self.refusal: ApiError | None = None
        self.watched: dict[str, list[asyncio.Queue[tuple[str, Json]]]] = {}
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
        for queue in self.watched.get(name, ()):
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
        self.watched.setdefault(field_selector.partition("=")[2], []).append(queue)
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
        for test, add in zip(operations[::2], operations[1::2], strict=True):
            entry = body["webhooks"][int(test["path"].split("/")[2])]
            assert test == {"op": "test", "path": test["path"], "value": entry["name"]}
            entry["clientConfig"]["caBundle"] = add["value"]
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

    def __init__(self, api: Api, settings: Settings = SETTINGS) -> None:
        self.api = api
        self.clock = SimulatedClock(NOW)
        self.metrics = Metrics()
        self.keeper = CertificateKeeper(cast("KubeClient", api), settings, self.clock, self.metrics)

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
        async with asyncio.timeout(120):
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

    async def turns(self, count: int = 500) -> None:
        """Let everybody go on, by default for long."""
        for _ in range(count):
            await asyncio.sleep(0)
