"""Following the Secrets that hold licenses (`sources.secrets`): what each says, and when one counts as deleted.

A Secret may be gone for a moment (a tool that replaces it, a namespace restored from a backup), and whoever edits one
may slip. Neither takes a credential back: what it gave stays until it is readable again. Only one that stays away for
a time counts as deleted, and only after a listing of that moment says so too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.clock import Clock
from replicated_proxy.controller.entries import SecretLicenses
from replicated_proxy.core.license_documents import document_key
from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError, Forbidden
from replicated_proxy.kube.resources import SECRETS
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings.model import SecretSource, SourceSettings
from replicated_proxy.sources.license_secrets import InvalidLicenseSecret, read_license_secret

_log = logging.getLogger(__name__)
# The server is away, busy, or asks for a new listing: that says nothing about the Secret.
_PASSING: Final = frozenset({0, 410, 429, 503, 504})


@dataclass(slots=True)
class _Followed:
    """One Secret that holds licenses, and how it stands with it.

    Attributes:
        namespace, name: which one.
        entries: the settings' entries that read it, one for each data key.
        heard: its state came after the last error.
        missing_since: when it was first seen to be missing, on the monotonic clock; None while it is there.
        waiting: set while it is missing and not yet given up.
        problem: why what it holds is in doubt, by entry; each is logged once.
    """

    namespace: str
    name: str
    entries: tuple[SecretSource, ...]
    heard: bool = False
    missing_since: float | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    problem: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"Secret {self.namespace}/{self.name}"

    @property
    def given_up(self) -> bool:
        """Tell whether its licenses count as deleted."""
        return self.missing_since is not None and not self.waiting.is_set()


class SecretLicenseKeeper:
    """Notes what the Secrets hold; `run` until cancelled."""

    def __init__(self, client: KubeClient, settings: SourceSettings, licenses: SecretLicenses, clock: Clock) -> None:
        self._client = client
        self._grace = settings.missing_seconds
        self._licenses = licenses
        self._clock = clock
        self._changed: Callable[[], None] = lambda: None
        places = dict.fromkeys((source.namespace, source.name) for source in settings.secrets)
        self._followed = tuple(
            _Followed(*place, tuple(item for item in settings.secrets if (item.namespace, item.name) == place))
            for place in places
        )

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow each Secret once, whatever the number of its keys, and call `changed` when a license is other."""
        self._changed = changed
        async with asyncio.TaskGroup() as group:
            for secret in self._followed:
                group.create_task(self._follow(secret))
                group.create_task(self._give_up(secret))

    async def _follow(self, secret: _Followed) -> None:
        """Take in each state of a Secret."""

        def failed(error: ApiError) -> None:
            self._note_failure(secret, error)

        async for body in follow_object(self._client, SECRETS, secret.name, secret.namespace, failed):
            secret.heard = True
            self._note(secret, body)

    def _note(self, secret: _Followed, body: Object | None) -> None:
        """Take in a state; a Secret that is being deleted is as good as gone."""
        if body is not None and not text_at(body, "metadata", "deletionTimestamp"):
            secret.missing_since = None
            secret.waiting.clear()
            self._tell([self._read(secret, entry, body) for entry in secret.entries])
            return
        if secret.missing_since is None:
            secret.missing_since = self._clock.monotonic()
            secret.waiting.set()
        state = "does not exist" if body is None else "is being deleted"
        self._doubt_all(
            secret,
            f"{secret.title} {state}: what it gave stays in effect for {self._grace:g} seconds, then it counts as "
            "deleted; make it again, or remove its entry from settings.sources.secrets",
        )

    def _note_failure(self, secret: _Followed, error: ApiError) -> None:
        """Doubt what cannot be read; one interrupted watch is no reason, the listing after it tells."""
        heard, secret.heard = secret.heard, False
        if heard or error.status in _PASSING:
            return
        remedy = (
            "; let the controller's account get, list and watch it, as the chart's Role for the entry does"
            if isinstance(error, Forbidden)
            else ""
        )
        self._doubt_all(secret, f"{secret.title} cannot be read: {error}{remedy}")

    def _read(self, secret: _Followed, entry: SecretSource, body: Object) -> bool:
        """Read one license out of a Secret; returns whether anything changed."""
        try:
            document = read_license_secret(body, entry)
        except InvalidLicenseSecret as error:
            return self._doubt(secret, entry, str(error))
        if secret.problem.pop(_key(entry), ""):
            _log.info("the license in %s, key %r, can be read again", secret.title, entry.key)
        return self._licenses.take(document)

    def _doubt_all(self, secret: _Followed, problem: str) -> None:
        """Doubt all that a Secret holds; what counts as deleted is beyond doubt."""
        if not secret.given_up:
            self._tell([self._doubt(secret, entry, problem) for entry in secret.entries])

    def _doubt(self, secret: _Followed, entry: SecretSource, problem: str) -> bool:
        """Keep in effect what an entry gave, and nothing more; returns whether anything changed."""
        key = _key(entry)
        if secret.problem.get(key) != problem:
            _log.warning("license %s: %s", key, problem)
        secret.problem[key] = problem
        return self._licenses.doubt(key, problem)

    def _tell(self, news: list[bool]) -> None:
        """Say that a turn is due, where anything changed."""
        if any(news):
            self._changed()

    async def _give_up(self, secret: _Followed) -> None:
        """Wait for the end of each time of grace; one that a return cut short is followed by a full one."""
        while True:
            await secret.waiting.wait()
            since = secret.missing_since or 0.0
            left = since + self._grace - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
                continue
            body = await self._look(secret)
            if secret.missing_since != since:
                continue  # It came back while we looked.
            if body is None or text_at(body, "metadata", "deletionTimestamp"):
                self._drop(secret)
            else:
                self._note(secret, body)

    async def _look(self, secret: _Followed) -> Object | None:
        """List the Secret now, until there is an answer: revoking on what a watch once said could be long untrue."""
        attempt = 0
        while True:
            try:
                listing = await self._client.list_all(SECRETS, secret.namespace, f"metadata.name={secret.name}")
            except ApiError as error:
                await retry_pause(attempt, error)
                attempt += 1
            else:
                return listing.items[0] if listing.items else None

    def _drop(self, secret: _Followed) -> None:
        """Count a Secret's licenses as deleted."""
        secret.waiting.clear()
        secret.problem.clear()
        _log.warning("%s has been missing for %g seconds: its licenses count as deleted", secret.title, self._grace)
        self._tell([self._licenses.drop(_key(entry)) for entry in secret.entries])


def _key(entry: SecretSource) -> str:
    """Return the key of what an entry gives."""
    return document_key(entry.namespace, entry.name, entry.key)
