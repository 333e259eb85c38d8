"""Pods that are created without pause while something happens to the operator, and what became of each.

None of them ever runs: a scheduling gate holds them, so that admission alone is at work.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from rig.waiting import wait_until

# Many with long pauses rather than few with short ones: a call that hangs holds up one of them.
_CREATORS: Final = 12
_PAUSE_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = (
    60  # Longer than the API server gives a request, so that it is always the one to say something.
)
_GATE: Final = "tests.kots.io/never"
Json = dict[str, Any]


class Outcome(StrEnum):
    """What became of a Pod."""

    REWRITTEN = "rewritten"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    """The API server answered with an error."""
    UNREACHABLE = "unreachable"
    """There was no answer at all."""


@dataclass(frozen=True, slots=True)
class Creation:
    """One request for a Pod.

    Attributes:
        began: when it was sent, on the monotonic clock.
        ended: when the answer was there.
        words: what the API server said instead of creating it.
    """

    outcome: Outcome
    began: float
    ended: float
    words: str = ""


class PodStream:
    """Creates Pods from the moment it is entered until it is left; they go with their namespace."""

    def __init__(self, kubeconfig: Path, namespace: str, image: str, expected: str) -> None:
        """Take the image of each Pod, and what it is expected to be rewritten to."""
        config = json.loads(kubeconfig.read_text())
        self._server = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._context = _client_context(config)
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._images = (image, expected)
        self._creations: list[Creation] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._create_all, daemon=True) for _ in range(_CREATORS)]

    def __enter__(self) -> Self:
        """Begin, and wait until every creator has had its first answer."""
        for thread in self._threads:
            thread.start()
        self.await_more(_CREATORS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def outcomes(self, since: float = 0.0) -> Counter[Outcome]:
        """Count what became of those that were sent since a moment."""
        return Counter(creation.outcome for creation in self.creations(since))

    def creations(self, since: float = 0.0, *outcomes: Outcome) -> list[Creation]:
        """Return those that were sent since a moment; only those with one of these outcomes, if there are any named."""
        return [
            each for each in list(self._creations) if each.began >= since and (not outcomes or each.outcome in outcomes)
        ]

    def await_more(self, count: int = 4 * _CREATORS, *outcomes: Outcome) -> float:
        """Wait until so many that are sent from now on are answered (in one of these ways); returns what now was."""
        now = time.monotonic()
        what = f"{count} more Pods that are {' or '.join(outcomes) or 'answered'}"
        wait_until(lambda: len(self.creations(now, *outcomes)) >= count, what=what, seconds=120)
        return now

    def _create_all(self) -> None:
        """Create one Pod after the other."""
        connection = self._connect()
        while not self._ending.is_set():
            self._creations.append(self._create(connection))
            self._ending.wait(_PAUSE_SECONDS)
        connection.close()

    def _create(self, connection: http.client.HTTPSConnection) -> Creation:
        """Create a Pod."""
        began = time.monotonic()
        try:
            status, answer = self._post(connection, a_held_pod(self._images[0]))
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # The next request opens it again.
            return Creation(Outcome.UNREACHABLE, began, time.monotonic(), type(error).__name__)
        if status != http.HTTPStatus.CREATED:
            return Creation(Outcome.REFUSED, began, time.monotonic(), str(answer.get("message", status)))
        rewritten = answer["spec"]["containers"][0]["image"] == self._images[1]
        outcome = Outcome.REWRITTEN if rewritten else Outcome.UNCHANGED
        return Creation(outcome, began, time.monotonic())

    def _post(self, connection: http.client.HTTPSConnection, pod: Json) -> tuple[int, Json]:
        """Send a request for a Pod."""
        connection.request("POST", self._path, json.dumps(pod), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        found: Json = json.loads(text) if answer.headers.get_content_type() == "application/json" else {}
        return answer.status, found

    def _connect(self) -> http.client.HTTPSConnection:
        """Make a connection that opens with its first request."""
        host, port = self._server.hostname or "", self._server.port
        return http.client.HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=self._context)


def a_held_pod(image: str) -> Json:
    """Write a Pod that no node ever gets."""
    spec = {"schedulingGates": [{"name": _GATE}], "containers": [{"name": "main", "image": image}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "stream-"}, "spec": spec}


def describe(creations: Iterable[Creation]) -> list[str]:
    """Write down, for a failing test, what happened to Pods and how often."""
    counted = Counter(f"{each.outcome}: {each.words}" for each in creations)
    return [f"{count} times {words}" for words, count in counted.most_common()]


def _client_context(config: Json) -> ssl.SSLContext:
    """Read a kubeconfig's certificates; the standard library takes a client's from files only."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "client.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        context.load_cert_chain(pair)
    return context
