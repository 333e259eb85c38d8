"""One connection to the API server.

The official client brings what is hard: finding the cluster, certificates, token refresh. Its typed models are left
out on purpose: they cost time for each object, and raw JSON keeps fields that this version does not know.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from yaml import YAMLError

from replicated_proxy.clock import Clock, SystemClock
from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.answers import read_error, read_events, read_items, read_object, unreachable
from replicated_proxy.kube.errors import ApiError, Gone, NoCluster
from replicated_proxy.kube.gating import WriteGate
from replicated_proxy.kube.resources import Resource
from replicated_proxy.kube.server_time import ServerTime

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""

FIELD_MANAGER: Final = "replicated-proxy-operator"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
_PAGE: Final = 500
_LISTING_TRIES: Final = 4
# What can be wrong in a kubeconfig has no error of its own: its text, types in it, files that it names.
_UNUSABLE: Final = (kube_config.ConfigException, YAMLError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the API server, for those who bring a client of their own (kopf).

    Attributes:
        server: URL.
        ca_file: bundle to verify it with, or None for the system's.
        certificate_file, key_file: client certificate, or None.
        token: bearer token of now, or None; read it anew for each login, since it rotates.
    """

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete list.

    Attributes:
        items: every object, in the server's order.
        resource_version: where a watch goes on from.
    """

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, before the official client adds server and credentials."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None
    content_type: str = "application/json"
    timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT


class KubeClient:
    """Requests to the API server; safe for concurrent use within one event loop."""

    def __init__(self, configuration: Configuration, clock: Clock, caller: str = "") -> None:
        self._configuration = configuration
        self._api = ApiClient(configuration)
        agent = f"{FIELD_MANAGER} ({caller})" if caller else FIELD_MANAGER
        self._headers = {"Accept": "application/json", "User-Agent": agent}
        self._server_time = ServerTime(clock)
        self._gate: WriteGate | None = None

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, clock: Clock | None = None, caller: str = "") -> Self:
        """Connect by a kubeconfig file, or from inside a Pod when none is given.

        Args:
            kubeconfig: the file, or None.
            clock: the machine's when none is given.
            caller: who is asking, for the API server's audit log (in the User-Agent).

        Raises:
            NoCluster: neither is there, or it cannot be read.
        """
        configuration = Configuration()
        # Workers, watches, one more for each Secret that holds licenses, with room: a renewal of the Lease never waits.
        configuration.connection_pool_maxsize = 256
        # Looking for a proxy, and for its password in a file, takes two turns of a thread pool for each request.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        try:
            if kubeconfig is None:
                kube_config.load_incluster_config(client_configuration=configuration)
            else:
                await kube_config.load_kube_config(str(kubeconfig), client_configuration=configuration)
            return cls(configuration, clock or SystemClock(), caller)
        except _UNUSABLE as error:
            raise NoCluster(_no_cluster(kubeconfig, error)) from error

    def behind(self, gate: WriteGate) -> Self:
        """Return this client, connections and all, with a gate that its writes have to pass."""
        gated = copy.copy(self)
        gated._gate = gate  # noqa: SLF001 - one of ourselves.
        return gated

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    def server_time(self) -> datetime | None:
        """Return what time it is at the API server by its answers; None before the first."""
        return self._server_time.read()

    async def connection(self) -> Connection:
        """Return how to reach the API server, with the token of now."""
        configuration = self._configuration
        with unreachable():
            token: str | None = await configuration.get_api_key_with_prefix("BearerToken")
        return Connection(
            server=configuration.host,
            ca_file=configuration.ssl_ca_cert,
            certificate_file=configuration.cert_file,
            key_file=configuration.key_file,
            token=token.split(" ", 1)[-1] if token else None,
        )

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        return await self._request("GET", resource.path(name, namespace))

    async def list_all(self, resource: Resource, namespace: str = "", field_selector: str = "") -> Listing:
        """List completely, in pages; a page token that expires (410) starts the listing anew.

        Raises:
            ApiError: `Gone` when each of a few tries outlived its token.
        """
        for attempt in range(_LISTING_TRIES - 1):
            try:
                return await self._list_pages(resource.path(namespace=namespace), field_selector)
            except Gone as error:
                await retry_pause(attempt, error)
        return await self._list_pages(resource.path(namespace=namespace), field_selector)

    async def _list_pages(self, path: str, field_selector: str) -> Listing:
        """List page by page."""
        items: list[Object] = []
        query = {"limit": str(_PAGE)} | ({"fieldSelector": field_selector} if field_selector else {})
        while True:
            page = await self._request("GET", path, query=query)
            items += read_items(page)
            token = text_at(page, "metadata", "continue")
            if not token:
                return Listing(tuple(items), text_at(page, "metadata", "resourceVersion"))
            query["continue"] = token

    async def create(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("POST", resource.path(namespace=namespace), query=query, body=body)

    async def try_out(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        """Have the API server do all that belongs to a creation but the storing."""
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All"}
        return await self._request("POST", resource.path(namespace=namespace), query=query, body=body)

    async def replace(self, resource: Resource, body: Object) -> Object:
        """Replace an object; the resourceVersion in its metadata is the precondition."""
        metadata = body["metadata"]
        path = resource.path(metadata["name"], metadata.get("namespace", ""))
        return await self._request("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=body)

    async def merge(self, path: str, body: Object) -> Object:
        """Apply a JSON merge patch (RFC 7386) to the object at a path of `Resource.path`."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("PATCH", path, query=query, body=body, content_type=MERGE_PATCH)

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Object:
        """Apply JSON Patch operations (RFC 6902) to the object at a path of `Resource.path`."""
        query = {"fieldManager": FIELD_MANAGER}
        body = [dict(operation) for operation in operations]
        return await self._request("PATCH", path, query=query, body=body, content_type=JSON_PATCH)

    async def delete(self, resource: Resource, name: str, namespace: str, uid: str, version: str = "") -> None:
        """Delete this very object, in this very state where a resourceVersion is given; otherwise it is a Conflict."""
        preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        await self._request("DELETE", resource.path(name, namespace), body={"preconditions": preconditions})

    async def watch(
        self,
        resource: Resource,
        since: str,
        *,
        namespace: str = "",
        field_selector: str = "",
        seconds: int = 300,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield `(type, object)` of each change, bookmarks included, until the server ends the watch.

        Raises:
            ApiError: also for an ERROR event in the stream (`Gone` when `since` is too old), and for one that cannot be
                read: what came after it is lost, so only a new listing helps.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
        }
        if field_selector:
            query["fieldSelector"] = field_selector
        # A server that is gone without a word is noticed by the silence: it sends a bookmark each minute.
        timeout = aiohttp.ClientTimeout(total=seconds + 30, sock_connect=10, sock_read=90)
        response = await self._send(_Request("GET", resource.path(namespace=namespace), query, timeout=timeout))
        try:
            if response.status >= 300:
                raise await read_error(response)
            async for event in read_events(response):
                yield event
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send a request and decode the answer."""
        request = _Request(method, path, query or {}, body, content_type)
        if self._gate is None or method == "GET":
            return await self._exchange(request)
        async with self._gate.passage(f"{method} {path}"):
            return await self._exchange(request)

    async def _exchange(self, request: _Request) -> Object:
        """Send a request and read the whole answer."""
        response = await self._send(request)
        if response.status >= 300:
            raise await read_error(response)
        return await read_object(response, f"{request.method} {request.path}")

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        """Send a request by the official client's transport; it would look at every value for models of its own."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = f"{self._configuration.host}{request.path}{query}"
        headers = self._headers | {"Content-Type": request.content_type}
        with unreachable():
            if token := await self._configuration.get_api_key_with_prefix("BearerToken"):
                headers["Authorization"] = token
            answer = await self._api.call_api(
                request.method, url, headers, request.body, _request_timeout=request.timeout
            )
        response: aiohttp.ClientResponse = answer.response
        self._server_time.note(response.headers.get("Date"))
        return response


def _no_cluster(kubeconfig: Path | None, error: Exception) -> str:
    """Say what is missing and what to do."""
    # YAML's errors quote the line, which may hold a token.
    problem = type(error).__name__ if isinstance(error, YAMLError) else f"{type(error).__name__}: {error}"
    if kubeconfig is None:
        return f"no service account to reach the API server with ({problem}); outside a Pod give --kubeconfig"
    return f"kubeconfig {kubeconfig} cannot be used ({problem}); kubectl has to work with it"


async def retry_pause(attempt: int, error: ApiError | None = None) -> None:
    """Wait before trying again: 0.2 s, doubled each time, 10 s at most; longer where the server asked for it."""
    asked = error.retry_after if error is not None else 0.0
    await asyncio.sleep(max(min(0.2 * 2 ** min(attempt, 10), 10.0), asked))
