"""The reason codes: one word for each way an image or a Pod is left as it is.

The same words stand in metrics, audit annotations, warnings and explanations; `docs/reasons.md` lists cause and
remedy of each, in this order.

They stand in the order in which they are looked at. `mirror-pod` comes first, before `mode-off`: what nodes
write themselves is left alone whatever the settings say.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was left untouched."""

    # Of the Pod, in the order they are looked at.
    MIRROR_POD = "mirror-pod"
    MODE_OFF = "mode-off"
    OPTED_OUT = "opted-out"
    NO_LICENSE = "no-license"
    LICENSE_EXPIRED = "license-expired"
    AMBIGUOUS_LICENSE = "ambiguous-license"
    SECRET_CONFLICT = "secret-conflict"  # noqa: S105 - a reason code, not a credential.

    # Of the image, in the order they are looked at.
    PULL_NEVER = "pull-never"
    PLACEHOLDER = "placeholder"
    INVALID_REFERENCE = "invalid-reference"
    IMAGE_ID = "image-id"
    NO_DOMAIN = "no-domain"
    IPV6_HOST = "ipv6-host"
    PORT = "port"
    UPPERCASE_HOST = "uppercase-host"
    LOCAL_HOST = "local-host"
    ALREADY_PROXIED = "already-proxied"
    REPLICATED_REGISTRY = "replicated-registry"
    EXCLUDED = "excluded"
    NOT_CLAIMED = "not-claimed"
    TOO_LONG = "too-long"
    INTERNAL_HOST = "internal-host"
    PUBLIC = "public"

    # Of an ephemeral container: its Pod lacks the pull secret, which cannot be added any more.
    NO_PULL_SECRET = "no-pull-secret"  # noqa: S105 - likewise.


class Outcome(StrEnum):
    """What became of an image."""

    REWRITTEN = "rewritten"
    REGISTRY_SWAPPED = "registry-swapped"
    UNTOUCHED = "untouched"


# The image looks wanted and the path form of the proxy cannot carry it.
UNPROXIABLE = frozenset({Reason.IPV6_HOST, Reason.PORT, Reason.UPPERCASE_HOST, Reason.TOO_LONG, Reason.NO_DOMAIN})

# Of the Pod as a whole; the others are of an image.
OF_PODS = (
    Reason.MIRROR_POD,
    Reason.MODE_OFF,
    Reason.OPTED_OUT,
    Reason.NO_LICENSE,
    Reason.LICENSE_EXPIRED,
    Reason.AMBIGUOUS_LICENSE,
    Reason.SECRET_CONFLICT,
)
