"""The comparison: what the same writes take without our rules, in a process of its own.

`python -m bench.scale.bare fill|follow KUBECONFIG FOLDER CONCURRENCY` with the controller's own identity, client and
event loop. `fill` writes the Secret of `FOLDER/secret.json` into each namespace of `FOLDER/names.json`; `follow` into
each namespace that is created while it runs. The first line on standard output is `time.monotonic()` at the start.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from bench.scale.parallel import in_parallel
from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.resources import NAMESPACES, SECRETS


class Writer:
    """Writes the same Secret anywhere."""

    def __init__(self, client: KubeClient, secret: Object) -> None:
        self._client = client
        self._secret = secret

    async def write(self, namespace: str) -> None:
        """Create the Secret in a namespace."""
        await self._client.create(SECRETS, self._secret, namespace)

    async def fill(self, names: list[str], concurrency: int) -> None:
        """Write everywhere."""
        _say_started()
        await in_parallel(names, self.write, concurrency)

    async def follow(self, concurrency: int) -> None:
        """Write into each new namespace, until ended."""
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def work() -> None:
            """Write into what comes."""
            while True:
                await self.write(await queue.get())

        listing = await self._client.list_all(NAMESPACES)
        _say_started()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
            async for kind, body in self._client.watch(NAMESPACES, listing.resource_version, seconds=3600):
                if kind == "ADDED":
                    queue.put_nowait(text_at(body, "metadata", "name"))


def _say_started() -> None:
    """Say that the work begins; the clock is the machine's, so that the reader can subtract."""
    print(time.monotonic(), flush=True)


async def _main(mode: str, kubeconfig: Path, folder: Path, concurrency: int) -> None:
    """Connect and work."""
    client = await KubeClient.connect(kubeconfig)
    try:
        writer = Writer(client, json.loads((folder / "secret.json").read_text(encoding="utf-8")))
        if mode == "fill":
            await writer.fill(json.loads((folder / "names.json").read_text(encoding="utf-8")), concurrency)
        else:
            await writer.follow(concurrency)
    finally:
        await client.close()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
