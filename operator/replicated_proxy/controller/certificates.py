"""Who makes the certificate, by the mode: the controller itself, or somebody whose Secret is only read."""

from __future__ import annotations

import asyncio
from typing import Protocol

from replicated_proxy.clock import Clock
from replicated_proxy.controller.certificate_places import SERVING, Places
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.settings import CertificateMode, Settings
from replicated_proxy.telemetry.metrics import Metrics


class Certificates(Protocol):
    """What the rest of the controller has to do with the certificate."""

    async def follow(self) -> None:
        """Watch until cancelled, leading or not."""
        ...

    async def keep(self) -> None:
        """Do what a leader has to do about it, until cancelled."""
        ...

    def serving_secret(self) -> Object | None:
        """Return the Secret that the webhook serves from, as it was seen last."""
        ...

    def problems(self) -> list[str]:
        """Say what is wrong, for `/readyz`."""
        ...


class FollowedCertificate:
    """Somebody else's certificate: read, since replicas are asked for verdicts over TLS, and never written.

    Whether it can be served is for the webhook's replicas to say: pull secrets need none.
    """

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock) -> None:
        self._places = Places(client, settings, clock, (SERVING,))

    async def follow(self) -> None:
        """Watch the serving Secret until cancelled."""
        await self._places.follow()

    async def keep(self) -> None:
        """Do nothing until cancelled."""
        await asyncio.Event().wait()

    def serving_secret(self) -> Object | None:
        """Return the Secret that the webhook serves from, as it was seen last."""
        return self._places.seen.get(SERVING)

    def problems(self) -> list[str]:
        """Say nothing."""
        return []


def make_certificates(client: KubeClient, settings: Settings, clock: Clock, metrics: Metrics) -> Certificates:
    """Make what the mode asks for."""
    if settings.certificates.mode is CertificateMode.SELF_MANAGED:
        return CertificateKeeper(client, settings, clock, metrics)
    return FollowedCertificate(client, settings, clock)
