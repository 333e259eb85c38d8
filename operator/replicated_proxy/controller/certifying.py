"""The webhook's certificate: watches its three places and takes the next step until nothing is left to do.

The steps are decided in `certificates.planning`; here they are carried out. `caBundle` is patched as a single field,
since others own the rest of the webhook configuration.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from replicated_proxy.certificates.documents import authority_data, read_authority, serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names
from replicated_proxy.certificates.planning import (
    Observed,
    PublishBundle,
    Step,
    WriteAuthority,
    WriteServing,
    plan_certificates,
)
from replicated_proxy.core.objects import list_at, text_at
from replicated_proxy.core.pull_secrets import MANAGED_BY_LABEL, MANAGER
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_TLS_SECRET = "kubernetes.io/tls"  # noqa: S105 - a type of Secret.
_CHECK_SECONDS = 3600.0  # A renewal is due by the clock alone; days of room make an hour's delay harmless.


class CertificateKeeper:
    """Keeps authority, `caBundle` and serving certificate in order.

    Attributes:
        configured: the webhook configuration exists.
    """

    def __init__(self, client: KubeClient, settings: Settings, now: Callable[[], datetime], metrics: Metrics) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._seen: dict[str, Object | None] = {}
        self._changed = asyncio.Event()
        self.configured = False

    async def run(self) -> None:
        """Watch and act until cancelled."""
        names = self._settings.certificates
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("authority", names.ca_secret))
            group.create_task(self._follow("serving", names.serving_secret))
            group.create_task(self._follow_configuration())
            group.create_task(self._keep())

    async def _follow(self, place: str, name: str) -> None:
        """Watch one Secret of our own namespace."""
        async for body in follow_object(self._client, SECRETS, name, self._settings.namespace):
            self._note(place, body)

    async def _follow_configuration(self) -> None:
        """Watch the webhook configuration."""
        name = self._settings.webhook.configuration_name
        async for body in follow_object(self._client, MUTATING_WEBHOOKS, name):
            self.configured = body is not None
            self._note("configuration", body)

    def _note(self, place: str, body: Object | None) -> None:
        """Remember what stands in a place."""
        self._seen[place] = body
        self._changed.set()

    async def _keep(self) -> None:
        """Take steps while there are any, then wait for a change or the next look at the clock."""
        attempt = 0
        while True:
            try:
                step = self._plan()
                if step is None:
                    await self._wait()
                    continue
                await self._take(step)
                attempt = 0
            except ApiError as error:
                _log.warning("certificate step failed, trying again: %s", error)
                await retry_pause(attempt)
                attempt += 1

    async def _wait(self) -> None:
        """Wait for a change in one of the places, or for the time of a look at the clock."""
        self._changed.clear()
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return

    def _plan(self) -> Step | None:
        """Decide the next step; none before all three places have been read, or without a configuration."""
        if not {"authority", "serving", "configuration"} <= self._seen.keys() or not self.configured:
            return None
        observed = Observed(self._seen["authority"], self._seen["serving"], _published(self._seen["configuration"]))
        step = plan_certificates(observed, self._names(), self._now())
        if step is None:
            self._measure(self._seen["authority"])
        return step

    def _measure(self, authority: Object | None) -> None:
        """Export when an authority that is in order ends; the serving certificate's end is the webhook's to tell."""
        if authority is not None:
            end = read_authority(authority).certificate.not_valid_after_utc
            self._metrics.certificate_expiry.labels("ca").set(end.timestamp())

    def _names(self) -> tuple[str, ...]:
        """Return the DNS names of the webhook's Service, and those the administrator adds."""
        names = service_names(self._settings.webhook.service_name, self._settings.namespace)
        return names + self._settings.certificates.extra_names

    async def _take(self, step: Step) -> None:
        """Carry out one step."""
        _log.info("certificate: %s", step.reason)
        lifetimes = self._settings.certificates
        match step:
            case WriteAuthority():
                data = authority_data(make_authority(self._now(), lifetimes.ca_days))
                await self._write_secret("authority", lifetimes.ca_secret, data)
            case PublishBundle(bundle=bundle):
                await self._publish(bundle)
            case WriteServing(authority=authority, bundle=bundle):
                leaf = make_leaf(authority, self._names(), self._now(), lifetimes.leaf_days)
                await self._write_secret("serving", lifetimes.serving_secret, serving_data(leaf, bundle))

    async def _write_secret(self, place: str, name: str, data: Any) -> None:
        """Replace what stands in a Secret of ours, or make it; only the state that was looked at is replaced."""
        body: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self._settings.namespace,
                "labels": {MANAGED_BY_LABEL: MANAGER},
            },
            "type": _TLS_SECRET,
            "data": dict(data),
        }
        seen = self._seen[place]
        if seen is None:
            self._note(place, await self._client.create(SECRETS, body, self._settings.namespace))
        else:
            body["metadata"]["resourceVersion"] = text_at(seen, "metadata", "resourceVersion")
            self._note(place, await self._client.replace(SECRETS, body))

    async def _publish(self, bundle: bytes) -> None:
        """Patch `caBundle` of every entry of our configuration, and take the answer as the reading back."""
        seen = self._seen["configuration"]
        name = self._settings.webhook.configuration_name
        text = base64.b64encode(bundle).decode()
        operations: list[dict[str, Any]] = []
        for index, entry in enumerate(list_at(seen, "webhooks")):
            # The test keeps the patch to the entry that was looked at, should somebody re-order them meanwhile.
            pointer = f"/webhooks/{index}"
            operations += [
                {"op": "test", "path": f"{pointer}/name", "value": text_at(entry, "name")},
                {"op": "add", "path": f"{pointer}/clientConfig/caBundle", "value": text},
            ]
        try:
            self._note("configuration", await self._client.patch(MUTATING_WEBHOOKS.path(name), operations))
        except NotFound:
            self.configured = False


def _published(configuration: Object | None) -> bytes | None:
    """Return the bundle that every entry of the configuration has, or None."""
    bundles = {text_at(entry, "clientConfig", "caBundle") for entry in list_at(configuration, "webhooks")}
    text = bundles.pop() if len(bundles) == 1 else ""
    return base64.b64decode(text) if text else None
