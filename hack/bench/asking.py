"""What the load generators send, made beforehand, and how they read what comes back.

Written on bare transports, because an HTTP client would be slower than the servers that it measures.
"""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from bench.review import PODS, UID, bare_pod, review_body

PATH = "/mutate"
SHED = "shed"
"""What is called so: 503 with Retry-After."""
DISTINCT_PODS = 2500
"""More than any memory of answers holds, so that none of them helps."""
_DIFFERENT = {"replicas": 50, "distinct": DISTINCT_PODS}
_END_OF_HEAD = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and what.

    Attributes:
        ports: of the servers on loopback; connections are spread over them.
        host: name in their certificates.
        ca_file: who signed those.
        namespace: of the Pods.
        pods: `replicas` of one Pod, or `distinct` ones.
        path: empty for reviews; the API server's path that creates Pods.
        client: certificate and key to show, if any, as one path without the suffix.
    """

    ports: tuple[int, ...]
    host: str
    ca_file: str
    namespace: str
    pods: str = "replicas"
    path: str = ""
    client: str = ""

    def context(self) -> ssl.SSLContext:
        """Return how to connect."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.client:
            context.load_cert_chain(f"{self.client}.crt", f"{self.client}.key")
        return context

    def requests(self, timeout: int = 5) -> Iterator[tuple[bytes, bytes]]:
        """Yield requests without end, each with something that the answer has to hold."""
        return self._creations() if self.path else self._reviews(timeout)

    def _reviews(self, timeout: int) -> Iterator[tuple[bytes, bytes]]:
        """Ask as the API server does, about one Pod after the other, with a UID that was never there."""
        make = PODS[self.pods]
        agent = "kube-apiserver-admission"
        halves = []
        for number in range(_DIFFERENT[self.pods]):
            body = review_body(make(number), self.namespace)
            whole = _head(f"{PATH}?timeout={timeout}s", self.host, len(body), agent) + body
            halves.append(whole.split(UID.encode()))
        rest = UID[8:].encode()
        for number, (before, after) in enumerate(itertools.cycle(halves)):
            uid = b"%08x%b" % (number & 0xFFFFFFFF, rest)
            yield b"%b%b%b" % (before, uid, after), uid

    def _creations(self) -> Iterator[tuple[bytes, bytes]]:
        """Create one Pod after the other."""
        make = PODS[self.pods]
        made = []
        for number in range(_DIFFERENT[self.pods]):
            body = json.dumps(bare_pod(make(number), self.namespace), separators=(",", ":")).encode()
            made.append(_head(self.path, self.host, len(body), "bench") + body)
        for request in itertools.cycle(made):
            yield request, b""


def _head(path: str, host: str, length: int, agent: str) -> bytes:
    """Write the head of a request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nContent-Length: {length}\r\n"
        "Accept: application/json, */*\r\nContent-Type: application/json\r\n\r\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def closing(self) -> bool:
        """Tell whether the connection ends with it."""
        return b"connection: close" in self.head.lower()

    @property
    def outcome(self) -> str:
        """Say in a word what became of a request: of a review by its status, of a Pod also by its images."""
        if self.status == 200:
            return "answered"
        if self.status == 201:
            return "rewritten" if b'"image":"proxy.replicated.com/' in self.body else "unrewritten"
        if self.status == 503 and b"retry-after:" in self.head.lower():
            return SHED
        return f"status {self.status}"


class AnswerReader:
    """Puts an answer together from what arrives."""

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> Answer | None:
        """Take a part; returns the answer when it is whole."""
        received = self._received = self._received + data if self._received else data
        head, separator, body = received.partition(_END_OF_HEAD)
        if not separator or not _is_whole(head, body):
            return None
        self._received = b""
        return Answer(int(head[9:12]), head, body)


def _is_whole(head: bytes, body: bytes) -> bool:
    """Tell whether a body has arrived; one in chunks ends with an empty one, and JSON holds no bare line ends."""
    length = _content_length(head)
    return body.endswith(_LAST_CHUNK) if length is None else len(body) >= length


def _content_length(head: bytes) -> int | None:
    """Read the length, if one is told."""
    start = head.find(b"Content-Length: ")
    if start < 0:
        return None
    end = head.find(b"\r\n", start)
    return int(head[start + len(b"Content-Length: ") : end if end != -1 else None])
