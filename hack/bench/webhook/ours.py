"""The product's webhook as the bench runs it: the whole role, with objects given by hand in place of an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from bench.certificate import NAMESPACE, SERVICE, read_secret
from bench.review import NAMESPACE as POD_NAMESPACE
from bench.review import PODS, REPOSITORIES
from bench.webhook.rules import routing_table
from replicated_proxy.core.images import ImageReference, parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.core.rewriting import Mode
from replicated_proxy.core.routing_documents import DATA_KEY, encode_table
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.kube.client import KubeClient, Listing, Object
from replicated_proxy.kube.resources import CONFIG_MAPS, SECRETS, Resource
from replicated_proxy.settings import Settings, WebhookSettings
from replicated_proxy.settings.model import RewriteSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.role import WebhookRole

_INCLUDE = ("quay.io/my-org", "docker.io/acme")
_ROOM = 512 * 1024


class _Objects:
    """What the role's client sees: its two objects, which never change."""

    def __init__(self, objects: dict[Resource, Object]) -> None:
        self._objects = objects

    async def list_all(self, resource: Resource, *_: object) -> Listing:
        """Return the one object."""
        return Listing((self._objects[resource],), "1")

    async def watch(self, *_: object, **__: object) -> AsyncIterator[tuple[str, Object]]:
        """Wait for a change that never comes."""
        await asyncio.Event().wait()
        yield "BOOKMARK", {}


class _PrivateRegistries:
    """Registries that want a password; asked only for what has been known for too long."""

    async def probe(self, _reference: ImageReference) -> ProbeResult:
        """Say so."""
        return ProbeResult(ProbeOutcome.PRIVATE)

    async def close(self) -> None:
        """Hold nothing."""


async def serve(folder: Path, mode: str) -> int:
    """Start the role in a mode, with every image's verdict known; returns the port."""
    webhook = WebhookSettings(port=0, health_port=0, bind="127.0.0.1", service_name=SERVICE)
    rewrite = RewriteSettings(mode=Mode(mode), include=_INCLUDE)
    settings = Settings(webhook=webhook, rewrite=rewrite, namespace=NAMESPACE)
    objects = {CONFIG_MAPS: _config_map(), SECRETS: read_secret(folder)}
    role = WebhookRole(settings, cast("KubeClient", _Objects(objects)), Metrics(), _PrivateRegistries())
    running = asyncio.ensure_future(role.run(asyncio.Event()))
    serving = asyncio.ensure_future(role.serving.wait())
    await asyncio.wait({running, serving}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    _kept.add(running)
    return role.server.port


_kept: set[asyncio.Future[None]] = set()
"""The loop itself keeps no hold of what runs on it."""


def _config_map() -> Object:
    """Return the ConfigMap that the controller writes: the rules, and that every image is private."""
    now = datetime.now(UTC)
    words = [make(number) for make in PODS.values() for number in range(REPOSITORIES)]
    repositories = dict.fromkeys(parse_image(image).repository for each in words for image in each.images)
    verdicts = [RepositoryVerdict(name, Visibility.PRIVATE, now, POD_NAMESPACE) for name in repositories]
    data = {DATA_KEY: encode_table(routing_table()), VERDICTS_KEY: encode_verdicts(verdicts, _ROOM)}
    return {"metadata": {"name": "routes", "resourceVersion": "1"}, "data": data}
