"""What the caches hold of Licenses and Applications: the typed value or why there is none, and the status it has.

A License object and a license in a Secret are read by one reader; nothing after it knows the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from replicated_proxy.core.applications import EVERY_NAMESPACE, Application, parse_application
from replicated_proxy.core.license_documents import LicenseDocument, confine_hosts
from replicated_proxy.core.licenses import InvalidLicense, License, parse_license
from replicated_proxy.core.objects import Body, ObjectIdentity, mapping_at, read_identity
from replicated_proxy.core.signatures import VerifiedSpec
from replicated_proxy.core.validity import ValidityPolicy

Verify = Callable[[Body], VerifiedSpec]
"""Looks at the signature of a License document."""


@dataclass(frozen=True, slots=True)
class LicenseEntry:
    """A License, readable or not.

    Attributes:
        identity: the object that it stands in; of a license in a Secret that is the Secret, but for the UID.
        lic: as parsed, or None.
        problem: why it could not be parsed.
        status: as it stands on the object.
        source: which of the settings' sources it is; empty for a License object.
    """

    identity: ObjectIdentity
    lic: License | None
    problem: str = ""
    status: Body = field(default_factory=dict)
    source: str = ""

    @property
    def uid(self) -> str:
        """Tell Licenses apart: objects by their UID, a license in a Secret by its source, readable or not."""
        return self.source or self.identity.uid

    @property
    def key(self) -> str:
        """Name it as its route does."""
        return self.source or self.identity.key


@dataclass(frozen=True, slots=True)
class ApplicationEntry:
    """An Application object with its status as it stands."""

    identity: ObjectIdentity
    application: Application
    status: Body = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Tell Applications apart, as Licenses are."""
        return self.identity.uid


def read_application_entry(body: Body) -> ApplicationEntry:
    """Read an Application."""
    return ApplicationEntry(read_identity(body), parse_application(body), mapping_at(body, "status"))


def leave_unchecked(body: Body) -> VerifiedSpec:
    """Take a License at its word (`license.signature: Off`)."""
    return VerifiedSpec(mapping_at(body, "spec"))


class LicenseReader:
    """Makes an entry of a License document."""

    def __init__(self, verify: Verify = leave_unchecked, policy: ValidityPolicy | None = None) -> None:
        self._verify = verify
        self._policy = policy or ValidityPolicy()

    def read(self, body: Body) -> LicenseEntry:
        """Read a License; one that makes no sense keeps its place, so that its status can say so."""
        identity, status = read_identity(body), mapping_at(body, "status")
        verified = self._verify(body)
        try:
            lic = parse_license({**body, "spec": verified.spec})
        except InvalidLicense as error:
            return LicenseEntry(identity, None, str(error), status)
        lic = replace(lic, signature=verified.signature, accepted=self._policy.accepts(verified.signature))
        if not lic.accepted:
            lic = replace(lic, proxy_domains=())  # Nobody whom the administrator trusts chose those hosts.
        return LicenseEntry(identity, lic, status=status)

    def read_document(self, document: LicenseDocument) -> LicenseEntry:
        """Read a license that a Secret holds.

        It stays the same License when the Secret is made anew: a tool that replaces one revokes nothing.
        """
        entry = replace(self.read(document.body), source=document.key)
        if entry.lic is None:
            return entry
        lic = replace(
            confine_hosts(entry.lic, document),
            identity=replace(entry.lic.identity, uid=entry.uid),
            source=document.key,
            namespaces=tuple(name for name in document.namespaces if name != EVERY_NAMESPACE),
            every_namespace=EVERY_NAMESPACE in document.namespaces,
        )
        return replace(entry, lic=lic)


def doubt_deletion(entry: LicenseEntry, known: LicenseEntry | None) -> LicenseEntry:
    """Leave open whether a License that is being deleted is revoked.

    Its definition may be going, which marks every object for deletion and revokes none. Our own listing counts only
    if the definition was there, unmarked, after it as well: a mark that it shows was set by somebody on purpose.
    """
    if entry.lic is None or not entry.lic.deleting:
        return entry
    proven = known is not None and known.lic is not None and known.lic.deleting
    if known is not None and proven and known.identity.uid == entry.identity.uid:
        return entry
    return replace(entry, lic=replace(entry.lic, deleting=False))


class SecretLicenses:
    """Licenses that Secrets hold, by key: what was read last, or why that is in doubt.

    A Secret that is missing for a moment, or holds nonsense, revokes nothing: what it gave stays in effect, and
    nothing new is written for it, until it is read again or counts as deleted.
    """

    def __init__(self, reader: LicenseReader, keys: Iterable[str]) -> None:
        self._reader = reader
        self._unread = set(keys)
        self._entries: dict[str, LicenseEntry] = {}

    @property
    def complete(self) -> bool:
        """Tell whether each one has been looked at once."""
        return not self._unread

    @property
    def unknown(self) -> frozenset[str]:
        """Return the keys of those that are in doubt; they are the UIDs, too."""
        return frozenset(key for key, entry in self._entries.items() if entry.lic is None)

    def entries(self) -> Mapping[str, LicenseEntry]:
        """Return all of them, by key."""
        return dict(self._entries)

    def take(self, document: LicenseDocument) -> bool:
        """Note one that could be read; returns whether anything changed."""
        return self._note(document.key, self._reader.read_document(document))

    def doubt(self, key: str, problem: str) -> bool:
        """Note that one is missing or unreadable for now; returns whether anything changed."""
        namespace, _, rest = key.partition("/")
        identity = ObjectIdentity(namespace, rest.split("/")[1], "", "", 0)
        return self._note(key, LicenseEntry(identity, None, problem, source=key))

    def drop(self, key: str) -> bool:
        """Note that one counts as deleted; returns whether anything changed."""
        first = key in self._unread
        self._unread.discard(key)
        return self._entries.pop(key, None) is not None or first

    def _note(self, key: str, entry: LicenseEntry) -> bool:
        """Keep an entry."""
        changed = self._entries.get(key) != entry or key in self._unread
        self._unread.discard(key)
        self._entries[key] = entry
        return changed
