"""What the controller knows of the cluster: caches of four kinds, filled by listings and kept fresh by events.

Completeness comes from our own listings only. kopf re-lists after a 410 without telling what is gone, so an event
is never proof of absence; a listing is, for what it could have shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Generic, TypeVar

from replicated_proxy.controller.entries import (
    ApplicationEntry,
    LicenseEntry,
    LicenseReader,
    SecretLicenses,
    doubt_deletion,
    read_application_entry,
)
from replicated_proxy.core.coverage import Sources
from replicated_proxy.core.namespaces import Namespace
from replicated_proxy.core.objects import Body, mapping_at, text_at
from replicated_proxy.core.pull_secrets import ObservedSecret, Ownership, read_secret
from replicated_proxy.core.routes import Definitions
from replicated_proxy.core.validity import Moment
from replicated_proxy.kube.client import Listing

Value = TypeVar("Value")
DELETED: Final = "DELETED"
Declared = Mapping[str, LicenseEntry | ApplicationEntry]
"""What Licenses and Applications say, by UID, without their statuses."""
_log = logging.getLogger(__name__)
_NEVER: Final = -1


class Store(Generic[Value]):
    """Cache of one kind.

    Listings, events and answers to our own writes come by separate ways and in any order, so the newer
    resourceVersion wins, of what is gone too. Those of one kind are ordered numbers (KEP-5504 makes of etcd's
    practice a promise).

    Attributes:
        complete: a complete listing has been taken in.
    """

    def __init__(
        self,
        kind: str,
        read: Callable[[Body], Value],
        key: Callable[[Body], str],
        doubt: Callable[[Value, Value | None], Value] | None = None,
        *,
        defined: bool = True,
    ) -> None:
        """Make an empty cache.

        Args:
            kind: what it holds, for the log.
            read: makes the value of an object.
            key: tells objects apart.
            doubt: takes out of what an event says, beside what is known, that which only a listing proves.
            defined: the kind has a definition, and when that changes an object reads otherwise in the same version. Of
                other kinds a version that is known is not read again: each write of ours comes twice, as its answer
                and as its event.
        """
        self._kind = kind
        self._read = read
        self._key = key
        self._doubt = doubt
        self._defined = defined
        self._entries: dict[str, tuple[int, Value]] = {}
        self._gone: dict[str, int] = {}
        self._as_of = _NEVER
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
        return [value for _, value in self._entries.values()]

    def apply(self, kind: str | None, body: Body) -> bool:
        """Take in an event; returns whether it changed anything. An older state than what is known is ignored."""
        key, version = self._key(body), _version(body)
        if not self._is_news(key, version, self._as_of):
            return False
        if kind == DELETED:
            self._gone[key] = version
            return self._entries.pop(key, None) is not None
        return not self._has(key, version) and self._put(key, body, self._doubt)

    def forget(self, key: str, known: Value | None) -> None:
        """Drop an object that is known to be gone: we deleted it, or the API server said so.

        A listing on its way, made before that, must not bring back the state that is known. What came while the answer
        was on its way is newer than that, and stays: made anew, or kept by a finalizer.

        Args:
            key: the object's.
            known: what was known of it when the request was sent.
        """
        entry = self._entries.get(key)
        if entry is not None and entry[1] == known:
            del self._entries[key]
            self._gone[key] = entry[0]

    def take(self, listing: Listing) -> set[str]:
        """Take in a complete listing; returns the keys of objects that are other than the cache knew.

        What an event brought after the listing was made stays: a newer state, and that something is gone.
        """
        as_of = _number(listing.resource_version)
        before = set(self._entries)
        if _NEVER < as_of < self._as_of:
            # History was set back (an etcd restored from a backup): nothing that is known is newer.
            self._entries, self._gone = {}, {}
        listed = {self._key(body): body for body in listing.items}
        gone = {key for key, (version, _) in self._entries.items() if key not in listed and version <= as_of}
        for key in gone:
            del self._entries[key]
        news = ((key, body) for key, body in listed.items() if self._is_news(key, _version(body), _NEVER))
        changed = {key for key, body in news if self._put(key, body, None)}
        # From here on the listing itself says it: what is older and not here was gone by then.
        self._as_of = as_of or _NEVER
        self._gone = {key: version for key, version in self._gone.items() if version > as_of}
        self.complete = True
        return changed | (before - self._entries.keys())

    def _has(self, key: str, version: int) -> bool:
        """Tell whether this very state is known; a missing version, which is 0, tells no states apart."""
        entry = self._entries.get(key)
        return entry is not None and not self._defined and 0 < version == entry[0]

    def _is_news(self, key: str, version: int, as_of: int) -> bool:
        """Tell whether a state may be newer than what is known, by a listing of that version among other things."""
        entry = self._entries.get(key)
        return version >= entry[0] if entry is not None else version > max(self._gone.get(key, _NEVER), as_of)

    def _put(self, key: str, body: Body, doubt: Callable[[Value, Value | None], Value] | None) -> bool:
        """Keep an object; one that cannot be read stays as it was known, and harms no other."""
        known = self.get(key)
        try:
            value = self._read(body)
        except Exception as error:  # noqa: BLE001 - whoever may write one object must not end the controller by it.
            # Never the error's text, which may quote what is secret in the object.
            _log.error("%s %s cannot be read and was skipped: %s", self._kind, key, type(error).__name__)
            return False
        value = doubt(value, known) if doubt else value
        self._entries[key] = (_version(body), value)
        self._gone.pop(key, None)
        return known is None or known != value


def _version(body: Body) -> int:
    """Return an object's resourceVersion as the number it is."""
    return _number(text_at(body, "metadata", "resourceVersion"))


def _number(text: str) -> int:
    """Read a resourceVersion; a missing one counts as the oldest."""
    return int(text) if text.isdecimal() else 0


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
    """The four caches, and the licenses that Secrets hold.

    Attributes:
        licenses, applications: by `namespace/name`.
        namespaces: by name.
        secrets: Secrets of our one name, by namespace.
        secret_licenses: licenses from elsewhere than License objects.
        definitions: under which Licenses and Applications were listed.
    """

    def __init__(
        self,
        ownership: Ownership,
        honoured: frozenset[str],
        reader: LicenseReader | None = None,
        secret_keys: Iterable[str] = (),
    ) -> None:
        """Make empty caches.

        Args:
            ownership: tells our copies from others.
            honoured: the only namespaces whose Licenses and Applications count; empty for all.
            reader: makes entries of License documents.
            secret_keys: keys of the licenses that Secrets hold.
        """
        reader = reader or LicenseReader()
        self.licenses = Store[LicenseEntry]("License", reader.read, _object_key, doubt_deletion)
        self.applications = Store[ApplicationEntry]("Application", read_application_entry, _object_key)
        self.namespaces = Store[Namespace]("Namespace", read_namespace, lambda body: text_at(body, "metadata", "name"))
        self.secrets = Store[ObservedSecret](
            "Secret",
            lambda body: read_secret(body, ownership),
            lambda body: text_at(body, "metadata", "namespace"),
            defined=False,
        )
        self.secret_licenses = SecretLicenses(reader, secret_keys)
        self.definitions = Definitions()
        self._honoured = honoured

    @property
    def complete(self) -> bool:
        """Tell whether everything has been listed once; before that nothing may be concluded from absence."""
        caches = (self.licenses, self.applications, self.namespaces, self.secrets, self.secret_licenses)
        return all(cache.complete for cache in caches)

    def honours(self, namespace: str) -> bool:
        """Tell whether Licenses and Applications of this namespace count (`sources.namespaces`)."""
        return not self._honoured or namespace in self._honoured

    def noted(self) -> frozenset[str]:
        """Return the UIDs of the Licenses that our copies were made from."""
        alike = {copy.licenses for copy in self.secrets.values() if copy.ours}
        return frozenset(uid for licenses in alike for uid in licenses)

    def declared(self) -> Declared:
        """Return what every License and Application says as of now; their statuses are our own words."""
        licenses = (*self.licenses.values(), *self.secret_licenses.entries().values())
        found: dict[str, LicenseEntry | ApplicationEntry] = {each.uid: replace(each, status={}) for each in licenses}
        return found | {each.uid: replace(each, status={}) for each in self.applications.values()}

    def sources(self, moment: Moment | None = None) -> Sources:
        """Return the Licenses and Applications that count; a License that is being deleted counts no more."""
        honoured = [entry for entry in self.licenses.values() if self.honours(entry.identity.namespace)]
        # The administrator named each Secret, wherever it is.
        entries = (*honoured, *self.secret_licenses.entries().values())
        applications = (entry for entry in self.applications.values() if self.honours(entry.identity.namespace))
        return Sources(
            licenses=tuple(entry.lic for entry in entries if entry.lic and not entry.lic.deleting),
            applications=tuple(entry.application for entry in applications),
            definitions=self.definitions,
            noted=self.noted(),
            # An object that makes no sense any more is still there: nobody deleted it.
            unknown=self.secret_licenses.unknown | {entry.uid for entry in honoured if entry.lic is None},
            moment=moment,
        )
