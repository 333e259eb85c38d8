"""What has to happen to the pull secret of one namespace.

Desired against observed, one namespace at a time, so that one that fails never holds up the others. Each rule
answers a failure that some peer has (syncers.md 4): a Secret that is not ours is never changed or deleted, ours is
changed in place, and nothing is written when nothing changed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from hashlib import sha256
from typing import Any, Final

from replicated_proxy.core.credentials import (
    hash_content,
)
from replicated_proxy.core.objects import Body, mapping_at, text_at

SECRET_TYPE: Final = "kubernetes.io/dockerconfigjson"  # noqa: S105 - a type of Secret.
DATA_KEY: Final = ".dockerconfigjson"
MANAGER: Final = "replicated-proxy-operator"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
INSTALLATION_LABEL: Final = "proxy.kots.io/installation"
CONTENT_LABEL: Final = "proxy.kots.io/content"
INSTALLATION_ANNOTATION: Final = "proxy.kots.io/installation"
ADOPT_ANNOTATION: Final = "proxy.kots.io/adopt"
LICENSES_ANNOTATION: Final = "proxy.kots.io/licenses"


@cache
def _hash_installation(installation: str) -> str:
    """Return the digest of an installation's ID; it is looked at for every copy, and a process has one."""
    return sha256(installation.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ownership:
    """How we mark what is ours.

    Attributes:
        installation: the installation's ID, in words.
        secret_name: the one name that we use.
    """

    installation: str
    secret_name: str

    @property
    def token(self) -> str:
        """The ID as a label value: at most 63 characters, no slash."""
        return _hash_installation(self.installation)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that say "ours"."""
        return {MANAGED_BY_LABEL: MANAGER, INSTALLATION_LABEL: self.token}

    def marks(self, labels: Mapping[str, object], annotations: Mapping[str, object]) -> bool:
        """Tell whether an object is ours: by label or by annotation, so that one edit does not make it foreign."""
        noted = annotations.get(INSTALLATION_ANNOTATION) == self.installation
        return labels.get(INSTALLATION_LABEL) == self.token or noted


@dataclass(frozen=True, slots=True)
class ObservedSecret:
    """A Secret of our name, as it stands in a namespace.

    Attributes:
        namespace, uid, resource_version: which one, at which state.
        ours: it carries our marks.
        adoptable: its owner asks, by annotation on it, that we take it over.
        complete: all our labels and annotations are on it.
        type: the Secret's type, which cannot be changed.
        immutable: marked so, by whomever.
        content: the `.dockerconfigjson`, or None where it is missing or no base64.
        licenses: UIDs of the Licenses it was made from, as noted on it.
        other_keys: data keys that we did not write.
        deleting: marked for deletion, and kept only by somebody's finalizer.
    """

    namespace: str
    uid: str
    resource_version: str
    ours: bool
    adoptable: bool
    complete: bool
    type: str
    immutable: bool = False
    content: bytes | None = field(default=None, repr=False)
    licenses: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()
    deleting: bool = False

    @property
    def foreign(self) -> bool:
        """Tell whether it is somebody else's, who did not offer it: never to be changed."""
        return not (self.ours or self.adoptable)


@dataclass(frozen=True, slots=True)
class DesiredSecret:
    """The pull secret that a namespace should have.

    Attributes:
        content: the `.dockerconfigjson`.
        licenses: UIDs of the Licenses it is made from, oldest first.
    """

    content: bytes = field(repr=False)
    licenses: tuple[str, ...] = ()


def read_secret(body: Body, ownership: Ownership) -> ObservedSecret:
    """Read a Secret of our name."""
    metadata, data = mapping_at(body, "metadata"), mapping_at(body, "data")
    labels, annotations = mapping_at(metadata, "labels"), mapping_at(metadata, "annotations")
    content = _decode(text_at(data, DATA_KEY))
    marked = ownership.marks(labels, annotations)
    return ObservedSecret(
        namespace=text_at(metadata, "namespace"),
        uid=text_at(metadata, "uid"),
        resource_version=text_at(metadata, "resourceVersion"),
        ours=marked,
        adoptable=annotations.get(ADOPT_ANNOTATION) == "true",
        complete=marked and _is_complete(labels, annotations, content, ownership),
        type=text_at(body, "type"),
        immutable=body.get("immutable") is True,
        content=content,
        licenses=tuple(filter(None, str(annotations.get(LICENSES_ANNOTATION, "")).split(","))),
        other_keys=tuple(sorted(key for key in data if key != DATA_KEY)),
        deleting=bool(text_at(metadata, "deletionTimestamp")),
    )


def _is_complete(labels: Body, annotations: Body, content: bytes | None, ownership: Ownership) -> bool:
    """Tell whether every mark that we write is there."""
    expected = {**ownership.labels, CONTENT_LABEL: hash_content(content or b"", ownership.installation)}
    return (
        all(labels.get(name) == value for name, value in expected.items())
        and annotations.get(INSTALLATION_ANNOTATION) == ownership.installation
    )


def _decode(text: str) -> bytes | None:
    """Decode a Secret's value."""
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


class Action(StrEnum):
    """What happens to one namespace's pull secret."""

    NOTHING = "nothing"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    CONFLICT = "conflict"


class Removal(StrEnum):
    """Why a copy goes; the words are for the log."""

    LICENSE_DELETED = "its License was deleted"
    EXPIRED = "its License has expired, and license.onExpiry is Revoke"
    NOT_COVERED = "its License covers this namespace no more"
    EXCLUDED = "the namespace is excluded, or asks by label to be left out"
    UNINSTALLED = "the operator is uninstalled with cleanup.onUninstall"


@dataclass(frozen=True, slots=True)
class SecretPlan:
    """One action with what it takes.

    Attributes:
        action: what to do.
        namespace: where.
        observed: the Secret to change, replace or delete; its UID and resourceVersion are the preconditions.
        desired: what to write; None where nothing is wanted.
        reason: why it goes, for a deletion.
    """

    action: Action
    namespace: str
    observed: ObservedSecret | None = None
    desired: DesiredSecret | None = None
    reason: str = ""


def plan_secret(
    namespace: str,
    desired: DesiredSecret | None,
    observed: ObservedSecret | None,
    removal: Removal = Removal.LICENSE_DELETED,
) -> SecretPlan:
    """Compare what should be with what is.

    Args:
        namespace: the namespace.
        desired: what belongs there; None for no Secret.
        observed: the Secret of our name that is there, if any.
        removal: why nothing belongs there, should that be so.
    """
    action = _choose_action(desired, observed)
    reason = removal.value if action is Action.DELETE else ""
    return SecretPlan(action, namespace, observed, desired, reason)


def _choose_action(desired: DesiredSecret | None, observed: ObservedSecret | None) -> Action:
    """Choose what to do."""
    if observed is None:
        return Action.CREATE if desired else Action.NOTHING
    if desired is None:
        return Action.DELETE if observed.ours else Action.NOTHING
    if observed.foreign:
        return Action.CONFLICT
    if _is_settled(desired, observed):
        return Action.NOTHING
    return Action.REPLACE if observed.type != SECRET_TYPE or observed.immutable else Action.UPDATE


def _is_settled(desired: DesiredSecret, observed: ObservedSecret) -> bool:
    """Tell whether a copy is as it should be."""
    return (
        observed.complete
        and not observed.other_keys
        and observed.type == SECRET_TYPE
        and (observed.content, observed.licenses) == (desired.content, desired.licenses)
    )


def render_secret(namespace: str, desired: DesiredSecret, ownership: Ownership) -> dict[str, Any]:
    """Write the Secret object."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": ownership.secret_name,
            "namespace": namespace,
            "labels": {**ownership.labels, CONTENT_LABEL: hash_content(desired.content, ownership.installation)},
            "annotations": {
                INSTALLATION_ANNOTATION: ownership.installation,
                LICENSES_ANNOTATION: ",".join(desired.licenses),
            },
        },
        "type": SECRET_TYPE,
        "data": {DATA_KEY: base64.b64encode(desired.content).decode()},
    }


def render_update(
    namespace: str, desired: DesiredSecret, observed: ObservedSecret, ownership: Ownership
) -> dict[str, Any]:
    """Write the JSON merge patch that makes an observed Secret right.

    The resourceVersion in it is the precondition. Labels and annotations of others stay; data keys of others go.
    """
    patch = render_secret(namespace, desired, ownership)
    patch["metadata"]["resourceVersion"] = observed.resource_version
    patch["data"] |= dict.fromkeys(observed.other_keys)
    return patch
