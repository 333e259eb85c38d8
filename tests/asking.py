"""Registries that answer what a test says, when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult

PUBLIC = ProbeResult(ProbeOutcome.PUBLIC)
PRIVATE = ProbeResult(ProbeOutcome.PRIVATE)
INTERNAL = ProbeResult(ProbeOutcome.INTERNAL)
MISSING = ProbeResult(ProbeOutcome.MISSING)
SILENT = ProbeResult(ProbeOutcome.FAILED, "timeout")
NONSENSE = ProbeResult(ProbeOutcome.FAILED, "answer")


class ScriptedRegistries:
    """Registries of a test.

    Attributes:
        answers: what is said of a repository, or of one reference; public where nothing is written.
        asked: which references were asked about, in order.
        hanging: hosts, or repositories, that do not answer until `release`.
        busy: how many are being asked now.
        most_busy: how many were at once, at most.
        closed: whether somebody closed them.
    """

    def __init__(self, answers: Mapping[str, ProbeResult] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self.hanging: set[str] = set()
        self.busy = 0
        self.most_busy = 0
        self.closed = False
        self._released = asyncio.Event()

    async def probe(self, reference: ImageReference) -> ProbeResult:
        """Answer."""
        self.asked.append(reference.docker_ref)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            while {reference.domain, reference.repository} & self.hanging:
                await self._released.wait()
            await asyncio.sleep(0)
        finally:
            self.busy -= 1
        by_repository = self.answers.get(reference.repository, PUBLIC)
        return self.answers.get(reference.docker_ref, by_repository)

    def release(self, *names: str) -> None:
        """Let hosts or repositories answer."""
        self.hanging.difference_update(names)
        released, self._released = self._released, asyncio.Event()
        released.set()

    async def close(self) -> None:
        """Close."""
        self.closed = True
