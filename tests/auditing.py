"""What a replica asked the API server for, by the audit log: replicas share an account and differ in the User-Agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operating import Cluster

Json = dict[str, Any]
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def lines_of(path: Path) -> list[str]:
    """Read a log that somebody is writing: its last line counts once it has ended."""
    written, _, _ = path.read_bytes().rpartition(b"\n")
    return written.decode().splitlines()


def requests_of(cluster: Cluster, identity: str) -> Iterator[Json]:
    """Yield a replica's requests so far, in the order of their answers."""
    for line in lines_of(cluster.plane.audit_log):
        if f"({identity})" in line:
            event: Json = json.loads(line)
            if event["userAgent"].endswith(f"({identity})"):
                yield event


def writes_of(cluster: Cluster, identity: str) -> list[Json]:
    """Return a replica's writes so far, attempts at the Lease left out."""
    return [
        event
        for event in requests_of(cluster, identity)
        if event["verb"] in WRITES and event["objectRef"]["resource"] != "leases"
    ]


def moment_of(event: Json) -> datetime:
    """Return when the API server received a request."""
    return read_moment(event["requestReceivedTimestamp"])


def read_moment(text: str) -> datetime:
    """Read a moment as Kubernetes writes it with microseconds."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def shown(events: list[Json]) -> list[str]:
    """Write requests in a form that a failing assertion can show."""
    return [f"{event['requestReceivedTimestamp']} {event['verb']} {event['requestURI']}" for event in events]


def audited(cluster: Cluster, verb: str, namespace: str, pod: str, subresource: str = "") -> list[Json]:
    """Return the requests for one Pod so far that were answered."""
    found = []
    for line in lines_of(cluster.plane.audit_log):
        if f'"verb":"{verb}"' in line and f'"name":"{pod}"' in line:
            event: Json = json.loads(line)
            asked = event["objectRef"]
            if asked["namespace"] == namespace and asked.get("subresource", "") == subresource:
                found.append(event)
    return found
