"""When a watch was last heard of: what tells a quiet stream from a dead one.

The API server sends a bookmark each minute on a watch where nothing happens, so silence means that nobody is there any
more. kopf hands no bookmark on, but takes an HTTP session of ours; what it reads from that is overheard.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, cast

import aiohttp

from replicated_proxy.kube.resources import Resource

_LOOK_SECONDS: Final = 0.25
_CLOSED_LOOKS: Final = 4


class Hearing:
    """The last sign of life of each kind's stream; written by one thread and read by another.

    A sign is a listing's answer, or bytes of a watch. The head of a watch's answer is none: it comes at once, also
    where nothing ever follows.
    """

    def __init__(
        self, resources: Iterable[Resource], clock: Callable[[], float], listed: Callable[[Resource], None]
    ) -> None:
        """Begin to listen; each kind counts as heard of now.

        Args:
            resources: the kinds.
            clock: monotonic seconds.
            listed: called, by the thread that reads, when a listing of a kind is answered.
        """
        self._clock = clock
        self._listed = listed
        self._by_path = {resource.path(): resource for resource in resources}
        self._heard = dict.fromkeys(self._by_path.values(), clock())
        self._watched: dict[Resource, float] = {}

    def age(self, resource: Resource) -> float:
        """Return the seconds since the last sign of life."""
        return self._clock() - self._heard[resource]

    def watched_since(self, resource: Resource, moment: float) -> bool:
        """Tell whether a watch of this kind brought anything after a moment of the clock."""
        return self._watched.get(resource, moment) > moment

    def note(self, path: str, *, watch: bool) -> None:
        """Say that something came from a path."""
        resource = self._by_path.get(path)
        if resource is not None:
            self._heard[resource] = self._clock()
            if watch:
                self._watched[resource] = self._heard[resource]
            else:
                self._listed(resource)

    def session(self, tls: ssl.SSLContext, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        """Open an HTTP session that notes what is read from it; its taker closes it."""
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        return aiohttp.ClientSession(connector=connector, headers=headers, response_class=_overheard_by(self))


class Access:
    """The sessions of one user, who asks for a new one when a token was refused, and closes the last one at its end."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._session: aiohttp.ClientSession | None = None

    def expect(self) -> None:
        """Say that a new session is on its way, however long that takes."""
        self._session = None

    def open(self, tls: ssl.SSLContext, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        """Open a session."""
        self._session = self._hearing.session(tls, headers)
        return self._session

    async def given_up(self) -> None:
        """Wait until the last session has been closed for a second, and none is on its way."""
        closed = 0
        while closed < _CLOSED_LOOKS:
            await asyncio.sleep(_LOOK_SECONDS)
            closed = closed + 1 if self._session is not None and self._session.closed else 0


class _OverheardContent:
    """A body's reader that says when something was read; everything else is the real reader's."""

    def __init__(self, content: aiohttp.StreamReader, heard: Callable[[], None]) -> None:
        self._content = content
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield what comes, as it comes."""
        async for chunk in self._content.iter_chunked(size):
            self._heard()
            yield chunk


def _overheard_by(hearing: Hearing) -> type[aiohttp.ClientResponse]:
    """Make the class of answers whose bytes are noted; aiohttp's traces see those of whole bodies only."""

    class OverheardResponse(aiohttp.ClientResponse):
        """An answer that somebody listens to."""

        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            """Begin to read."""
            await super().start(connection)
            if self.status >= 300:
                return self
            path = self.url.path
            if self.url.query.get("watch") == "true":
                # A stand-in, not a subclass: the reader is made by the protocol.
                overheard = _OverheardContent(self.content, lambda: hearing.note(path, watch=True))
                self.content = cast("aiohttp.StreamReader", overheard)
            else:
                hearing.note(path, watch=False)
            return self

    return OverheardResponse
