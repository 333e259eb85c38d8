"""The keeper of the certificate, against an API server of three objects."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from builders import Json
from keeping import (
    AUTHORITY,
    CONFIGURATION,
    NAMES,
    OURS,
    OUT_OF_SYNC,
    POD_ENTRY,
    SERVING,
    SETTINGS,
    Api,
    Keeping,
    a_configuration,
    a_foreign_secret,
)
from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.certificates.verifying import verify_leaf
from replicated_proxy.controller import certifying
from replicated_proxy.controller.certificate_places import published_in
from replicated_proxy.controller.certificates import make_certificates
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.settings import CertificateMode, CertificateSettings, Settings
from replicated_proxy.telemetry.metrics import Metrics
from serving import NOW
from simulated_clock import SimulatedClock, settle


@pytest.fixture
def api() -> Api:
    """Return an API server with the chart's webhook configuration."""
    api = Api()
    api.put(CONFIGURATION, a_configuration(POD_ENTRY))
    return api


@pytest.fixture
def retried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the attempts after errors, without waiting for them."""
    made: list[int] = []

    async def pause(attempt: int, _: ApiError | None = None) -> None:
        made.append(attempt)
        await asyncio.sleep(0)

    monkeypatch.setattr(certifying, "retry_pause", pause)
    return made


async def test_first_start_takes_three_writes(api: Api) -> None:
    """Authority, bundle, serving certificate; then nothing is wrong and nothing more is written."""
    async with Keeping(api) as keeping:
        assert keeping.keeper.problems() != []
        await keeping.until_well()
        await keeping.turns()
    assert api.writes == [f"create {AUTHORITY}", f"patch {CONFIGURATION}", f"create {SERVING}"]
    bundle = api.objects[CONFIGURATION]["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == read_serving(api.objects[SERVING]).bundle


async def test_configuration_without_entries_is_not_written(api: Api) -> None:
    """With its webhooks removed there is nowhere to publish: no patch that changes nothing, for ever."""
    async with Keeping(api) as keeping:
        await keeping.until_well()
        before = list(api.writes)
        api.put(CONFIGURATION, {"webhooks": []})
        said = await keeping.until_said("has no webhooks")
        await keeping.turns()
        assert CONFIGURATION in said
        assert api.writes == before
        api.put(CONFIGURATION, a_configuration(POD_ENTRY, "more.proxy.kots.io"))
        await keeping.until_well()
    assert api.writes == [*before, f"patch {CONFIGURATION}"]


async def test_missing_configuration_is_a_problem(api: Api) -> None:
    """Without the webhook configuration the controller says which one it looks for."""
    api.remove(CONFIGURATION)
    async with Keeping(api) as keeping:
        await keeping.until_said(f"no webhook configuration named {CONFIGURATION}")
        await keeping.turns()
    assert api.writes == []


async def test_fight_over_the_bundle_is_tamed(api: Api) -> None:
    """Where somebody takes `caBundle` back each time, pauses grow, and readiness says what is going on."""

    def take_back(name: str) -> None:
        if name == CONFIGURATION:
            api.put(CONFIGURATION, a_configuration(POD_ENTRY, bundle=b"theirs"))

    api.meddle = take_back
    async with Keeping(api) as keeping:
        await keeping.until_said("undone again and again")
        await keeping.until(lambda: len(keeping.pauses) >= 7)
        assert keeping.pauses[:7] == [1, 2, 4, 8, 16, 32, 60]


async def test_two_releases_with_one_serving_secret_are_tamed(api: Api) -> None:
    """Where another release writes the same Secret, each write waits longer than the one before."""

    def write_over(name: str) -> None:
        if name == SERVING:
            api.put(SERVING, {"type": "kubernetes.io/tls", "data": {}, "metadata": {"labels": OURS}})

    api.meddle = write_over
    async with Keeping(api) as keeping:
        await keeping.until_said("undone again and again")
        await keeping.until(lambda: len(keeping.pauses) >= 7)
        assert keeping.pauses[:7] == [1, 2, 4, 8, 16, 32, 60]


@pytest.mark.parametrize("name", [AUTHORITY, SERVING])
@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/managed-by": "Helm"}], ids=["unlabelled", "labelled"])
async def test_foreign_secret_is_never_written(api: Api, name: str, labels: dict[str, str]) -> None:
    """A Secret that somebody else made stays as it is; the problem names it and the way out, and going it heals."""
    before = api.put(name, a_foreign_secret(metadata={"labels": labels}))
    async with Keeping(api) as keeping:
        said = await keeping.until_said(f"Secret ns/{name} holds no usable certificate")
        await keeping.turns()
        assert "delete it, or choose another name" in said
        assert api.objects[name] == before
        api.remove(name)
        await keeping.until_well()
    assert f"create {name}" in api.writes


async def test_secret_that_becomes_foreign_during_a_pause_is_left_alone(api: Api) -> None:
    """What was ours before a pause and is somebody else's after it is not written over."""
    async with Keeping(api) as keeping:
        await keeping.until_well()
        api.put(SERVING, {"type": "kubernetes.io/tls", "data": {}, "metadata": {"labels": OURS}})
        while not keeping.pauses:
            await keeping.turns()
        api.put(SERVING, a_foreign_secret())
        await keeping.turns()
        await keeping.until_said("is not the operator's own")
    assert api.objects[SERVING]["data"] == a_foreign_secret()["data"]


@pytest.mark.parametrize("name", [AUTHORITY, SERVING])
@pytest.mark.parametrize(
    "differs", [{"type": "Opaque"}, {"type": "kubernetes.io/tls", "immutable": True}], ids=["type", "immutable"]
)
async def test_own_secret_that_cannot_be_changed_is_named(api: Api, name: str, differs: Json) -> None:
    """One of ours with another type, or made immutable, is named with the way out; once deleted it is made anew."""
    api.put(name, a_foreign_secret(**differs, metadata={"labels": OURS}))
    async with Keeping(api) as keeping:
        await keeping.until_said(f"Secret ns/{name} has another type")
        api.remove(name)
        await keeping.until_well()
    assert f"replace {name}" not in api.writes
    assert api.objects[name]["type"] == "kubernetes.io/tls"


async def test_refused_write_is_a_problem_until_it_succeeds(api: Api, retried: list[int]) -> None:
    """The server's words are in readiness while a step fails, its pauses grow, and success ends the problem."""
    api.refusal = ApiError(403, "Forbidden", "a policy forbids Secrets")
    async with Keeping(api) as keeping:
        await keeping.until_said("a policy forbids Secrets")
        await keeping.until(lambda: len(retried) > 3)
        api.refusal = None
        await keeping.until_well()
    assert retried[:4] == [0, 1, 2, 3]


@pytest.mark.usefixtures("retried")
async def test_mistake_does_not_end_the_controller(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expects is logged and tried again: pull secrets must not wait for it."""
    broken: list[Callable[..., Awaitable[Json]]] = [api.create]

    async def fail(*_: object) -> Json:
        monkeypatch.setattr(api, "create", broken.pop())
        raise KeyError("metadata")

    monkeypatch.setattr(api, "create", fail)
    async with Keeping(api) as keeping:
        await keeping.until_said("KeyError")
        await keeping.until_well()


async def test_standby_writes_nothing_and_a_new_leader_reads_anew(api: Api) -> None:
    """Watching alone writes nothing; whoever begins to lead acts on what stands there, not on what watches brought."""
    keeper = CertificateKeeper(cast("KubeClient", api), SETTINGS, SimulatedClock(NOW), Metrics())
    following = asyncio.create_task(keeper.follow())
    await settle()
    assert api.writes == []
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    async with Keeping(api) as other:
        await other.until_well()
    before = list(api.writes)
    keeping = asyncio.create_task(keeper.keep())
    await settle()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)

    assert keeper.problems() == []
    assert api.writes == before


async def test_entries_of_others_are_left_alone(api: Api) -> None:
    """Another webhook in our configuration keeps its bundle, and does not count as one that is out of order."""
    body = a_configuration("theirs.example.com", POD_ENTRY, "proxy.kots.io.example.com", bundle=b"theirs")
    api.put(CONFIGURATION, body)
    async with Keeping(api) as keeping:
        await keeping.until_well()
    bundles = [entry["clientConfig"]["caBundle"] for entry in api.objects[CONFIGURATION]["webhooks"]]
    assert [base64.b64decode(text) for text in bundles] == [
        b"theirs",
        read_serving(api.objects[SERVING]).bundle,
        b"theirs",
    ]
    assert api.writes.count(f"patch {CONFIGURATION}") == 1


async def test_configuration_of_others_only_is_named(api: Api) -> None:
    """With no entry of ours there is nowhere to publish."""
    api.put(CONFIGURATION, a_configuration("theirs.example.com"))
    async with Keeping(api) as keeping:
        await keeping.until_said("has no webhooks of ours")
        assert keeping.metrics.registry.get_sample_value(OUT_OF_SYNC) == 1
    assert api.writes == []


async def test_lifetimes_of_seconds_meet_no_growing_pauses(api: Api) -> None:
    """What time makes due is nobody's fight: rotation follows rotation without a complaint."""
    lifetimes = CertificateSettings(
        ca_lifetime=timedelta(seconds=30), leaf_lifetime=timedelta(seconds=12), propagation_delay=timedelta(seconds=2)
    )
    async with Keeping(api, Settings(certificates=lifetimes)) as keeping:
        await keeping.until_well()
        while keeping.clock.now() < NOW + timedelta(seconds=200):
            keeping.clock.step(0.2)
            await keeping.turns(20)
            assert keeping.keeper.problems() == []
            served, bundle = read_serving(api.objects[SERVING]), published_in(api.objects[CONFIGURATION])
            assert not verify_leaf(served.chain, bundle or b"", NAMES[0], keeping.clock.now())
    assert api.writes.count(f"replace {AUTHORITY}") >= 8
    assert max(keeping.pauses) <= 2


async def test_sync_of_the_bundle_is_measured(api: Api) -> None:
    """The gauge is 1 while `caBundle` is another one, and 0 once it is ours."""
    api.refusal = ApiError(403, "Forbidden", "a policy forbids patches")
    async with Keeping(api) as keeping:
        await keeping.until_said("forbids patches")
        api.refusal = None
        await keeping.until_well()
        assert keeping.metrics.registry.get_sample_value(OUT_OF_SYNC) == 0
        api.refusal = ApiError(403, "Forbidden", "a policy forbids patches")
        api.put(CONFIGURATION, a_configuration(POD_ENTRY, bundle=b"theirs"))
        await keeping.until_said("forbids patches")
        assert keeping.metrics.registry.get_sample_value(OUT_OF_SYNC) == 1
    assert keeping.metrics.registry.get_sample_value(OUT_OF_SYNC) == 0


@pytest.mark.parametrize("mode", [CertificateMode.CERT_MANAGER, CertificateMode.EXISTING_SECRET])
async def test_other_modes_read_the_serving_secret_and_nothing_else(api: Api, mode: CertificateMode) -> None:
    """Where somebody else makes the certificate, the controller watches one Secret and writes nothing."""
    settings = Settings(certificates=CertificateSettings(mode=mode))
    certificates = make_certificates(cast("KubeClient", api), settings, SimulatedClock(NOW), Metrics())
    work = [asyncio.create_task(certificates.follow()), asyncio.create_task(certificates.keep())]
    await settle()
    assert (certificates.serving_secret(), certificates.problems()) == (None, [])
    stored = api.put(SERVING, a_foreign_secret())
    await settle()
    assert certificates.serving_secret() == stored
    assert (api.writes, list(api.watched)) == ([], [SERVING])
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.parametrize("bundle", ["", "not base64", 5, None])
async def test_odd_bundle_is_replaced(api: Api, bundle: Any) -> None:
    """Whatever stands in `caBundle`, it is replaced."""
    api.put(CONFIGURATION, {"webhooks": [{"name": POD_ENTRY, "clientConfig": {"caBundle": bundle}}]})
    async with Keeping(api) as keeping:
        await keeping.until_well()
    assert f"patch {CONFIGURATION}" in api.writes
