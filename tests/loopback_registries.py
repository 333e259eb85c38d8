"""Registries beside a control plane: real TLS behind a real egress proxy, which knows where their names lead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from operating import Json
from rig.authority import Authority
from rig.egress_proxy import EgressProxy
from rig.ports import free_port
from rig.scripted_server import Behaviour, Heard, ScriptedServer, answer, hang

Result = TypeVar("Result")
PUBLIC: Final = "public.example.com"
PRIVATE: Final = "private.example.com"
SLOW: Final = "slow.example.com"
BUSY: Final = "busy.example.com"
_BEHAVIOURS: Final[dict[str, Behaviour]] = {
    PUBLIC: answer(200),
    PRIVATE: answer(401, 'WWW-Authenticate: Basic realm="a registry"'),
    SLOW: hang,
    BUSY: answer(429, "Retry-After: 3600"),
}


class RunningRegistries:
    """One registry of each kind, in a thread of their own; a context manager.

    Attributes:
        values: the chart's values by which the roles reach them.
    """

    def __init__(self, folder: Path) -> None:
        authority = Authority.create(folder / "registries")
        pair = authority.server("registries", sorted(_BEHAVIOURS))
        self._server = ScriptedServer("127.0.0.1", free_port(), pair, self._behave)
        routes = {f"{name}:443": ("127.0.0.1", self._server.port) for name in _BEHAVIOURS}
        self._proxy = EgressProxy("127.0.0.1", free_port(), routes)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        detection = {"httpProxy": f"http://127.0.0.1:{self._proxy.port}", "caFile": str(authority.pair.certificate)}
        # A review waits for a registry at most half as long as for the whole answer; an idle machine needs a moment.
        times = {"deadline": 3.0, "collectSeconds": 0.2, "probeSeconds": 6.0}
        self.values: Json = {"settings": {"detection": detection | times}, "webhook": {"timeoutSeconds": 10}}
        self._up = False

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._do(self._server.__aenter__())
        self._do(self._proxy.__aenter__())
        self._up = True
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, if nobody did before."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop(self) -> None:
        """Answer nobody any more."""
        if self._up:
            self._up = False
            self._do(self._proxy.__aexit__(None, None, None))
            self._do(self._server.__aexit__(None, None, None))

    def asked(self, image: str) -> int:
        """Return how often a registry was asked about an image."""
        host, _, path = image.partition("/")
        repository = f"/v2/{path.partition(':')[0]}/manifests/"
        return sum(each.headers.get("host") == host and each.path.startswith(repository) for each in self._server.heard)

    async def _behave(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        """Answer as the registry of that name does."""
        await _BEHAVIOURS[heard.headers["host"]](heard, writer)

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something where they run."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
