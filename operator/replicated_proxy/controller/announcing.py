"""Events and log lines on transitions: what `kubectl describe` shows beside the status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from replicated_proxy.core.conditions import Condition
from replicated_proxy.core.objects import Body, ObjectIdentity, format_timestamp, text_at
from replicated_proxy.core.pull_secrets import MANAGER
from replicated_proxy.kube.client import KubeClient, retry_pause
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.resources import CORE_EVENTS

_log = logging.getLogger(__name__)
_TRIES: Final = 4
_LONGEST_PREFIX: Final = 50  # An Event's name is that of its object and a few random characters.


def refer_to(body: Body, identity: ObjectIdentity) -> dict[str, Any]:
    """Write the reference to an object of ours as Events carry it."""
    return {
        "apiVersion": text_at(body, "apiVersion"),
        "kind": text_at(body, "kind"),
        "name": identity.name,
        "namespace": identity.namespace,
        "uid": identity.uid,
    }


def refer_to_secret(identity: ObjectIdentity) -> dict[str, Any]:
    """Write the reference to the Secret that holds a license; the license's UID is the Secret's and the data key."""
    reference = {"apiVersion": "v1", "kind": "Secret", "name": identity.name, "namespace": identity.namespace}
    uid = identity.uid.partition("/")[0]
    return reference | ({"uid": uid} if uid else {})


class Announcer:
    """Posts Events and logs what they say."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def announce(self, subject: dict[str, Any], condition: Condition) -> None:
        """Tell one transition; one that was not taken for a passing reason is told again, a few times.

        More would be too much: statuses wait for it, and the status says the same.
        """
        where = f"{subject['kind']} {subject['namespace']}/{subject['name']}"
        level = logging.WARNING if condition.alarming else logging.INFO
        _log.log(level, "%s: %s=%s %s", where, condition.type, condition.status, condition.reason)
        moment = format_timestamp(self._now())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                # Cut behind a dot it would be no name with the hyphen that follows.
                "generateName": f"{subject['name'][:_LONGEST_PREFIX].rstrip('.')}-",
                "namespace": subject["namespace"],
            },
            "involvedObject": subject,
            "type": "Warning" if condition.alarming else "Normal",
            "reason": condition.reason,
            "message": condition.shown,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        await self._post(event, subject["namespace"])

    async def _post(self, event: dict[str, Any], namespace: str) -> None:
        """Post an Event."""
        for attempt in range(_TRIES):
            try:
                await self._client.create(CORE_EVENTS, event, namespace)
            except ApiError as error:
                _log.info("event not posted: %s", error)
                if not error.passing or attempt == _TRIES - 1:
                    return
                await retry_pause(attempt, error)
            else:
                return
