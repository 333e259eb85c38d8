"""The routing table's ConfigMap: read back at start, repaired when edited, written only when it changes.

Beside the table stands what the webhook's replicas learned of registries. Each is written without touching the other,
and when there is no room for both, the verdicts give way: they can be asked anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

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
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import shrink_verdicts
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.resources import CONFIG_MAPS
from replicated_proxy.kube.watching import follow_object

_log = logging.getLogger(__name__)
_MOST_BYTES: Final = 1_040_000  # Of all data together; a ConfigMap holds 1 MiB.
_MOST_FOR_VERDICTS: Final = 200_000


class TablePublisher:
    """Owns the ConfigMap of the routing table.

    Attributes:
        published: the table that stands there, as far as it could be read; empty at first.
        loaded: set while we lead, once the ConfigMap has been read for that or found missing.
        problem: why the newest table could not be published, for the License's status.
        newer: the table of a later version stands there; it is left alone, and nothing is concluded without it.
        verdicts: the text about registries that stands there.
    """

    def __init__(self, client: KubeClient, namespace: str, name: str, secret_name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._text: str | None = None
        self._leads = False
        self.published = RoutingTable(secret_name)
        self.loaded = asyncio.Event()
        self.problem = ""
        self.newer = ""
        self.verdicts = ""

    def problems(self) -> list[str]:
        """Say what keeps the controller from working on the published table."""
        if self.newer:
            return [f"{self.newer}; run that version, or delete ConfigMap {self._namespace}/{self._name}"]
        return ["the routing table has not been read"] if self._leads and not self.loaded.is_set() else []

    async def follow(self, changed: Callable[[], None]) -> None:
        """Watch the ConfigMap, so that what somebody edits or deletes is written again; until cancelled.

        While another replica leads, what it publishes counts.
        """
        async for body in follow_object(self._client, CONFIG_MAPS, self._name, self._namespace):
            text = self._note(body)
            if not self.loaded.is_set():
                self._read_back(text)
                changed()
            if text != self._text or body is None:
                self._text = text
                changed()

    async def take_over(self) -> None:
        """Read what stands there now, whatever the watch has brought so far; then publishing may begin."""
        self._leads = True
        attempt = 0
        while True:
            try:
                self._text = await self._read()
            except ApiError as error:
                _log.warning("the routing table cannot be read, trying again: %s", error)
                await retry_pause(attempt, error)
                attempt += 1
            else:
                self._read_back(self._text)
                return

    def hand_over(self) -> None:
        """Conclude nothing more: another replica may publish."""
        self._leads = False
        self.loaded.clear()
        self.problem = ""

    async def _read(self) -> str | None:
        """Read the ConfigMap's text, None where there is no ConfigMap."""
        try:
            body = await self._client.get(CONFIG_MAPS, self._name, self._namespace)
        except NotFound:
            return None
        return self._note(body)

    def _note(self, body: Object | None) -> str | None:
        """Remember the verdicts of a state of the ConfigMap and return its table, None where there is no ConfigMap."""
        self.verdicts = text_at(body, "data", VERDICTS_KEY)
        return None if body is None else text_at(body, "data", DATA_KEY)

    def _read_back(self, text: str | None) -> None:
        """Take over what somebody else published: frozen and unknown Licenses live on in it.

        Work may begin unless the table of a later version stands there.
        """
        if self._decode(text) and self._leads:
            self.loaded.set()

    def _decode(self, text: str | None) -> bool:
        """Take in a table; returns whether it is one that we may replace."""
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
        data: Object = {DATA_KEY: text}
        room, before = _MOST_BYTES - len(text.encode()), self.verdicts
        if len(before.encode()) > room:
            self.verdicts = data[VERDICTS_KEY] = shrink_verdicts(before, room)
        body = self._render(data)
        try:
            try:
                await self._client.merge(CONFIG_MAPS.path(self._name, self._namespace), body)
            except NotFound:
                await self._client.create(CONFIG_MAPS, body, self._namespace)
        except ApiError:
            # The large ones stand there still: unless they shrink again, the next try finds no room.
            self.verdicts = before
            raise

    def room_for_verdicts(self) -> int:
        """Return how many bytes the table leaves for verdicts."""
        return min(_MOST_FOR_VERDICTS, _MOST_BYTES - len((self._text or "").encode()))

    async def publish_verdicts(self, text: str) -> bool:
        """Write verdicts beside the table; returns whether they stand there, which takes a table that does.

        Raises:
            ApiError: the ConfigMap could not be written.
        """
        if text == self.verdicts:
            return True
        if len(text) > self.room_for_verdicts():
            return False
        before, self.verdicts = self.verdicts, text
        try:
            await self._client.merge(CONFIG_MAPS.path(self._name, self._namespace), {"data": {VERDICTS_KEY: text}})
        except NotFound:
            self.verdicts = ""
            return False
        except ApiError:
            self.verdicts = before
            raise
        return True

    def _render(self, data: Object) -> Object:
        """Write the ConfigMap; nothing secret is in it."""
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name, "namespace": self._namespace, "labels": {MANAGED_BY_LABEL: MANAGER}},
            "data": data,
        }
