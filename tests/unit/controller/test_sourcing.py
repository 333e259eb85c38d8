"""Following Secrets that hold licenses: what is taken, what is doubted, and when one counts as deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest

from license_secrets import LICENSE_KEY, SDK_KEY, Json, a_secret, a_source, license_yaml, sdk_config
from replicated_proxy.controller import sourcing
from replicated_proxy.controller.entries import LicenseReader, SecretLicenses
from replicated_proxy.controller.sourcing import SecretLicenseKeeper
from replicated_proxy.kube import watching
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Forbidden, Gone, Unreachable
from replicated_proxy.settings.model import SecretSource, SourceSettings
from simulated_clock import SimulatedClock, settle

KEY = "app/secrets/credential/license.yaml"
SDK = "app/secrets/credential/config.yaml"
GRACE = 300.0
PASSWORD = "planted-password-7f3a"
REFUSED = Forbidden(403, "Forbidden", 'secrets "credential" is forbidden')


class Server:
    """An API server with one Secret.

    Attributes:
        body: the Secret as a listing shows it.
        error: what listings are refused with.
        listings: how many were asked for.
    """

    def __init__(self, body: Json | None) -> None:
        self.body = body
        self.error: ApiError | None = None
        self.listings = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._events: asyncio.Queue[tuple[str, Json] | ApiError] = asyncio.Queue()
        self._retry = asyncio.Event()

    async def list_all(self, *_: object) -> Listing:
        """List the Secret as it was when asked, once the gate is open."""
        self.listings += 1
        error, items = self.error, () if self.body is None else (self.body,)
        await self.gate.wait()
        if error is not None:
            raise error
        return Listing(items, "1")

    async def watch(self, *_: object, **__: object) -> AsyncIterator[tuple[str, Json]]:
        """Yield what the test does."""
        while True:
            event = await self._events.get()
            if isinstance(event, ApiError):
                raise event
            yield event

    async def put(self, body: Json) -> None:
        """Make or change the Secret."""
        self.body = body
        await self._send(("MODIFIED", body))

    async def delete(self) -> None:
        """Delete the Secret."""
        body, self.body = self.body, None
        assert body is not None
        await self._send(("DELETED", body))

    async def interrupt(self, error: ApiError) -> None:
        """End the watch with an error; listings go on as `error` says."""
        await self._send(error)

    async def retry(self) -> None:
        """End the pauses that go on now."""
        self._retry.set()
        self._retry = asyncio.Event()
        await settle()

    async def pause(self, *_: object) -> None:
        """Wait for the test to end it."""
        await self._retry.wait()

    async def _send(self, event: tuple[str, Json] | ApiError) -> None:
        """Let the watch tell it."""
        self._events.put_nowait(event)
        await settle()


class Scene:
    """A keeper at work beside a server, a clock and the licenses it notes."""

    def __init__(self, server: Server, sources: tuple[SecretSource, ...]) -> None:
        self.server = server
        self.clock = SimulatedClock()
        keys = [f"app/secrets/credential/{source.key}" for source in sources]
        self.licenses = SecretLicenses(LicenseReader(), keys)
        self.turns = 0
        settings = SourceSettings(secrets=sources, missing_seconds=GRACE)
        self.keeper = SecretLicenseKeeper(cast("KubeClient", server), settings, self.licenses, self.clock)

    def changed(self) -> None:
        """Note that a turn is due."""
        self.turns += 1

    def license_id(self, key: str = KEY) -> str:
        """Return the ID of a license that counts, or an empty text."""
        entry = self.licenses.entries().get(key)
        return entry.lic.license_id.reveal() if entry and entry.lic else ""

    def problem(self, key: str = KEY) -> str:
        """Return why a license is in doubt, or an empty text."""
        entry = self.licenses.entries().get(key)
        return entry.problem if entry else ""

    @property
    def revoked(self) -> bool:
        """Tell whether the license counts as deleted."""
        return self.licenses.complete and KEY not in self.licenses.entries()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what the keeper logs."""
    with caplog.at_level(logging.INFO, logger=sourcing.__name__):
        yield caplog


@asynccontextmanager
async def at_work(
    monkeypatch: pytest.MonkeyPatch, body: Json | None, *sources: SecretSource, error: ApiError | None = None
) -> AsyncIterator[Scene]:
    """Run a keeper until the block ends."""
    server = Server(body)
    server.error = error
    monkeypatch.setattr(watching, "retry_pause", server.pause)
    monkeypatch.setattr(sourcing, "retry_pause", server.pause)
    scene = Scene(server, sources or (a_source(),))
    task = asyncio.create_task(scene.keeper.run(scene.changed))
    await settle()
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def holding(license_id: str, **metadata: str) -> Json:
    """Return the Secret with a license of this ID."""
    return a_secret({LICENSE_KEY: license_yaml(licenseID=license_id)}, **metadata)


async def test_license_is_taken_and_so_is_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the Secret holds counts at once, and a turn is due only when it is other than before."""
    async with at_work(monkeypatch, holding("first")) as scene:
        assert (scene.license_id(), scene.turns, scene.licenses.complete) == ("first", 1, True)

        await scene.server.put(holding("second"))
        assert (scene.license_id(), scene.turns) == ("second", 2)

        await scene.server.put(holding("second", resourceVersion="12"))
        assert (scene.license_id(), scene.turns) == ("second", 2)


async def test_secret_with_two_licenses_is_followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries for one Secret cost one listing, and each gives its license, or its problem."""
    both = {LICENSE_KEY: license_yaml(licenseID="plain"), SDK_KEY: sdk_config(license_yaml(licenseID="inside"))}
    async with at_work(monkeypatch, a_secret(both), a_source(), a_source(SDK_KEY)) as scene:
        assert (scene.license_id(KEY), scene.license_id(SDK)) == ("plain", "inside")
        assert (scene.server.listings, scene.turns) == (1, 1)

        await scene.server.put(a_secret(both | {SDK_KEY: "nonsense"}))
        assert (scene.license_id(KEY), scene.license_id(SDK)) == ("plain", "")
        assert "is no mapping" in scene.problem(SDK)


async def test_nothing_to_follow_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without entries there is nothing to do."""
    del monkeypatch
    licenses = SecretLicenses(LicenseReader(), ())
    keeper = SecretLicenseKeeper(cast("KubeClient", Server(None)), SourceSettings(), licenses, SimulatedClock())

    await keeper.run(lambda: None)

    assert licenses.complete


async def test_missing_secret_revokes_after_its_time_only(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """A deleted Secret is in doubt at once and counts as deleted when its time is over, not a second sooner."""
    async with at_work(monkeypatch, holding(PASSWORD)) as scene:
        await scene.server.delete()
        assert "Secret app/credential does not exist: what it gave stays in effect for 300 seconds" in scene.problem()
        assert (scene.revoked, scene.turns) == (False, 2)

        await scene.clock.advance(GRACE - 1)
        assert not scene.revoked

        await scene.clock.advance(1)
        assert (scene.revoked, scene.turns) == (True, 3)
        assert scene.server.listings == 2
    assert [record.levelname for record in log.records] == ["WARNING", "WARNING"]
    assert PASSWORD not in log.text


async def test_secret_that_never_was_counts_as_deleted_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts from the first listing that lacked it, so what an earlier process published lives as long."""
    async with at_work(monkeypatch, None) as scene:
        assert scene.licenses.unknown == {KEY}

        await scene.clock.advance(GRACE)
        assert scene.revoked


async def test_date_that_jumps_revokes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is measured on the monotonic clock."""
    async with at_work(monkeypatch, None) as scene:
        scene.clock.skew = timedelta(days=400)
        await scene.clock.advance(GRACE / 2)

        assert not scene.revoked


async def test_secret_that_comes_back_is_taken_and_its_time_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that replaces a Secret costs nothing, however often it does so."""
    async with at_work(monkeypatch, holding("first")) as scene:
        for number in range(3):
            await scene.server.delete()
            await scene.clock.advance(GRACE - 1)
            await scene.server.put(holding(f"again-{number}", uid=f"uid-{number}"))
            assert scene.license_id() == f"again-{number}"

        await scene.clock.advance(3 * GRACE)
        assert scene.license_id() == "again-2"

        await scene.server.delete()
        await scene.clock.advance(GRACE)
        assert scene.revoked


async def test_secret_that_comes_back_too_late_is_taken_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A License that counts as deleted counts again when its Secret is there."""
    async with at_work(monkeypatch, None) as scene:
        await scene.clock.advance(GRACE)
        assert scene.revoked

        await scene.server.put(holding("late"))
        assert scene.license_id() == "late"

        await scene.server.delete()
        await scene.clock.advance(GRACE)
        assert scene.revoked


async def test_secret_that_is_being_deleted_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer of somebody else does not keep a license alive."""
    async with at_work(monkeypatch, holding("first")) as scene:
        await scene.server.put(holding("first", deletionTimestamp="2026-03-01T00:00:00Z"))
        assert "is being deleted" in scene.problem()

        await scene.clock.advance(GRACE / 2)
        await scene.server.put(holding("second", deletionTimestamp="2026-03-01T00:00:00Z"))
        await scene.clock.advance(GRACE / 2)
        assert scene.revoked


async def test_watch_that_missed_the_return_revokes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a license counts as deleted a listing has to say so too; one that finds the Secret takes it."""
    async with at_work(monkeypatch, None) as scene:
        scene.server.body = holding("unseen")
        await scene.clock.advance(GRACE)

        assert scene.license_id() == "unseen"


async def test_return_during_the_last_look_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that was made before the Secret came back revokes nothing."""
    async with at_work(monkeypatch, None) as scene:
        scene.server.gate.clear()
        await scene.clock.advance(GRACE)
        assert scene.server.listings == 2

        await scene.server.put(holding("back"))
        scene.server.gate.set()
        await settle()

        assert scene.license_id() == "back"


async def test_unreadable_content_is_doubted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """A slip of whoever edits the Secret changes nothing but what is said; no word of the content is in it."""
    broken = a_secret({LICENSE_KEY: f"licenseID: {PASSWORD}: {PASSWORD}"})
    async with at_work(monkeypatch, holding(PASSWORD)) as scene:
        await scene.server.put(broken)
        await scene.server.put(broken)
        assert "key 'license.yaml': is no YAML (line 1, column" in scene.problem()
        assert (scene.licenses.unknown, scene.turns) == (frozenset({KEY}), 2)

        await scene.clock.advance(10 * GRACE)
        assert scene.licenses.unknown == {KEY}

        await scene.server.put(holding("mended"))
        assert (scene.license_id(), scene.turns) == ("mended", 3)
    assert [record.levelname for record in log.records] == ["WARNING", "INFO"]
    assert PASSWORD not in log.text


async def test_permission_that_is_missing_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """What RBAC refuses is in doubt with the API server's words, each told once, until it is granted."""
    async with at_work(monkeypatch, holding("first"), error=REFUSED) as scene:
        assert 'Secret app/credential cannot be read: 403 Forbidden: secrets "credential"' in scene.problem()
        assert "let the controller's account get, list and watch it" in scene.problem()

        await scene.server.retry()
        await scene.clock.advance(10 * GRACE)
        assert (scene.licenses.unknown, scene.turns) == (frozenset({KEY}), 1)
        assert [record.name for record in log.records] == [watching.__name__, sourcing.__name__]

        scene.server.error = None
        await scene.server.retry()
        assert scene.license_id() == "first"


async def test_interrupted_watch_is_no_reason_to_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that ends is followed by a listing, and only one that is refused as well puts the license in doubt."""
    async with at_work(monkeypatch, holding("first")) as scene:
        await scene.server.interrupt(REFUSED)
        assert scene.license_id() == "first"

        scene.server.error = REFUSED
        await scene.server.retry()
        assert "cannot be read" in scene.problem()


@pytest.mark.parametrize("error", [Unreachable("refused"), Gone(410, "Expired", "too old"), ApiError(503, "x", "busy")])
async def test_server_that_is_away_says_nothing_about_the_secret(
    monkeypatch: pytest.MonkeyPatch, error: ApiError
) -> None:
    """While nobody answers the last state stands, and where there is none nothing is concluded."""
    async with at_work(monkeypatch, holding("first")) as scene:
        scene.server.error = error
        await scene.server.interrupt(error)
        for _ in range(3):
            await scene.server.retry()
        assert (scene.license_id(), scene.turns) == ("first", 1)

    async with at_work(monkeypatch, holding("first"), error=error) as scene:
        await scene.server.retry()
        assert not scene.licenses.complete


async def test_time_that_ends_while_nobody_answers_revokes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the time waits for an answer; what counts as deleted then is not doubted by later errors."""
    async with at_work(monkeypatch, holding("first")) as scene:
        await scene.server.delete()
        scene.server.error = REFUSED
        await scene.server.interrupt(REFUSED)
        await scene.server.retry()
        await scene.clock.advance(2 * GRACE)
        assert not scene.revoked
        assert "cannot be read" in scene.problem()

        scene.server.error = None
        await scene.server.retry()
        assert scene.revoked

        scene.server.error = REFUSED
        await scene.server.interrupt(REFUSED)
        await scene.server.retry()
        assert scene.revoked
