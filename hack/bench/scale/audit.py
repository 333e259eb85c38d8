"""Counting requests in the API server's audit log, which says for each of them whose it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.scale.figures import Requests

_STAGES = {"watch": "ResponseStarted"}


def policy(user: str) -> dict[str, Any]:
    """Log one user's requests and nobody else's: the log must not weigh on what is measured."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
    }


def flags(policy_file: Path, log: Path) -> tuple[str, ...]:
    """Return the API server's flags; what was answered is in the log."""
    return (f"--audit-policy-file={policy_file}", f"--audit-log-path={log}", "--audit-log-mode=blocking")


def count_requests(lines: Iterable[str]) -> Requests:
    """Count requests by verb and resource; a watch counts when it begins, everything else when it ends."""
    counts: Counter[str] = Counter()
    for line in lines:
        event = json.loads(line)
        if event["stage"] == _STAGES.get(event["verb"], "ResponseComplete"):
            about = event.get("objectRef", {})
            resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
            counts[f"{event['verb']} {resource or event['requestURI'].partition('?')[0]}"] += 1
    return dict(counts)


class Window:
    """What is added to the log from now on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0

    def requests(self) -> Requests:
        """Count what has been added; a line that is still being written is left out."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            text = log.read().decode()
        return count_requests(text[: text.rfind("\n") + 1].splitlines())
