"""Which Pod shows that an installation works, and whether it did: data in, data out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from replicated_proxy.core.objects import list_at, text_at
from replicated_proxy.core.rewriting import Mode
from replicated_proxy.core.visibility import OnError, Visibility
from replicated_proxy.settings import Settings

_REPOSITORY: Final = "helm-test/app:v1"
# Nobody can own a name that ends so (RFC 6761), so no registry is bothered.
_NOWHERE: Final = "helm-test.invalid"
_ANY: Final = "*"


class NoImage(ValueError):
    """Under these settings no image is rewritten for certain; says what to name instead."""


def choose_image(settings: Settings) -> str:
    """Return an image that these settings rewrite for certain, whatever registries say.

    Raises:
        NoImage: there is none, or none that could be known here.
    """
    rewrite = settings.rewrite
    if rewrite.mode is Mode.OFF:
        raise NoImage("settings.rewrite.mode is off, so no image is ever rewritten and there is nothing to try")
    if rewrite.mode is Mode.LISTED:
        return _below(
            rewrite.include, "settings.rewrite.include is empty, so no image is ever rewritten: name some there"
        )
    if rewrite.mode is Mode.ALL or settings.detection.on_error is OnError.PRIVATE:
        return f"{_NOWHERE}/{_REPOSITORY}"
    private = [pattern for pattern, word in settings.detection.assume.items() if word == Visibility.PRIVATE.value]
    return _below(private, "no image counts as private without asking a registry: name one with --image (test.image)")


def _below(patterns: tuple[str, ...] | list[str], problem: str) -> str:
    """Return an image of the first pattern."""
    if not patterns:
        raise NoImage(problem)
    return f"{patterns[0].rstrip('/').replace(_ANY, 'helm-test')}/{_REPOSITORY}"


def write_pod(image: str) -> dict[str, Any]:
    """Write a Pod that any namespace takes: it meets the restricted level and says what it needs."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "admission-check-"},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "check",
                    "image": image,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "resources": {
                        "requests": {"cpu": "1m", "memory": "1Mi"},
                        "limits": {"cpu": "1m", "memory": "1Mi"},
                    },
                }
            ],
        },
    }


def image_of(pod: Mapping[str, Any]) -> str:
    """Return the image of the first container; empty where there is none."""
    containers = list_at(pod, "spec", "containers")
    return text_at(containers[0], "image") if containers else ""


def judge(pod: Mapping[str, Any], image: str, secret: str) -> str:
    """Say what is wrong with the Pod that came back; empty when image and pull secret are what they should be."""
    if image_of(pod) == image:
        return f"the image {image} came back as it was"
    names = [text_at(entry, "name") for entry in list_at(pod, "spec", "imagePullSecrets")]
    if secret not in names:
        return f"the image {image} became {image_of(pod)}, but the Pod got no pull secret {secret}"
    return ""
