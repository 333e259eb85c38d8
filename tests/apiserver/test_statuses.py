"""The reporter on a real API server, with what only that can refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import SECRET_NAME, Json, a_license_body
from replicated_proxy.controller.reporting import Findings, Reporter
from replicated_proxy.controller.world import World
from replicated_proxy.core.coverage import CoverageSettings, plan_table
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.pacing import Pace
from replicated_proxy.kube.resources import LICENSES
from rig.controlplane import ControlPlane
from rig.roles import CHART, KINDS
from simulated_clock import StandingClock

pytestmark = pytest.mark.apiserver

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LONG = "x" * 40_000
DATES: dict[str, tuple[Json, str, str | None]] = {
    "long value": ({"value": LONG, "valueType": "String"}, "InvalidExpiry", None),
    "long type": ({"value": "2030-01-01T00:00:00Z", "valueType": LONG}, "InvalidExpiry", None),
    "year one": ({"value": "0001-01-01T00:00:00Z", "valueType": "String"}, "Usable", "0001-01-01T00:00:00Z"),
    "last year": ({"value": "9999-12-31T23:59:59Z", "valueType": "String"}, "Usable", "9999-12-31T23:59:59Z"),
}


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The API server with the definitions."""
    control_plane.kubectl("apply", "--filename", str(CHART / "files" / "crds"))
    control_plane.await_kinds(*KINDS)
    return control_plane


@pytest.fixture
def namespace(plane: ControlPlane, make_namespace: Callable[..., str]) -> str:
    """A namespace of the test's own, on the API server with the definitions."""
    del plane
    return make_namespace("statuses")


async def create(client: KubeClient, namespace: str, **spec: Any) -> Json:
    """Create a License."""
    return await client.create(
        LICENSES, a_license_body(metadata={"namespace": namespace, "uid": ""}, **spec), namespace
    )


async def report(client: KubeClient, *known: Json) -> None:
    """Report on Licenses as the cache knows them."""
    world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset())
    for body in known:
        world.licenses.apply("ADDED", body)
    settings = CoverageSettings(SECRET_NAME, frozenset())
    plan = plan_table(world.sources(), (), settings, RoutingTable(SECRET_NAME))
    reporter = Reporter(client, world, lambda: NOW, settings.validity, Pace(StandingClock()))
    await reporter.report(Findings(plan, world.declared(), {}, ""))


@pytest.mark.parametrize(("expiry", "reason", "ends"), DATES.values(), ids=DATES.keys())
async def test_hostile_license_gets_its_status(
    client: KubeClient, namespace: str, expiry: Json, reason: str, ends: str | None
) -> None:
    """Whatever stands where a date belongs, the API server takes the status, and the Event with it."""
    made = await create(client, namespace, entitlements={"expires_at": expiry})
    await report(client, made)
    found = (await client.get(LICENSES, "my-app", namespace))["status"]

    assert (reason, ends) == (found["conditions"][0]["reason"], found.get("expiresAt"))


async def test_namesake_does_not_get_the_status_of_a_license_that_is_gone(client: KubeClient, namespace: str) -> None:
    """A License that was deleted and made anew is another one: its status comes when its own event has."""
    gone = await create(client, namespace, appSlug="gone")
    await client.delete(LICENSES, "my-app", namespace, gone["metadata"]["uid"])
    made = await create(client, namespace)
    await report(client, gone)

    assert "status" not in await client.get(LICENSES, "my-app", namespace)

    await report(client, made)
    assert (await client.get(LICENSES, "my-app", namespace))["status"]["observedGeneration"] == 1


async def test_expiry_that_is_taken_out_leaves_the_status(client: KubeClient, namespace: str) -> None:
    """A field that should be absent is taken out."""
    made = await create(client, namespace, entitlements={"expires_at": DATES["last year"][0]})
    await report(client, made)
    path = LICENSES.path("my-app", namespace)
    await report(client, await client.merge(path, {"spec": {"entitlements": None}}))

    assert "expiresAt" not in (await client.get(LICENSES, "my-app", namespace))["status"]
