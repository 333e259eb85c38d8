"""Following one object by name.

The permission is to one name, so list and watch carry `fieldSelector=metadata.name=…`, which the API server turns
into the name that RBAC's `resourceNames` compares (kubernetes/apiserver `requestinfo.go`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.resources import Resource

_log = logging.getLogger(__name__)
_STEADY_SECONDS: Final = 30.0  # After as long as this an interruption is a new one.
_SHORT_WATCH_SECONDS: Final = 1.0


async def follow_object(
    client: KubeClient,
    resource: Resource,
    name: str,
    namespace: str = "",
    failed: Callable[[ApiError], None] | None = None,
) -> AsyncIterator[Object | None]:
    """Yield the object now and after each change, None while it does not exist; never ends by itself.

    Errors are logged, each once in a row, and tried again with growing pauses; the last yielded state stands
    meanwhile. A listing that succeeds does not shorten them: where only the watch is refused, each try begins with
    one. `failed` is told each error, for those to whom the last state's age means something.
    """
    attempt, told = 0, ""
    clock = asyncio.get_running_loop().time
    while True:
        begun = clock()
        try:
            async for body in _follow_once(client, resource, name, namespace):
                yield body
        except ApiError as error:
            attempt = 0 if clock() - begun > _STEADY_SECONDS else attempt
            again = attempt > 0 and str(error) == told  # A permission that is missing would fill the log.
            told = str(error)
            _log.log(
                logging.DEBUG if again else logging.WARNING,
                "watch of %s %s interrupted: %s",
                resource.plural,
                name,
                error,
            )
            if failed is not None:
                failed(error)
            await retry_pause(attempt, error)
            attempt += 1


async def _follow_once(
    client: KubeClient, resource: Resource, name: str, namespace: str
) -> AsyncIterator[Object | None]:
    """List, then watch until a watch fails; one that the server ends in its time goes on from the last version."""
    selector = f"metadata.name={name}"
    listing = await client.list_all(resource, namespace, selector)
    yield listing.items[0] if listing.items else None
    since = listing.resource_version
    clock = asyncio.get_running_loop().time
    while True:
        begun = clock()
        async for kind, body in client.watch(resource, since, namespace=namespace, field_selector=selector):
            since = text_at(body, "metadata", "resourceVersion")
            if kind != "BOOKMARK":
                yield None if kind == "DELETED" else body
        if clock() - begun < _SHORT_WATCH_SECONDS:
            await _pause()


async def _pause() -> None:
    """Wait where a server (or a proxy before it) ends each watch at once: asking again at once would be a loop."""
    await asyncio.sleep(1.0)
