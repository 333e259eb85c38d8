"""A detector with registries and a clock of a test's own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from asking import ScriptedRegistries
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.detector import RegistryDetector
from replicated_proxy.detection.questions import Limits
from replicated_proxy.settings.detecting import DetectionSettings
from replicated_proxy.telemetry.metrics import Metrics
from simulated_clock import SimulatedClock

SETTINGS = DetectionSettings(
    deadline=1.0, public_seconds=3600, private_seconds=600, error_seconds=60, assume={"assumed.example": "Public"}
)
IMAGE = "quay.io/my-org/api:v1"
REPOSITORY = "quay.io/my-org/api"


class Detection:
    """A detector, its registries and its clock."""

    def __init__(self, limits: Limits | None = None, **settings: Any) -> None:
        self.clock = SimulatedClock()
        self.registries = ScriptedRegistries()
        self.metrics = Metrics()
        self.settings = replace(SETTINGS, **settings)
        self.detector = RegistryDetector(self.settings, self.registries, self.clock, self.metrics, limits)

    def look_up(self, image: str = IMAGE, namespace: str = "app") -> Visibility | None:
        """Look an image up."""
        return self.detector.look_up(parse_image(image), namespace)

    def review(self, *images: str, namespace: str = "app", seconds: float = 2.5) -> asyncio.Task[list[Visibility]]:
        """Begin a review of a Pod with these images, as the handler does it."""
        return asyncio.create_task(self._review(images or (IMAGE,), namespace, seconds))

    async def _review(self, images: tuple[str, ...], namespace: str, seconds: float) -> list[Visibility]:
        """Look up, wait where that is due, and settle."""
        references = [parse_image(image) for image in images]
        unknown = [each for each in references if self.detector.look_up(each, namespace) is None]
        if unknown:
            await self.detector.find_out(unknown, namespace, seconds)
        return [self.detector.settle(each, namespace) for each in references]

    async def know(self, *images: str, namespace: str = "app") -> list[Visibility]:
        """Review to the end, with registries that answer."""
        return await self.review(*images, namespace=namespace)

    def count(self, name: str, **labels: str) -> float:
        """Return a sample."""
        return self.metrics.registry.get_sample_value(f"replicated_proxy_detection_{name}", labels) or 0.0

    async def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)
