"""The places where a certificate stands in the cluster, as they were seen last: two Secrets and `caBundle`."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Collection
from datetime import timedelta
from typing import Final, TypeVar

from replicated_proxy.clock import Clock
from replicated_proxy.core.objects import Body, list_at, read_identity, text_at
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import NotFound
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings import Settings

Answer = TypeVar("Answer", bound=Object | None)
AUTHORITY: Final = "authority"
SERVING: Final = "serving"
CONFIGURATION: Final = "configuration"
EVERY_PLACE: Final = (AUTHORITY, SERVING, CONFIGURATION)
# Of the entries of a webhook configuration those are ours; anybody may add others of other names.
_OUR_ENTRIES: Final = ".proxy.kots.io"


class Places:
    """What stands where; only the places named at the start are ever asked for.

    Attributes:
        seen: the object in each place, None where it does not exist; a place that was not read yet is missing.
        changed: set whenever a place may look other than before.
    """

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock, names: Collection[str]) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._names = tuple(names)
        self._published_at = clock.monotonic()
        self._heard: Counter[str] = Counter()
        self.seen: dict[str, Object | None] = {}
        self.changed = asyncio.Event()

    def unread(self) -> list[str]:
        """Name the places that were not read yet."""
        return [name for name in self._names if name not in self.seen]

    def published_for(self) -> timedelta:
        """Return how long the bundle has been seen to stand there."""
        return timedelta(seconds=self._clock.monotonic() - self._published_at)

    async def follow(self) -> None:
        """Watch every place until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(self._follow(name))

    async def read_anew(self) -> None:
        """Read the places as they are now: a watch may lag behind what another replica did."""
        for name in self._names:
            await self.take_answer(name, self._read(name))

    async def _read(self, place: str) -> Object | None:
        """Read one place."""
        try:
            return await self._client.get(*self.where(place))
        except NotFound:
            return None

    async def take_answer(self, place: str, request: Awaitable[Answer]) -> Answer:
        """Return the answer to a request about a place, and remember what it says stands there.

        Events that were faster than the answer may tell of something newer, and nobody tells of that twice.
        """
        heard = self._heard[place]
        body: Object | None
        body = answer = await request
        while heard != self._heard[place] and (body is None or self.seen.get(place) is None):
            # Made before it was deleted, or after? Only reading tells.
            heard = self._heard[place]
            body = await self._read(place)
        if heard == self._heard[place] or not self._is_outdated(place, body):
            self.note(place, body)
        return answer

    def note(self, place: str, body: Object | None) -> None:
        """Remember what stands in a place, and since when a bundle is published."""
        before = published_in(self.seen.get(place)) if place == CONFIGURATION else None
        self.seen[place] = body
        if place == CONFIGURATION and published_in(body) != before:
            self._published_at = self._clock.monotonic()
        self.changed.set()

    def where(self, place: str) -> tuple[Resource, str, str]:
        """Return kind, name and namespace of a place."""
        if place == CONFIGURATION:
            return MUTATING_WEBHOOKS, self._settings.webhook.configuration_name, ""
        names = self._settings.certificates
        return SECRETS, names.ca_secret if place == AUTHORITY else names.serving_secret, self._settings.namespace

    async def _follow(self, place: str) -> None:
        """Watch one place."""
        resource, name, namespace = self.where(place)
        async for body in follow_object(self._client, resource, name, namespace):
            if not self._is_outdated(place, body):
                self._heard[place] += 1
                self.note(place, body)

    def _is_outdated(self, place: str, body: Object | None) -> bool:
        """Tell whether an event is late: that object was read, or written by ourselves, in a newer state."""
        known = self.seen.get(place)
        if body is None or known is None or read_identity(body).uid != read_identity(known).uid:
            return False
        return _version(body) < _version(known)


def own_entries(configuration: Body | None) -> list[tuple[int, str]]:
    """Return index and name of each entry of a webhook configuration that is ours."""
    names = (text_at(entry, "name") for entry in list_at(configuration, "webhooks"))
    return [(index, name) for index, name in enumerate(names) if name.endswith(_OUR_ENTRIES)]


def published_in(configuration: Body | None) -> bytes | None:
    """Return the bundle that every entry of ours has, or None."""
    entries = list_at(configuration, "webhooks")
    bundles = {text_at(entries[index], "clientConfig", "caBundle") for index, _ in own_entries(configuration)}
    text = bundles.pop() if len(bundles) == 1 else ""
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


def _version(body: Object) -> int:
    """Read an object's resourceVersion, ordered within one kind (KEP-5504); one that is none counts as the oldest."""
    text = text_at(body, "metadata", "resourceVersion")
    return int(text) if text.isdecimal() else 0
