"""Every place a Pod names an image, and the rest of a Pod that the decision needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class Carrier(StrEnum):
    """A list of the Pod's spec whose items name images."""

    CONTAINERS = "containers"
    INIT_CONTAINERS = "initContainers"
    EPHEMERAL_CONTAINERS = "ephemeralContainers"
    VOLUMES = "volumes"


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """One image in a Pod.

    Attributes:
        carrier: which list it stands in.
        index: position there.
        name: of the container or volume.
        image: the text as it stands in the Pod; empty where the field is missing.
        pull_never: the pull policy is `Never`: the image has to be on the node under this very name.
    """

    carrier: Carrier
    index: int
    name: str
    image: str
    pull_never: bool = False

    @property
    def pointer(self) -> str:
        """RFC 6901 pointer of the image string."""
        field = "image/reference" if self.carrier is Carrier.VOLUMES else "image"
        return f"/spec/{self.carrier}/{self.index}/{field}"

    @property
    def key(self) -> str:
        """`containers/<name>`: how the annotation and people name this slot."""
        return f"{self.carrier}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod as far as a rewrite cares.

    Attributes:
        slots: its images, in the order containers, init containers, ephemeral containers, image volumes.
        pull_secrets: names in `imagePullSecrets`, or None where the list is absent.
        labels: as on the object; empty where absent.
        annotations: as on the object, or None where absent.
        owners: `Kind.group` of each owner reference (`CatalogSource.operators.coreos.com`).
    """

    slots: tuple[ImageSlot, ...]
    pull_secrets: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] | None = None
    owners: tuple[str, ...] = ()

    @property
    def is_mirror(self) -> bool:
        """Tell whether this is the API server's copy of a static Pod; the kubelet refuses an altered one."""
        return MIRROR_ANNOTATION in (self.annotations or {})

    def mark(self, key: str) -> str:
        """Return the annotation or, without one, the label of this key; empty when neither is there."""
        return (self.annotations or {}).get(key) or self.labels.get(key, "")
