"""What the controller knows of the cluster: caches of four kinds, filled by listings and kept fresh by events.

Completeness comes from our own listings only. kopf re-lists after a 410 without telling what is gone, so an event
is never proof of absence; a listing is, for what it could have shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from replicated_proxy.core.applications import Application, parse_application
from replicated_proxy.core.coverage import Namespace, Sources
from replicated_proxy.core.licenses import InvalidLicense, License, parse_license
from replicated_proxy.core.objects import Body, ObjectIdentity, mapping_at, read_identity, text_at
from replicated_proxy.core.pull_secrets import ObservedSecret, Ownership, read_secret
from replicated_proxy.core.routes import Definitions
from replicated_proxy.kube.client import Listing

Value = TypeVar("Value")
DELETED: Final = "DELETED"


class Store(Generic[Value]):
    """Cache of one kind.

    Listings and events come by separate ways, so the newer resourceVersion wins. Those of one kind are ordered
    numbers (KEP-5504 makes of etcd's practice a promise).

    Attributes:
        complete: a complete listing has been taken in.
    """

    def __init__(self, read: Callable[[Body], Value], key: Callable[[Body], str]) -> None:
        self._read = read
        self._key = key
        self._entries: dict[str, tuple[int, Value]] = {}
        self.complete = False

    def get(self, key: str) -> Value | None:
        """Return one object, or None."""
        entry = self._entries.get(key)
        return entry[1] if entry else None

    def keys(self) -> Iterable[str]:
        """Return the keys of all objects."""
        return tuple(self._entries)

    def values(self) -> Iterable[Value]:
        """Return all objects."""
        return tuple(value for _, value in self._entries.values())

    def apply(self, kind: str | None, body: Body) -> bool:
        """Take in an event; returns whether it changed anything. An older state than the cached one is ignored."""
        key, version = self._key(body), _version(body)
        known = self._entries.get(key)
        if known is not None and version < known[0]:
            return False
        if kind == DELETED:
            return self._entries.pop(key, None) is not None
        value = self._read(body)
        self._entries[key] = (version, value)
        return known is None or known[1] != value

    def forget(self, key: str) -> None:
        """Drop an object that is known to be gone: we deleted it, or the API server said so."""
        self._entries.pop(key, None)

    def take(self, listing: Listing) -> set[str]:
        """Take in a complete listing; returns the keys of objects that are other than the cache knew.

        What an event brought after the listing was made stays.
        """
        as_of = int(listing.resource_version or 0)
        listed = {self._key(body): body for body in listing.items}
        gone = {key for key, (version, _) in self._entries.items() if key not in listed and version <= as_of}
        for key in gone:
            del self._entries[key]
        changed = {key for key, body in listed.items() if self.apply(None, body)}
        self.complete = True
        return gone | changed


def _version(body: Body) -> int:
    """Return an object's resourceVersion as the number it is."""
    text = text_at(body, "metadata", "resourceVersion")
    return int(text) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class LicenseEntry:
    """A License object, readable or not.

    Attributes:
        identity: which one.
        lic: as parsed, or None.
        problem: why it could not be parsed.
        status: as it stands on the object.
    """

    identity: ObjectIdentity
    lic: License | None
    problem: str = ""
    status: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApplicationEntry:
    """An Application object with its status as it stands."""

    identity: ObjectIdentity
    application: Application
    status: Body = field(default_factory=dict)


def _read_license(body: Body) -> LicenseEntry:
    """Read a License; one that makes no sense keeps its place, so that its status can say so."""
    identity, status = read_identity(body), mapping_at(body, "status")
    try:
        return LicenseEntry(identity, parse_license(body), status=status)
    except InvalidLicense as error:
        return LicenseEntry(identity, None, str(error), status)


def _read_application(body: Body) -> ApplicationEntry:
    """Read an Application."""
    return ApplicationEntry(read_identity(body), parse_application(body), mapping_at(body, "status"))


def read_namespace(body: Body) -> Namespace:
    """Read a namespace as far as coverage cares."""
    labels = mapping_at(body, "metadata", "labels")
    return Namespace(
        name=text_at(body, "metadata", "name"),
        uid=text_at(body, "metadata", "uid"),
        labels={key: value for key, value in labels.items() if isinstance(value, str) and key.find("kots.io/") >= 0},
        terminating=bool(text_at(body, "metadata", "deletionTimestamp")),
    )


def _object_key(body: Body) -> str:
    """Key of a namespaced object."""
    return f"{text_at(body, 'metadata', 'namespace')}/{text_at(body, 'metadata', 'name')}"


class World:
    """The four caches.

    Attributes:
        licenses, applications: by `namespace/name`.
        namespaces: by name.
        secrets: Secrets of our one name, by namespace.
        definitions: under which Licenses and Applications were listed.
    """

    def __init__(self, ownership: Ownership, honoured: frozenset[str]) -> None:
        self.licenses = Store[LicenseEntry](_read_license, _object_key)
        self.applications = Store[ApplicationEntry](_read_application, _object_key)
        self.namespaces = Store[Namespace](read_namespace, lambda body: text_at(body, "metadata", "name"))
        self.secrets = Store[ObservedSecret](
            lambda body: read_secret(body, ownership), lambda body: text_at(body, "metadata", "namespace")
        )
        self.definitions = Definitions()
        self._honoured = honoured

    @property
    def complete(self) -> bool:
        """Tell whether everything has been listed once; before that nothing may be concluded from absence."""
        stores = (self.licenses, self.applications, self.namespaces, self.secrets)
        return all(store.complete for store in stores)

    def honours(self, namespace: str) -> bool:
        """Tell whether Licenses and Applications of this namespace count (`sources.namespaces`)."""
        return not self._honoured or namespace in self._honoured

    def sources(self) -> Sources:
        """Return the Licenses and Applications that count."""
        entries = (entry for entry in self.licenses.values() if self.honours(entry.identity.namespace))
        applications = (entry for entry in self.applications.values() if self.honours(entry.identity.namespace))
        return Sources(
            licenses=tuple(entry.lic for entry in entries if entry.lic),
            applications=tuple(entry.application for entry in applications),
            definitions=self.definitions,
        )

    def licenses_by_uid(self) -> Mapping[str, License]:
        """Return the Licenses that count, by UID."""
        return {lic.identity.uid: lic for lic in self.sources().licenses}
