"""The routing table: which License covers which namespace, as rules.

One value answers both questions of the product, "where does a pull secret go?" and "whose image is it?", so that
secrets and names cannot drift apart. It holds rules with exceptions and no enumeration: `"*"` is a flag and a
listed name stands whether or not the namespace exists, so a namespace made later needs no new table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final

from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.images import ImageSelector, RepositoryPattern
from replicated_proxy.core.selections import ImageSelection, RepositorySelection

SYSTEM_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})


class Reach(IntEnum):
    """How a License comes to cover a namespace, the strongest first."""

    OWN = 0
    EXPLICIT = 1
    WILDCARD = 2


@dataclass(frozen=True, slots=True)
class Definitions:
    """UIDs of the CustomResourceDefinitions of the two kinds.

    Deleting a definition deletes its objects. An object that is absent under another definition than it was last
    read under was therefore not revoked by anybody: it is unknown.
    """

    licenses: str = ""
    applications: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One License as the webhook needs it: no credential, and nothing that changes with each sync.

    Attributes:
        license: `namespace/name`, for explanations.
        uid: tells a License from a later one of the same name.
        created: when the License was created (RFC 3339, UTC); the oldest comes first.
        namespace: its own.
        app_slug: the application in the proxy's path.
        hosts: where its images are pulled from.
        every_namespace: whether an Application bound to it names `"*"`.
        expired: whether it has expired while credentials and rewriting are revoked on expiry.
        retained: whether it has expired and is used all the same.
        excluded_images: never rewritten for it.
        excluded_at_home: likewise, in its own namespace.
        claimed_images, claimed_upstreams: what is its own where only `"*"` covers.
        applications: `namespace/name` of the Applications bound to it.
        definitions: under which CustomResourceDefinitions it was read.
        excludes, excludes_at_home, claims_images, claims_repositories: the same four lists, to be asked about an image.
    """

    license: str
    uid: str
    namespace: str
    app_slug: str
    hosts: Hosts
    every_namespace: bool = False
    expired: bool = False
    retained: bool = False
    excluded_images: tuple[ImageSelector, ...] = ()
    excluded_at_home: tuple[ImageSelector, ...] = ()
    claimed_images: tuple[ImageSelector, ...] = ()
    claimed_upstreams: tuple[RepositoryPattern, ...] = ()
    applications: tuple[str, ...] = ()
    definitions: Definitions = Definitions()
    created: str = ""
    excludes: ImageSelection = field(init=False, repr=False, compare=False)
    excludes_at_home: ImageSelection = field(init=False, repr=False, compare=False)
    claims_images: ImageSelection = field(init=False, repr=False, compare=False)
    claims_repositories: RepositorySelection = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the lists once, for all the images that they will be asked about."""
        object.__setattr__(self, "excludes", ImageSelection(self.excluded_images))
        object.__setattr__(self, "excludes_at_home", ImageSelection(self.excluded_at_home))
        object.__setattr__(self, "claims_images", ImageSelection(self.claimed_images))
        object.__setattr__(self, "claims_repositories", RepositorySelection(self.claimed_upstreams))

    @property
    def age_key(self) -> tuple[str, str]:
        """Sort key "oldest first"; the UID breaks ties."""
        return (self.created, self.uid)

    @property
    def decline(self) -> tuple[bool, bool]:
        """Sort key "the most useful first": one that pulls, then one that is retained, then one that is revoked."""
        return (self.expired, self.retained)


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """What no License reaches, and what namespaces say about themselves.

    Attributes:
        excluded: names: system namespaces, the operator's own, the administrator's, those labelled
            `proxy.kots.io/sync: disabled`.
        excluded_globs: the administrator's patterns (`*`, `?`), matched as the shell does.
        unrewritten: names labelled `proxy.kots.io/rewrite: disabled`: the secret, but no rewriting.
        conflicts: names whose pull secret is not ours.
        claims: name to the application slug that the namespace's labels name.
    """

    excluded: frozenset[str] = SYSTEM_NAMESPACES
    excluded_globs: tuple[str, ...] = ()
    unrewritten: frozenset[str] = frozenset()
    conflicts: frozenset[str] = frozenset()
    claims: Mapping[str, str] = field(default_factory=dict)

    def excludes(self, namespace: str) -> bool:
        """Tell whether no License may cover this namespace."""
        return namespace in self.excluded or any(fnmatchcase(namespace, glob) for glob in self.excluded_globs)


@dataclass(frozen=True, slots=True)
class Covering:
    """One License covering one namespace."""

    route: Route
    reach: Reach


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything the webhook knows.

    Attributes:
        secret_name: the pull secret's name in every namespace.
        routes: the Licenses, oldest first.
        listed: namespace to the positions (in `routes`) of the Licenses whose Applications list it.
        rules: exclusions and what namespaces say about themselves.
    """

    secret_name: str
    routes: tuple[Route, ...] = ()
    listed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rules: NamespaceRules = NamespaceRules()

    def covering(self, namespace: str) -> tuple[Covering, ...]:
        """Return the Licenses that cover a namespace, oldest first, one for each application slug.

        Of two with the same slug one that has not expired stays, then one that is retained before one that is revoked,
        else the namespace's own License, else the one that lists it, else the oldest; the other is shadowed.
        """
        if self.rules.excludes(namespace):
            return ()
        best: dict[str, Covering] = {}
        listed = self.listed.get(namespace, ())
        for position, route in enumerate(self.routes):
            reach = _reach(route, namespace, listed=position in listed)
            if reach is None:
                continue
            held = best.get(route.app_slug)
            if held is None or (route.decline, reach) < (held.route.decline, held.reach):
                best[route.app_slug] = Covering(route, reach)
        if len(best) < 2:
            return tuple(best.values())
        order = {id(route): position for position, route in enumerate(self.routes)}
        return tuple(sorted(best.values(), key=lambda covering: order[id(covering.route)]))

    def names(self, namespace: str) -> bool:
        """Tell whether a License, an Application or a label of the namespace's own names it.

        Of such a one it is known that it exists, or that somebody entitled wants it to; under `"*"` alone nothing is.
        """
        if namespace in self.rules.claims:
            return True
        return any(covering.reach < Reach.WILDCARD for covering in self.covering(namespace))

    def contenders(self, namespace: str, app_slug: str) -> list[Route]:
        """Return all Licenses of an application that reach a namespace: the one that counts, then the shadowed ones."""
        listed = self.listed.get(namespace, ())
        reaching = (
            (route.decline, reach, position)
            for position, route in enumerate(self.routes)
            if route.app_slug == app_slug and (reach := _reach(route, namespace, listed=position in listed)) is not None
        )
        return [self.routes[position] for *_, position in sorted(reaching)]


def _reach(route: Route, namespace: str, *, listed: bool) -> Reach | None:
    """Tell how a License covers a namespace, or None when it does not."""
    if route.namespace == namespace:
        return Reach.OWN
    if listed:
        return Reach.EXPLICIT
    return Reach.WILDCARD if route.every_namespace else None
