"""The License (`kots.io/v1beta1`, `v1beta2`) as a typed value.

Replicated's own generated CRD cannot hold real licenses, so ours preserves what it does not know; here only the
fields that decide something are read. Both API versions have the same spec (kotskinds `license_types.go`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from replicated_proxy.core.images import is_registry_host
from replicated_proxy.core.objects import (
    Body,
    ObjectIdentity,
    list_at,
    mapping_at,
    parse_timestamp,
    quote,
    read_identity,
    text_at,
)
from replicated_proxy.core.signatures import Signature

PAUSED_ANNOTATION: Final = "proxy.kots.io/paused"
_LONGEST_ID: Final = 4096  # Real ones have some 30; a Secret that is merged from many Licenses ends at 1 MiB.
_URL: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#]*@)?(?P<host>[^/?#@:\s]*)(?::[0-9]*)?(?:[/?#].*)?", re.ASCII
)
_SLUG: Final = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", re.ASCII)


class ExpiryPolicy(StrEnum):
    """What happens when a License expires (setting `license.onExpiry`)."""

    RETAIN = "Retain"
    REVOKE = "Revoke"


class InvalidLicense(ValueError):
    """A License that cannot be used; the message names the field, the value and the remedy, never the ID."""


class LicenseID:
    """The customer's credential. It shows itself only when asked by `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the ID, to be put into a pull secret and nowhere else."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LicenseID) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "LicenseID(…)"


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a License ends, as KOTS reads the entitlement `expires_at` (`LicenseIsExpired`).

    Attributes:
        at: the moment, or None for "never".
        problem: why the entitlement could not be read, for people; empty when it could.
    """

    at: datetime | None = None
    problem: str = ""

    def has_passed(self, now: datetime) -> bool:
        """Tell whether it lies strictly before now."""
        return self.at is not None and self.at < now


@dataclass(frozen=True, slots=True)
class License:
    """What a vendor portal's `license.yaml` says, as far as it decides something here.

    Attributes:
        identity: which object this is.
        app_slug: the application, as in the proxy's path.
        license_id: the registry password.
        endpoint: host of `spec.endpoint`; names Replicated's staging environments.
        proxy_domains: custom proxy domains in falling precedence: default channel, then the License itself.
        expiry: when it ends.
        paused: frozen by annotation: nothing is written or deleted for it.
        deleting: marked for deletion, and kept only by somebody's finalizer.
        problems: fields that were left out, one sentence each.
        signature: what came of looking at it.
        accepted: the administrator's policy lets a License with this signature be used.
        source: where it stands: a License object's `namespace/name`, or the place in a Secret.
        namespaces: what it covers by the administrator's setting, beside what Applications name.
        every_namespace: whether `"*"` is among that.
    """

    identity: ObjectIdentity
    app_slug: str
    license_id: LicenseID = field(repr=False)
    endpoint: str = ""
    proxy_domains: tuple[str, ...] = ()
    expiry: Expiry = Expiry()
    paused: bool = False
    deleting: bool = False
    problems: tuple[str, ...] = ()
    signature: Signature = Signature()
    accepted: bool = True
    source: str = ""
    namespaces: tuple[str, ...] = ()
    every_namespace: bool = False

    @property
    def key(self) -> str:
        """Name it for people, and tell it from every other License."""
        return self.source or self.identity.key


def is_app_slug(text: str) -> bool:
    """Tell whether a text can be an application's slug: one repository component of the proxy's path."""
    return _SLUG.fullmatch(text) is not None


def parse_license(body: Body) -> License:
    """Read a License object.

    Raises:
        InvalidLicense: `spec.appSlug` or `spec.licenseID` is missing or no such thing.
    """
    spec = mapping_at(body, "spec")
    slug, license_id = text_at(spec, "appSlug"), text_at(spec, "licenseID")
    if not is_app_slug(slug):
        raise InvalidLicense(
            f"spec.appSlug {quote(slug)} is no application slug: use the license.yaml of the vendor portal unchanged"
        )
    if not license_id:
        raise InvalidLicense("spec.licenseID is empty: use the license.yaml of the vendor portal unchanged")
    if len(license_id) > _LONGEST_ID:
        raise InvalidLicense(
            f"spec.licenseID has {len(license_id)} characters, more than {_LONGEST_ID}: "
            "use the license.yaml of the vendor portal unchanged"
        )
    domains, problems = _read_proxy_domains(spec)
    return License(
        identity=read_identity(body),
        app_slug=slug,
        license_id=LicenseID(license_id),
        endpoint=_host_of_url(text_at(spec, "endpoint")),
        proxy_domains=domains,
        expiry=read_expiry(mapping_at(spec, "entitlements")),
        paused=text_at(body, "metadata", "annotations", PAUSED_ANNOTATION) == "true",
        deleting=bool(text_at(body, "metadata", "deletionTimestamp")),
        problems=problems,
    )


def read_expiry(entitlements: Body) -> Expiry:
    """Read `expires_at` by KOTS's rules, in its order: the type counts before the empty value.

    What KOTS calls an error becomes a problem. A missing value counts as "never": KOTS fails there, which would
    make licenses useless that its own tests contain (replicated.md 1.5).
    """
    entitlement = mapping_at(entitlements, "expires_at")
    kind, value = entitlement.get("valueType"), entitlement.get("value")
    if kind not in (None, "", "String"):  # No set: the value may be a list.
        return Expiry(problem=f"entitlement expires_at has valueType {quote(kind)}; it must be String")
    if value is None:
        return Expiry()
    if not isinstance(value, str):
        return Expiry(problem="entitlement expires_at is not a string")
    if not value:
        return Expiry()
    try:
        return Expiry(at=parse_timestamp(value))
    except ValueError as error:
        return Expiry(problem=f"entitlement expires_at: {error}")


def _read_proxy_domains(spec: Body) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Collect custom proxy domains in falling precedence; what is no host is reported and left out."""
    channels = [channel for channel in list_at(spec, "channels") if mapping_at(channel).get("isDefault") is True]
    found = [text_at(channel, "replicatedProxyDomain") for channel in channels]
    found = [text for text in (*found, text_at(spec, "replicatedProxyDomain")) if text]
    problems = tuple(
        f"replicatedProxyDomain {quote(text)} is not a host: write it without scheme and path"
        for text in found
        if not is_registry_host(text)
    )
    return tuple(text for text in found if is_registry_host(text)), problems


def _host_of_url(url: str) -> str:
    """Return the host of a URL, without user and port; KOTS takes anything unparsable as the default."""
    match = _URL.fullmatch(url)
    return match["host"] if match else ""
