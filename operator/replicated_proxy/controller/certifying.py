"""The self-managed certificate: takes the next step until nothing is left to do.

The steps are decided in `certificates.planning`; here they are carried out. `caBundle` is patched as a single field,
since others own the rest of the webhook configuration. A Secret that somebody else made is never written.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any, Final, get_args

from replicated_proxy.certificates.documents import SECRET_TYPE, authority_data, read_authority, serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names
from replicated_proxy.certificates.planning import (
    Observed,
    PublishBundle,
    Step,
    Wanted,
    WriteAuthority,
    WriteServing,
    plan_certificates,
    unsettled_for,
)
from replicated_proxy.certificates.verifying import validity
from replicated_proxy.clock import Clock, wait_for
from replicated_proxy.controller.certificate_places import (
    AUTHORITY,
    CONFIGURATION,
    EVERY_PLACE,
    SERVING,
    Places,
    own_entries,
    published_in,
)
from replicated_proxy.core.objects import mapping_at, read_identity, text_at
from replicated_proxy.core.pull_secrets import MANAGED_BY_LABEL, MANAGER
from replicated_proxy.kube.client import KubeClient, Object, retry_pause
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.pacing import Pace
from replicated_proxy.kube.resources import MUTATING_WEBHOOKS, SECRETS
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
# What is due by the clock is found by looking at it, not by a timer: a machine may sleep, and clocks may be set.
_LOOK_SECONDS: Final = 600.0
_LOOKS: Final = 30  # In a leaf's lifetime, at least.
_FLOOR_SECONDS: Final = 1.0
_PLACES: Final[Mapping[type[Step], str]] = {
    WriteAuthority: AUTHORITY,
    PublishBundle: CONFIGURATION,
    WriteServing: SERVING,
}
_NOT_YET: Final = "not in order yet"


class CertificateKeeper:
    """Keeps authority, `caBundle` and serving certificate in order."""

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._places = Places(client, settings, clock, EVERY_PLACE)
        self._stale = True
        self._written: dict[str, object] = {}
        self._written_at: dict[str, float] = {}
        self._fights = Pace(clock.monotonic)
        self._problem = _NOT_YET
        lifetimes = settings.certificates
        names = service_names(settings.webhook.service_name, settings.namespace) + lifetimes.extra_names
        self._wanted = Wanted(names, lifetimes.ca_lifetime, lifetimes.leaf_lifetime, lifetimes.propagation_delay)

    async def follow(self) -> None:
        """Watch the three places until cancelled."""
        await self._places.follow()

    def serving_secret(self) -> Object | None:
        """Return the Secret that the webhook serves from, as it was seen last."""
        return self._places.seen.get(SERVING)

    def problems(self) -> list[str]:
        """Say why the webhook may have no certificate that the API server trusts, for `/readyz`."""
        if missing := self._places.unread():
            return [f"certificate: not read yet: {', '.join(missing)}"]
        found = [self._configuration_problem() or self._problem]
        if any(self._fights.fights(kind.__name__) for kind in get_args(Step)):
            found.append("what is written is undone again and again; look for a second release of the same names")
        return [f"certificate: {problem}" for problem in found if problem]

    async def keep(self) -> None:
        """Take steps while there are any, then wait for a change or the next look at the clock; until cancelled."""
        self._stale = True
        self._problem = _NOT_YET
        try:
            await self._keep()
        finally:
            self._metrics.bundle_out_of_sync.set(0)  # Whoever leads next has the say.

    async def _keep(self) -> None:
        """Take turns; one that fails is tried again with growing pauses."""
        attempt = 0
        while True:
            try:
                await self._turn()
            except ApiError as error:
                self._complain(f"a step failed and is tried again: {error}")
                self._stale = True
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
            await self._places.read_anew()
            self._stale = False
        self._places.changed.clear()
        step = self._plan()
        if step is None or self._refuse(step):
            await wait_for(self._clock, self._places.changed, self._next_look())
            return
        kind = type(step)
        if pause := self._pause(kind):
            _log.warning("certificate: due again, so with a pause: %s", step.reason, extra={"seconds": pause})
            await self._clock.sleep(pause)
            step = self._plan()
        if step is not None and type(step) is kind and not self._refuse(step):
            undone = self._is_undone(kind)
            answer = await self._take(step)
            self._note(kind, answer, undone=undone)  # What failed has pauses of its own.

    def _next_look(self) -> float:
        """Return the seconds until the clock alone may have made something due."""
        seconds = min(_LOOK_SECONDS, self._wanted.leaf_lifetime.total_seconds() / _LOOKS)
        waiting = unsettled_for(self._observe(), self._wanted)
        return min(seconds, waiting.total_seconds()) if waiting else seconds

    def _pause(self, kind: type[Step]) -> float:
        """Return how long to wait before this kind of step, which was taken before.

        Where what we wrote was changed, somebody may do so each time, and pauses grow. Where it still stands, time has
        made the next one due; a floor is all that is needed then.
        """
        if self._is_undone(kind):
            return self._fights.pause(kind.__name__)
        return max(0.0, self._written_at.get(kind.__name__, -_FLOOR_SECONDS) + _FLOOR_SECONDS - self._clock.monotonic())

    def _is_undone(self, kind: type[Step]) -> bool:
        """Tell whether something else stands where this kind of step writes than what we wrote there."""
        place = _PLACES[kind]
        return self._written.get(place) != _content(place, self._places.seen.get(place))

    def _note(self, kind: type[Step], answer: Object, *, undone: bool) -> None:
        """Remember that a step was taken, and what it wrote: somebody else may have been there since."""
        place = _PLACES[kind]
        self._written[place] = _content(place, answer)
        self._written_at[kind.__name__] = self._clock.monotonic()
        if undone:
            self._fights.note(kind.__name__)

    def _configuration_problem(self) -> str:
        """Say why there is nothing to publish to."""
        configuration, name = self._places.seen[CONFIGURATION], self._settings.webhook.configuration_name
        if configuration is None:
            return f"there is no webhook configuration named {name}; install the chart again"
        if not own_entries(configuration):
            return f"the webhook configuration {name} has no webhooks of ours; install the chart again"
        return ""

    def _refuse(self, step: Step) -> bool:
        """Refuse to write over a Secret that somebody else made, or that cannot be changed.

        Nobody knows what else a foreign one is for; and deleting is not among the controller's permissions here.
        """
        seen = None if isinstance(step, PublishBundle) else self._places.seen[_PLACES[type(step)]]
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

    def _observe(self) -> Observed:
        """Put together what stands in the places."""
        seen = self._places.seen
        return Observed(
            ca_secret=seen.get(AUTHORITY),
            serving_secret=seen.get(SERVING),
            published=published_in(seen.get(CONFIGURATION)),
            published_for=self._places.published_for(),
        )

    def _plan(self) -> Step | None:
        """Decide the next step; none before all three places have been read, or with nowhere to publish."""
        if self._places.unread():
            return None
        if self._configuration_problem():
            self._problem = _NOT_YET
            self._metrics.bundle_out_of_sync.set(1)
            return None
        step = plan_certificates(self._observe(), self._wanted, self._clock.now())
        self._metrics.bundle_out_of_sync.set(isinstance(step, PublishBundle))
        if step is None:
            self._problem = ""
            self._measure(self._places.seen[AUTHORITY])
        return step

    def _measure(self, authority: Object | None) -> None:
        """Export how long an authority that is in order is valid; of the serving certificate the webhook tells."""
        if authority is not None:
            self._metrics.note_certificate("ca", *validity(read_authority(authority).certificate_pem))

    async def _take(self, step: Step) -> Object:
        """Carry out one step; returns what was written."""
        _log.info("certificate: %s", step.reason)
        now, wanted, names = self._clock.now(), self._wanted, self._settings.certificates
        match step:
            case WriteAuthority(predecessors=predecessors):
                data = authority_data(make_authority(now, wanted.ca_lifetime), predecessors)
                return await self._write_secret(AUTHORITY, names.ca_secret, data)
            case PublishBundle(bundle=bundle):
                return await self._publish(bundle)
            case WriteServing(authority=authority, bundle=bundle):
                leaf = make_leaf(authority, wanted.names, now, wanted.leaf_lifetime)
                return await self._write_secret(SERVING, names.serving_secret, serving_data(leaf, bundle))

    async def _write_secret(self, place: str, name: str, data: Mapping[str, str]) -> Object:
        """Replace what stands in a Secret of ours, or make it; only the state that was looked at is replaced."""
        namespace = self._settings.namespace
        labels = {MANAGED_BY_LABEL: MANAGER}
        metadata: Object = {"name": name, "namespace": namespace, "labels": labels}
        body: Object = {"metadata": metadata, "type": SECRET_TYPE, "data": dict(data)}
        seen = self._places.seen[place]
        if seen is None:
            return await self._places.take_answer(place, self._client.create(SECRETS, body, namespace))
        metadata["resourceVersion"] = text_at(seen, "metadata", "resourceVersion")
        return await self._places.take_answer(place, self._client.replace(SECRETS, body))

    async def _publish(self, bundle: bytes) -> Object:
        """Patch `caBundle` of every entry of ours, and take the answer as the reading back."""
        text = base64.b64encode(bundle).decode()
        operations: list[dict[str, Any]] = []
        for index, name in own_entries(self._places.seen[CONFIGURATION]):
            # The test keeps the patch to the entry that was looked at, should somebody re-order them meanwhile.
            pointer = f"/webhooks/{index}"
            operations += [
                {"op": "test", "path": f"{pointer}/name", "value": name},
                {"op": "add", "path": f"{pointer}/clientConfig/caBundle", "value": text},
            ]
        path = MUTATING_WEBHOOKS.path(self._settings.webhook.configuration_name)
        return await self._places.take_answer(CONFIGURATION, self._client.patch(path, operations))


def _content(place: str, body: Object | None) -> object:
    """Return what we answer for in a place."""
    return published_in(body) if place == CONFIGURATION else mapping_at(body, "data")
