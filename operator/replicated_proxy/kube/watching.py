"""Following one object by name.

The permission is to one name, so list and watch carry `fieldSelector=metadata.name=…`, which the API server turns
into the name that RBAC's `resourceNames` compares (kubernetes/apiserver `requestinfo.go`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.resources import Resource

_log = logging.getLogger(__name__)


async def follow_object(
    client: KubeClient, resource: Resource, name: str, namespace: str = ""
) -> AsyncIterator[Object | None]:
    """Yield the object now and after each change, None while it does not exist; never ends by itself.

    Errors are logged and tried again with growing pauses; the last yielded state stands meanwhile.
    """
    attempt = 0
    while True:
        try:
            async for body in _follow_once(client, resource, name, namespace):
                attempt = 0
                yield body
        except ApiError as error:
            _log.warning("watch of %s %s interrupted: %s", resource.plural, name, error)
            await retry_pause(attempt)
            attempt += 1


async def _follow_once(
    client: KubeClient, resource: Resource, name: str, namespace: str
) -> AsyncIterator[Object | None]:
    """List, then watch until the watch ends or fails."""
    selector = f"metadata.name={name}"
    listing = await client.list_all(resource, namespace, selector)
    yield listing.items[0] if listing.items else None
    since = listing.resource_version
    while True:
        async for kind, body in client.watch(resource, since, namespace=namespace, field_selector=selector):
            since = body["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                yield None if kind == "DELETED" else body
        await asyncio.sleep(0)  # The server ended the watch in its time: go on from the last version seen.
