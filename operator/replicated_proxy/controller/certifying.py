"""The webhook's certificate: watches its three places and takes the next step until nothing is left to do.

The steps are decided in `certificates.planning`; here they are carried out. `caBundle` is patched as a single field,
since others own the rest of the webhook configuration. A Secret that somebody else made is never written.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import datetime
from typing import Any, Final, get_args

from replicated_proxy.certificates.documents import SECRET_TYPE, authority_data, read_authority, serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names
from replicated_proxy.certificates.planning import (
    Observed,
    PublishBundle,
    Step,
    WriteAuthority,
    WriteServing,
    plan_certificates,
)
from replicated_proxy.clock import Clock, wait_for
from replicated_proxy.core.objects import list_at, mapping_at, read_identity, text_at
from replicated_proxy.core.pull_secrets import MANAGED_BY_LABEL, MANAGER
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError, NotFound
from replicated_proxy.kube.pacing import Pace
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from replicated_proxy.kube.watching import follow_object
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 600.0  # A renewal is due by the clock alone, with far more room than some minutes.
_PLACES: Final = ("authority", "serving", "configuration")
_NOT_YET: Final = "not in order yet"


class CertificateKeeper:
    """Keeps authority, `caBundle` and serving certificate in order."""

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._seen: dict[str, Object | None] = {}
        self._published_since: datetime | None = None
        self._stale = True
        self._changed = asyncio.Event()
        self._pace = Pace(clock.monotonic)
        self._problem = _NOT_YET

    async def follow(self) -> None:
        """Watch the three places until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in _PLACES:
                group.create_task(self._follow(place))

    def serving_secret(self) -> Object | None:
        """Return the Secret that the webhook serves from, as it was seen last."""
        return self._seen.get("serving")

    def problems(self) -> list[str]:
        """Say why the webhook may have no certificate that the API server trusts, for `/readyz`."""
        missing = [place for place in _PLACES if place not in self._seen]
        if missing:
            return [f"certificate: not read yet: {', '.join(missing)}"]
        found = [self._configuration_problem() or self._problem]
        if any(self._pace.fights(kind.__name__) for kind in get_args(Step)):
            found.append("what is written is undone again and again; look for a second release of the same names")
        return [f"certificate: {problem}" for problem in found if problem]

    def _configuration_problem(self) -> str:
        """Say why there is nothing to publish to."""
        configuration, name = self._seen["configuration"], self._settings.webhook.configuration_name
        if configuration is None:
            return f"there is no webhook configuration named {name}; install the chart again"
        if not list_at(configuration, "webhooks"):
            return f"the webhook configuration {name} has no webhooks; install the chart again"
        return ""

    async def _follow(self, place: str) -> None:
        """Watch one place."""
        resource, name, namespace = self._where(place)
        async for body in follow_object(self._client, resource, name, namespace):
            if not self._is_outdated(place, body):
                self._note(place, body)

    def _is_outdated(self, place: str, body: Object | None) -> bool:
        """Tell whether an event is late: that object was read, or written by ourselves, in a newer state."""
        known = self._seen.get(place)
        if body is None or known is None or read_identity(body).uid != read_identity(known).uid:
            return False
        return _version(body) < _version(known)

    def _where(self, place: str) -> tuple[Resource, str, str]:
        """Return kind, name and namespace of a place."""
        if place == "configuration":
            return MUTATING_WEBHOOKS, self._settings.webhook.configuration_name, ""
        names = self._settings.certificates
        name = names.ca_secret if place == "authority" else names.serving_secret
        return SECRETS, name, self._settings.namespace

    async def _read_anew(self) -> None:
        """Read the three places as they are now: a watch may lag behind what another replica did."""
        for place in _PLACES:
            try:
                body = await self._client.get(*self._where(place))
            except NotFound:
                body = None
            self._note(place, body)
        self._stale = False

    def _note(self, place: str, body: Object | None) -> None:
        """Remember what stands in a place, and since when a bundle is published."""
        before = _published(self._seen.get(place)) if place == "configuration" else None
        self._seen[place] = body
        if place == "configuration" and _published(body) != before:
            self._published_since = self._clock.now()
        self._changed.set()

    async def keep(self) -> None:
        """Take steps while there are any, then wait for a change or the next look at the clock; until cancelled."""
        self._stale = True
        self._problem = _NOT_YET
        attempt = 0
        while True:
            try:
                await self._turn()
            except ApiError as error:
                self._complain(f"a step failed and is tried again: {error}")
                await retry_pause(attempt, error)
            except Exception as error:  # noqa: BLE001 - pull secrets and routing table go on, whatever is wrong here.
                _log.exception("certificate step failed, trying again")
                self._problem = f"a step failed and is tried again: {type(error).__name__}"
                await retry_pause(attempt)
            else:
                attempt = 0
                continue
            attempt += 1

    async def _turn(self) -> None:
        """Take the next step, or wait where there is none; the same kind again and again only with pauses."""
        if self._stale:
            await self._read_anew()
        self._changed.clear()
        step = self._plan()
        if step is None or self._refuse(step):
            await wait_for(self._clock, self._changed, _CHECK_SECONDS)
            return
        kind = type(step).__name__
        if pause := self._pace.pause(kind):
            _log.warning("certificate: due again, so with a pause: %s", step.reason, extra={"seconds": pause})
            await self._clock.sleep(pause)
            step = self._plan()
        if step is not None and type(step).__name__ == kind and not self._refuse(step):
            await self._take(step)
            self._pace.note(kind)  # What failed has pauses of its own.

    def _refuse(self, step: Step) -> bool:
        """Refuse to write over a Secret that somebody else made, or that cannot be changed.

        Nobody knows what else a foreign one is for; and deleting is not among the controller's permissions here.
        """
        place = "authority" if isinstance(step, WriteAuthority) else "serving"
        seen = None if isinstance(step, PublishBundle) else self._seen[place]
        if seen is None:
            return False
        if mapping_at(seen, "metadata", "labels").get(MANAGED_BY_LABEL) != MANAGER:
            self._complain(
                f"Secret {read_identity(seen).key} holds no usable certificate and is not the operator's own (no label "
                f"{MANAGED_BY_LABEL}={MANAGER}): delete it, or choose another name in settings.certificates"
            )
            return True
        if seen.get("type") != SECRET_TYPE or seen.get("immutable"):
            self._complain(
                f"Secret {read_identity(seen).key} has another type than {SECRET_TYPE} or is immutable, and neither "
                "can be changed: delete it, and a new one is made"
            )
            return True
        return False

    def _complain(self, problem: str) -> None:
        """Keep what is wrong for the probe, and log it once."""
        if problem != self._problem:
            _log.warning("certificate: %s", problem)
        self._problem = problem

    def _plan(self) -> Step | None:
        """Decide the next step; none before all three places have been read, or with nowhere to publish."""
        if not self._seen.keys() >= set(_PLACES):
            return None
        if self._configuration_problem():
            self._problem = _NOT_YET
            return None
        observed = Observed(
            ca_secret=self._seen["authority"],
            serving_secret=self._seen["serving"],
            published=_published(self._seen["configuration"]),
            published_since=self._published_since,
        )
        step = plan_certificates(observed, self._names(), self._clock.now())
        if step is None:
            self._problem = ""
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
            case WriteAuthority(predecessors=predecessors):
                data = authority_data(make_authority(self._clock.now(), lifetimes.ca_days), predecessors)
                await self._write_secret("authority", lifetimes.ca_secret, data)
            case PublishBundle(bundle=bundle):
                await self._publish(bundle)
            case WriteServing(authority=authority, bundle=bundle):
                leaf = make_leaf(authority, self._names(), self._clock.now(), lifetimes.leaf_days)
                await self._write_secret("serving", lifetimes.serving_secret, serving_data(leaf, bundle))

    async def _write_secret(self, place: str, name: str, data: Any) -> None:
        """Replace what stands in a Secret of ours, or make it; only the state that was looked at is replaced."""
        namespace = self._settings.namespace
        labels = {MANAGED_BY_LABEL: MANAGER}
        metadata: Object = {"name": name, "namespace": namespace, "labels": labels}
        body: Object = {"metadata": metadata, "type": SECRET_TYPE, "data": dict(data)}
        seen = self._seen[place]
        if seen is None:
            self._note(place, await self._client.create(SECRETS, body, namespace))
        else:
            metadata["resourceVersion"] = text_at(seen, "metadata", "resourceVersion")
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
        self._note("configuration", await self._client.patch(MUTATING_WEBHOOKS.path(name), operations))


def _published(configuration: Object | None) -> bytes | None:
    """Return the bundle that every entry of the configuration has, or None."""
    bundles = {text_at(entry, "clientConfig", "caBundle") for entry in list_at(configuration, "webhooks")}
    text = bundles.pop() if len(bundles) == 1 else ""
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


def _version(body: Object) -> int:
    """Read an object's resourceVersion, ordered within one kind (KEP-5504); one that is none counts as the oldest."""
    text = text_at(body, "metadata", "resourceVersion")
    return int(text) if text.isdecimal() else 0
