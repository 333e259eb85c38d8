"""The load generator: `python -m bench.load PORT CONNECTIONS SECONDS FOLDER`, figures as JSON on standard output.

Written on bare transports with a request made beforehand, because an HTTP client would be slower than the server that
it measures. Every answer's status is looked at; the CPU share of this process shows whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

from bench.certificate import SERVER_NAME, bundle
from bench.review import review_body

_WARM_UP_SECONDS = 1.0


class Figures:
    """Latencies of the answers that came while it was recording."""

    def __init__(self) -> None:
        self.recording = False
        self.latencies: list[float] = []

    def summary(self, seconds: float, cpu_seconds: float) -> dict[str, float]:
        """Return the rate and the percentiles in milliseconds."""
        ordered = sorted(self.latencies)
        return {
            "rate": len(ordered) / seconds,
            "p50": ordered[len(ordered) // 2] * 1000,
            "p99": ordered[len(ordered) * 99 // 100] * 1000,
            "generatorCpu": cpu_seconds / seconds,
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection: the next review leaves when the answer to the last is complete."""

    def __init__(self, request: bytes, figures: Figures) -> None:
        self._request = request
        self._figures = figures
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first review."""
        # uvloop's transports are no subclasses of asyncio's, only shaped like them.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        if not head.startswith(b"HTTP/1.1 200") or b'"allowed":true' not in body:
            raise SystemExit(f"unexpected answer: {self._received[:500]!r}")
        if self._figures.recording:
            self._figures.latencies.append(time.perf_counter() - self._sent)
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


def _content_length(head: bytes) -> int:
    start = head.find(b"Content-Length: ") + len(b"Content-Length: ")
    end = head.find(b"\r\n", start)
    return int(head[start : end if end != -1 else None])


async def _main(port: int, connections: int, seconds: float, folder: Path) -> None:
    body = review_body()
    head = (
        f"POST /mutate?timeout=5s HTTP/1.1\r\nHost: {SERVER_NAME}\r\nUser-Agent: kube-apiserver-admission\r\n"
        f"Content-Length: {len(body)}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\r\n"
    )
    figures = Figures()
    context = ssl.create_default_context(cafile=bundle(folder))
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(
            lambda: Connection(head.encode() + body, figures),
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname=SERVER_NAME,
        )
    await asyncio.sleep(_WARM_UP_SECONDS)
    figures.recording = True
    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    figures.recording = False
    print(json.dumps(figures.summary(time.perf_counter() - begin, time.process_time() - cpu)))


if __name__ == "__main__":
    os.sched_setaffinity(0, {1})
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
