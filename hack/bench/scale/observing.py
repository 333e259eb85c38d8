"""When the copies appear: a watch of the bench's own on Secrets of the one name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from replicated_proxy.core.objects import Body, text_at
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.resources import SECRETS
from rig.errors import RigError
from rig.progress import say

_WATCH_SECONDS = 3600


class Copies:
    """Which namespaces have a copy, and since when.

    Attributes:
        seen: `time.monotonic()` at the first sight of each copy that is there.
    """

    def __init__(self, client: KubeClient, secret_name: str) -> None:
        self._client = client
        self._selector = f"metadata.name={secret_name}"
        self._waiting: list[tuple[set[str], asyncio.Event]] = []
        self.seen: dict[str, float] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def await_all(self, namespaces: Iterable[str], seconds: float) -> None:
        """Wait until each of these has a copy.

        Raises:
            RigError: some had none in time.
        """
        missing = {name for name in namespaces if name not in self.seen}
        if not missing:
            return
        done = asyncio.Event()
        self._waiting.append((missing, done))
        try:
            await asyncio.wait_for(done.wait(), seconds)
        except TimeoutError:
            some = ", ".join(sorted(missing)[:3])
            raise RigError(f"{len(missing)} namespaces had no copy after {seconds:.0f} s: {some}, …") from None
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not done]

    async def await_none(self, seconds: float) -> None:
        """Wait until no copy is left.

        Raises:
            RigError: some were there after all.
        """
        deadline = time.monotonic() + seconds
        while self.seen:
            if time.monotonic() > deadline:
                raise RigError(f"{len(self.seen)} copies were still there after {seconds:.0f} s")
            await asyncio.sleep(0.05)

    async def _run(self) -> None:
        """Follow until cancelled; a watch that breaks is begun anew with a listing."""
        while True:
            try:
                await self._follow()
            except ApiError as error:
                say(f"the bench's watch was interrupted: {error}")
                await retry_pause(0, error)

    async def _follow(self) -> None:
        """List once, then watch until the server ends it."""
        listing = await self._client.list_all(SECRETS, field_selector=self._selector)
        listed = {text_at(item, "metadata", "namespace") for item in listing.items}
        for name in set(self.seen) - listed:
            del self.seen[name]
        for name in listed:
            self._note(name)
        watch = self._client.watch(
            SECRETS, listing.resource_version, field_selector=self._selector, seconds=_WATCH_SECONDS
        )
        async for kind, body in watch:
            self._take(kind, body)

    def _take(self, kind: str, body: Body) -> None:
        """Take in one event."""
        name = text_at(body, "metadata", "namespace")
        if kind == "DELETED":
            self.seen.pop(name, None)
        elif kind != "BOOKMARK":
            self._note(name)

    def _note(self, name: str) -> None:
        """Note that a copy is there, and tell those who wait for it."""
        self.seen.setdefault(name, time.monotonic())
        for missing, done in self._waiting:
            missing.discard(name)
            if not missing:
                done.set()
