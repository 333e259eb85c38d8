"""The routing table's ConfigMap: read back at start, repaired when edited, written only when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from replicated_proxy.core.objects import text_at
from replicated_proxy.core.pull_secrets import MANAGED_BY_LABEL, MANAGER
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.routing_documents import (
    DATA_KEY,
    InvalidRoutingTable,
    NewerRoutingTable,
    RoutingTableTooLarge,
    decode_table,
    encode_table,
)
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.resources import CONFIG_MAPS
from replicated_proxy.kube.watching import follow_object

_log = logging.getLogger(__name__)


class TablePublisher:
    """Owns the ConfigMap of the routing table.

    Attributes:
        published: the table that stands there, as far as it could be read; empty at first.
        loaded: set once the ConfigMap has been read, or found missing.
        problem: why the newest table could not be published, for the License's status.
        newer: the table of a later version stands there; it is left alone, and nothing is concluded without it.
    """

    def __init__(self, client: KubeClient, namespace: str, name: str, secret_name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._text: str | None = None
        self.published = RoutingTable(secret_name)
        self.loaded = asyncio.Event()
        self.problem = ""
        self.newer = ""

    def problems(self) -> list[str]:
        """Say what keeps the controller from working on the published table."""
        if self.newer:
            return [f"{self.newer}; run that version, or delete ConfigMap {self._namespace}/{self._name}"]
        return [] if self.loaded.is_set() else ["the routing table has not been read"]

    async def follow(self, changed: Callable[[], None]) -> None:
        """Watch the ConfigMap, so that what somebody edits or deletes is written again; until cancelled."""
        async for body in follow_object(self._client, CONFIG_MAPS, self._name, self._namespace):
            text = None if body is None else text_at(body, "data", DATA_KEY)
            if not self.loaded.is_set() and self._read_back(text):
                self.loaded.set()
                changed()
            if text != self._text or body is None:
                self._text = text
                changed()

    def _read_back(self, text: str | None) -> bool:
        """Take over what an earlier process published: frozen and unknown Licenses live on in it.

        Returns whether work may begin: not while the table of a later version stands there.
        """
        self.newer = ""
        if not text:
            return True
        try:
            self.published = decode_table(text)
        except NewerRoutingTable as error:
            self.newer = str(error)
            _log.error("%s; it is left alone", error)
            return False
        except InvalidRoutingTable as error:
            _log.warning("the published routing table is written anew: %s", error)
        return True

    async def publish(self, table: RoutingTable) -> None:
        """Write the table if it is other than what stands there.

        Raises:
            ApiError: the ConfigMap could not be written.
        """
        try:
            text = encode_table(table)
        except RoutingTableTooLarge as error:
            self.problem = str(error)
            _log.error("%s", error)
            return
        self.problem = ""
        if text != self._text:
            # Before the request: an edit that comes in between its answer and us has to count as one.
            self._text = text
            try:
                await self._write(text)
            except ApiError:
                self._text = None
                raise
            _log.info("routing table published", extra={"licenses": len(table.routes), "bytes": len(text)})
        self.published = table

    async def _write(self, text: str) -> None:
        """Write the ConfigMap, or make it; somebody who was faster with that is overwritten at the next turn."""
        body = self._render(text)
        try:
            await self._client.merge(CONFIG_MAPS.path(self._name, self._namespace), body)
        except NotFound:
            await self._client.create(CONFIG_MAPS, body, self._namespace)

    def _render(self, text: str) -> Object:
        """Write the ConfigMap; nothing secret is in it."""
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name, "namespace": self._namespace, "labels": {MANAGED_BY_LABEL: MANAGER}},
            "data": {DATA_KEY: text},
        }
