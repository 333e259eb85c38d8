"""Filling the caches by our own listings, and knowing what a listing proves.

Deleting a CustomResourceDefinition deletes its objects, and while it terminates its objects vanish one by one. So a
listing of Licenses or Applications counts only when the definition was there, served and not terminating, before
and after it, and was the same one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from replicated_proxy.controller.world import Store, World
from replicated_proxy.core.objects import Body, list_at, mapping_at, text_at
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.resources import APPLICATIONS, DEFINITIONS, LICENSES, NAMESPACES, SECRETS, Resource
from replicated_proxy.kube.watching import follow_object

_log = logging.getLogger(__name__)
KINDS: Final = {LICENSES: "licenses", APPLICATIONS: "applications"}


def served_uid(definition: Body | None, version: str) -> str:
    """Return the UID of a definition whose objects can be listed now; empty for one that is absent or going."""
    if definition is None or text_at(definition, "metadata", "deletionTimestamp"):
        return ""
    conditions = [mapping_at(item) for item in list_at(definition, "status", "conditions")]
    established = any(item.get("type") == "Established" and item.get("status") == "True" for item in conditions)
    versions = [mapping_at(item) for item in list_at(definition, "spec", "versions")]
    served = any(item.get("name") == version and item.get("served") is True for item in versions)
    return text_at(definition, "metadata", "uid") if established and served else ""


class Lister:
    """Takes complete listings into the world.

    Attributes:
        missing: the kinds that are not served, for people (readiness).
    """

    def __init__(self, client: KubeClient, world: World, secret_name: str) -> None:
        self._client = client
        self._world = world
        self._secret_selector = f"metadata.name={secret_name}"
        self._lock = asyncio.Lock()
        self.missing: set[str] = set(KINDS.values())
        # What was found is told when all is listed. Should that fail half-way the caches know of it already, and the
        # next try finds nothing: a deleted License or copy would wait for the next sweep.
        self._untold: set[str] = set()
        self._untold_sources: set[str] = set()

    async def list_everything(self) -> set[str]:
        """List all four kinds; returns `kind key` of each object that was other than the cache knew."""
        world, untold = self._world, self._untold
        async with self._lock:
            untold |= {f"namespaces {key}" for key in world.namespaces.take(await self._client.list_all(NAMESPACES))}
            secrets = await self._client.list_all(SECRETS, field_selector=self._secret_selector)
            untold |= {f"secrets {key}" for key in world.secrets.take(secrets)}
        sources = await self.list_sources()
        return sources | _take_all(untold)

    async def list_sources(self) -> set[str]:
        """List Licenses and Applications, each only while its definition is served."""
        untold = self._untold_sources
        async with self._lock:
            untold |= await self._list_defined(LICENSES, self._world.licenses)
            untold |= await self._list_defined(APPLICATIONS, self._world.applications)
            return _take_all(untold)

    async def _list_defined(self, resource: Resource, store: Store[Any]) -> set[str]:
        """List one of our kinds and note under which definition."""
        before = await self._definition_uid(resource)
        if not before:
            self.missing.add(resource.plural)
            return set()
        try:
            listing = await self._client.list_all(resource)
        except NotFound:
            self.missing.add(resource.plural)
            return set()
        if await self._definition_uid(resource) != before:
            self.missing.add(resource.plural)
            return set()
        self.missing.discard(resource.plural)
        known = self._world.definitions
        self._world.definitions = replace(known, **{KINDS[resource]: before})
        # Another definition is news also without objects: from now on their absence proves that they were deleted.
        remade = (
            {f"{DEFINITIONS.plural} {resource.plural}.{resource.group}"} if self._world.definitions != known else set()
        )
        return remade | {f"{resource.plural} {key}" for key in store.take(listing)}

    async def _definition_uid(self, resource: Resource) -> str:
        """Read a definition's UID if its kind is served."""
        try:
            definition = await self._client.get(DEFINITIONS, f"{resource.plural}.{resource.group}")
        except NotFound:
            return ""
        return served_uid(definition, resource.version)

    async def follow_definition(self, resource: Resource, changed: Callable[[], None]) -> None:
        """Call `changed` whenever a kind begins to be served, ends, or is made anew; until cancelled."""
        known: str | None = None
        name = f"{resource.plural}.{resource.group}"
        async for definition in follow_object(self._client, DEFINITIONS, name):
            uid = served_uid(definition, resource.version)
            if uid != known:
                _log.info("%s is %s", name, "served" if uid else "not served: its objects count as unknown")
                known = uid
                changed()


def _take_all(found: set[str]) -> set[str]:
    """Empty a set, and return what was in it."""
    taken = set(found)
    found.clear()
    return taken


async def until_listed(list_once: Callable[[], Any]) -> set[str]:
    """Try a listing until it succeeds, with growing pauses."""
    attempt = 0
    while True:
        try:
            found: set[str] = await list_once()
        except ApiError as error:
            _log.warning("listing failed, trying again: %s", error)
            await retry_pause(attempt, error)
            attempt += 1
        else:
            return found
