"""Having the API server try a Pod out until it is rewritten, or the time is up."""

from __future__ import annotations

import logging
from typing import Final

from replicated_proxy.clock import Clock
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import ApiError
from replicated_proxy.kube.resources import PODS
from replicated_proxy.settings import Settings
from replicated_proxy.trial.pods import NoImage, choose_image, image_of, judge, write_pod

_log = logging.getLogger(__name__)
_PAUSE: Final = 1.0
_REMEDY: Final = (
    "look whether a License that covers the namespace is Ready (kubectl get licenses.kots.io --all-namespaces), "
    "whether the webhook's Pods are ready, and in docs/reasons.md why images are left alone"
)


class AdmissionCheck:
    """Creates Pods as dry runs: everything happens to them but the storing."""

    def __init__(self, client: KubeClient, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock

    async def run(self, namespace: str, image: str, seconds: float) -> bool:
        """Try until a Pod comes back rewritten; returns False when that took too long.

        Args:
            namespace: where the Pods would be created.
            image: which one they name; empty means one that the settings rewrite for certain.
            seconds: how long a License that was just applied and a webhook that was just started may take.
        """
        try:
            image = image or choose_image(self._settings)
        except NoImage as error:
            _log.error("%s", error)
            return False
        deadline = self._clock.monotonic() + seconds
        while problem := await self._try(namespace, image):
            if self._clock.monotonic() + _PAUSE >= deadline:
                _log.error("no Pod in %s was rewritten within %g s: %s; %s", namespace, seconds, problem, _REMEDY)
                return False
            await self._clock.sleep(_PAUSE)
        return True

    async def _try(self, namespace: str, image: str) -> str:
        """Try one Pod, and say what is wrong."""
        try:
            pod = await self._client.try_out(PODS, write_pod(image), namespace)
        except ApiError as error:
            return str(error)
        problem = judge(pod, image, self._settings.secret.name)
        if not problem:
            _log.info("a Pod in %s is rewritten: %s became %s", namespace, image, image_of(pod))
        return problem
