"""The section `takeover`: how long nobody writes when the leading replica of the controller ends."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import NotFound
from replicated_proxy.kube.resources import LEASES, SECRETS
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.progress import say
from rig.roles import NAMESPACE, LocalInstallation, RoleProcess

_LEASE: Final = "replicated-proxy-controller"
_SECRET: Final = "replicated-proxy-registry"  # noqa: S105 - the name of a Secret.
_HOME: Final = "app"
_LICENSE: Final = {
    "apiVersion": "kots.io/v1beta1",
    "kind": "License",
    "metadata": {"name": "my-app", "namespace": _HOME},
    "spec": {"appSlug": "my-app", "licenseID": "license-id-of-the-benchmark"},
}
_ROUNDS: Final = {"SIGTERM": 10, "SIGKILL": 6}
_PATIENCE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Takeover:
    """Seconds from the signal: until the Lease names the other replica, and until that has repaired a secret."""

    lease: float
    repair: float


def measure_takeover() -> str:
    """Measure with the chart's own settings and report; returns the text."""
    with tempfile.TemporaryDirectory() as folder, ControlPlane() as plane:
        installation = LocalInstallation(plane, provide(["helm"])["helm"])
        installation.install()
        plane.kubectl("create", "namespace", _HOME)
        plane.kubectl("apply", "-f", "-", input=yaml.safe_dump(_LICENSE))
        replicas = [RoleProcess("controller", installation, Path(folder), replica=str(number)) for number in (1, 2)]
        try:
            for replica in replicas:
                replica.start()
            found = asyncio.run(_measure(plane, replicas))
        finally:
            for replica in replicas:
                replica.kill()
    return _write(found)


async def _measure(plane: ControlPlane, replicas: list[RoleProcess]) -> dict[str, list[Takeover]]:
    """Send each signal some times, by turns to the one replica and the other."""
    client = await KubeClient.connect(plane.kubeconfig)
    try:
        found: dict[str, list[Takeover]] = {}
        for word, rounds in _ROUNDS.items():
            for number in range(rounds):
                found.setdefault(word, []).append(await _end_leader(client, replicas, signal.Signals[word]))
                say(f"{word} {number + 1}/{rounds}: {found[word][-1].lease:.2f} s")
        return found
    finally:
        await client.close()


async def _end_leader(client: KubeClient, replicas: list[RoleProcess], how: signal.Signals) -> Takeover:
    """End the leader, delete a secret, and see when the other one leads and repairs."""
    holder = await _until(lambda: _holder(client))
    (leader,) = (replica for replica in replicas if replica.identity == holder)
    before = await _until(lambda: _uid(client))
    await asyncio.to_thread(leader.await_ready)
    begun = time.perf_counter()
    os.kill(leader.pid, how)
    await client.delete(SECRETS, _SECRET, _HOME, before)
    repair = asyncio.create_task(_timed(begun, lambda: _other(_uid(client), before)))
    lease = await _timed(begun, lambda: _other(_holder(client), holder))
    takeover = Takeover(lease, await repair)
    await asyncio.to_thread(leader.stop)
    await asyncio.to_thread(leader.start)
    return takeover


async def _holder(client: KubeClient) -> str:
    """Return who holds the Lease."""
    lease = await client.get(LEASES, _LEASE, NAMESPACE)
    return str(lease["spec"].get("holderIdentity", ""))


async def _uid(client: KubeClient) -> str:
    """Return the UID of the pull secret, or nothing."""
    try:
        return str((await client.get(SECRETS, _SECRET, _HOME))["metadata"]["uid"])
    except NotFound:
        return ""


async def _other(reading: Awaitable[str], before: str) -> str:
    """Return what was read if it is other than before."""
    found = await reading
    return "" if found == before else found


async def _until(read: Callable[[], Awaitable[str]]) -> str:
    """Read until there is something."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not (found := await read()):  # noqa: ASYNC110 - the API server is asked, as often as is exact enough.
            await asyncio.sleep(_LOOK_SECONDS)
    return found


async def _timed(begun: float, read: Callable[[], Awaitable[str]]) -> float:
    """Return the seconds until there was something."""
    await _until(read)
    return time.perf_counter() - begun


def _write(found: dict[str, list[Takeover]]) -> str:
    """Lay the figures out."""
    lines = [
        "Two replicas with the chart's settings (Lease 15 s, renewal 10 s, retry 2 s) on a control plane of its own;",
        "the leader gets the signal, and at that moment a pull secret is deleted. Seconds from the signal.",
        "",
        "| signal | rounds | other replica holds the Lease: median | most | secret repaired: median | most |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for word, takeovers in found.items():
        leases, repairs = ([getattr(each, name) for each in takeovers] for name in ("lease", "repair"))
        lines.append(
            f"| {word} | {len(takeovers)} | {statistics.median(leases):.2f} | {max(leases):.2f} "
            f"| {statistics.median(repairs):.2f} | {max(repairs):.2f} |"
        )
    return "\n".join([*lines, ""])
