"""Pods that come again and again: the sign of a controller that compares images and recreates what differs.

Such a controller deletes each Pod that was rewritten and makes it anew, for ever. The known ones are in the settings;
this finds the others. Nothing is decided by it: there is a counter and a line in the log.
"""

from __future__ import annotations

import logging
from typing import Final

from prometheus_client import Counter

_log = logging.getLogger(__name__)
_WINDOW_SECONDS: Final = 600.0
# A Pod that is deleted and made anew keeps its name, unless the API server makes it up; a loop takes seconds for each.
# A quota that refuses a Pod looks the same, but is tried ever more slowly: some 17 times.
_MOST_OF_A_NAME: Final = 20
_MOST_OF_AN_OWNER: Final = 200  # Where names are made up, scaling up looks the same; a loop makes a Pod a second.
_MOST_KEYS: Final = 4096
_MOST_LINES: Final = 10
_LONGEST_NAME: Final = 253  # In the log; the API server looks at names only after its webhooks.
# They never compare a Pod's images with their template, and scaling up makes thousands of Pods.
_HARMLESS: Final = frozenset({"ReplicaSet.apps", "ReplicationController", "DaemonSet.apps", "Job.batch"})


class Repetition:
    """Counts rewritten Pods that the same owner created too often within ten minutes, in bounded memory.

    A replica sees its share of the reviews only, so with several a loop has to be that much faster to be noticed.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._seen: dict[int, int] = {}
        self._until = 0.0
        self._lines = 0

    def note(self, namespace: str, name: str, owner: str, now: float) -> None:
        """Take note of a Pod that is rewritten; `name` is empty where the API server is still to make one."""
        if not owner or owner in _HARMLESS:
            return
        if now >= self._until:
            self._seen.clear()
            self._until, self._lines = now + _WINDOW_SECONDS, 0
        key = hash((namespace, owner, name))
        times = self._seen.get(key, 0) + 1
        if times == 1 and len(self._seen) >= _MOST_KEYS:
            return
        self._seen[key] = times
        most = _MOST_OF_A_NAME if name else _MOST_OF_AN_OWNER
        if times <= most:
            return
        self._counter.inc()
        if times == most + 1 and self._lines < _MOST_LINES:
            self._lines += 1
            _log.warning(
                "a rewritten Pod is created again and again: unless something refuses it each time, its controller "
                "compares images: name the owner in rewrite.excludedOwners, or its Pods' label in excludedLabels",
                extra={
                    "namespace": namespace[:_LONGEST_NAME],
                    "pod": name[:_LONGEST_NAME],
                    "owner": owner[:_LONGEST_NAME],
                },
            )
