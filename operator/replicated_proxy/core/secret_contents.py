"""Which bytes belong into which namespace: the routing table, with the credentials that it does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicated_proxy.core.coverage import TablePlan
from replicated_proxy.core.credentials import RegistryCredentials, encode_docker_config, recover_credentials
from replicated_proxy.core.licenses import License
from replicated_proxy.core.pull_secrets import (
    Action,
    DesiredSecret,
    ObservedSecret,
    Removal,
    SecretPlan,
    plan_secret,
)
from replicated_proxy.core.routes import Route
from replicated_proxy.core.validity import ExpiryStanding, freezes


@dataclass(frozen=True, slots=True)
class SecretContents:
    """Which bytes belong into which namespace.

    Attributes:
        plan: the routing table and which Licenses are held.
        licenses: by UID.
    """

    plan: TablePlan
    licenses: Mapping[str, License]
    # The same few for thousands of namespaces: made once, by the UIDs of the Licenses in their order.
    _made: dict[tuple[str, ...], DesiredSecret | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def decides_like(self, other: SecretContents) -> bool:
        """Tell whether another plan puts the same bytes into the same namespaces.

        Claims and rewriting opt-outs of namespaces have no part in that: a namespace that carries such a label
        must not make every other one be looked at.
        """
        mine, theirs = self.plan, other.plan
        return (
            (self.licenses, mine.held, mine.oversized, mine.unknown, mine.table.routes, mine.table.listed)
            == (other.licenses, theirs.held, theirs.oversized, theirs.unknown, theirs.table.routes, theirs.table.listed)
            and self._revoked() == other._revoked()
            and mine.table.rules.excluded == theirs.table.rules.excluded
            and mine.table.rules.excluded_globs == theirs.table.rules.excluded_globs
        )

    def plan_copy(
        self, namespace: str, observed: ObservedSecret | None, *, opted_out: bool = False
    ) -> SecretPlan | None:
        """Decide what happens to a namespace's copy; None leaves it as it is, for the sake of a License that is kept.

        Args:
            namespace: the namespace.
            observed: the Secret of our name there, if any.
            opted_out: the namespace asks by label to be left out; exclusions beat everything else.
        """
        if opted_out or self.plan.table.rules.excludes(namespace):
            return plan_secret(namespace, None, observed, Removal.EXCLUDED)
        desired = self.desired(namespace, observed)
        foreign = observed is not None and observed.foreign
        if not foreign and self._leaves(namespace, observed, desired):
            return None
        if foreign and desired is None and self.is_held(namespace, observed):
            return SecretPlan(Action.CONFLICT, namespace, observed)
        if desired is not None:
            return plan_secret(namespace, desired, observed)
        return plan_secret(namespace, None, observed, self._removal(namespace, observed))

    def _removal(self, namespace: str, observed: ObservedSecret | None) -> Removal:
        """Say why a copy would go: the Licenses that it notes expired, were deleted, or cover the namespace no more."""
        noted = set(observed.licenses) if observed else set()
        if any(item.route.expired for item in self.plan.table.covering(namespace)):
            return Removal.EXPIRED
        return Removal.NOT_COVERED if noted & self.licenses.keys() else Removal.LICENSE_DELETED

    def _leaves(self, namespace: str, observed: ObservedSecret | None, desired: DesiredSecret | None) -> bool:
        """Tell whether a copy is left alone.

        It is when only a held License covers the namespace and has nothing readable there. And when the copy notes a
        License whose place in the table is not known: one that takes too much of it, that cannot be read now, or whose
        row had to be made anew after the published table was lost. Nobody revoked those, unless they have ended and
        the policy does.
        """
        if desired is None and self.is_held(namespace, observed):
            return True
        noted = frozenset(observed.licenses) if observed else frozenset()
        if not noted:
            return False
        oversized = self.plan.oversized & self.licenses.keys() - self._revoked()
        kept = noted & (self._frozen() | self.plan.unknown | oversized)
        placed = {route.uid for route in self.plan.table.routes}
        return bool(kept - placed) or (desired is None and bool(kept))

    def is_held(self, namespace: str, observed: ObservedSecret | None = None) -> bool:
        """Tell whether a frozen or unknown License covers the namespace, and may have entries in its copy.

        A copy that notes only other Licenses has none of its entries: their revocation is not held up.
        """
        noted = observed.licenses if observed else ()
        held = {item.route.uid for item in self.plan.table.covering(namespace)} & self.plan.held
        return bool(held.intersection(noted)) if noted else bool(held)

    def desired(self, namespace: str, observed: ObservedSecret | None) -> DesiredSecret | None:
        """Return the pull secret of a namespace, or None when no License covers it.

        A held License keeps the entries that it has in the copy, and gets none where it has none; the other
        Licenses are written beside them as usual, so that pausing one holds up no revocation of another. Those that
        have expired and are retained come last: whole hosts belong to one that still pulls.
        """
        routes = self._routes(namespace, observed)
        uids = tuple(route.uid for route in routes)
        if not self.plan.held.isdisjoint(uids):
            return self._make(routes, observed)  # What a copy has of them is its own.
        if uids not in self._made:
            self._made[uids] = self._make(routes, None)
        return self._made[uids]

    def _make(self, routes: list[Route], observed: ObservedSecret | None) -> DesiredSecret | None:
        """Write down the credentials of some Licenses, as far as they give any."""
        credentials = {route.uid: found for route in routes if (found := self._credentials(route, observed))}
        if not credentials:
            return None
        return DesiredSecret(encode_docker_config(tuple(credentials.values())), tuple(credentials))

    def _routes(self, namespace: str, observed: ObservedSecret | None) -> list[Route]:
        """Return whose credentials belong into a namespace: the oldest first, those that have ended last.

        Beside those that cover it these are the frozen ones that its copy notes: a row that had to be made anew, after
        the published table was lost, may reach less than the one that was in effect.
        """
        covering = [self._giver(item.route, namespace, observed) for item in self.plan.table.covering(namespace)]
        applications = {route.app_slug for route in covering}
        noted = frozenset(observed.licenses) if observed else frozenset()
        kept = noted & self._frozen() if noted else noted
        if not covering and kept == noted:
            return []  # There is nothing to write beside those.
        unlisted = (
            route for route in self.plan.table.routes if route.uid in kept and route.app_slug not in applications
        )
        return sorted((*covering, *unlisted), key=lambda route: (route.retained, route.age_key))

    def _giver(self, route: Route, namespace: str, observed: ObservedSecret | None) -> Route:
        """Return whose credentials count for an application: the License's that the table chose, if it can give any.

        One that is held gives none where it has none. Then the next one does: a frozen License must not take over from
        one that has ended and is retained, nor keep a License that works out of a new namespace.
        """
        noted = observed.licenses if observed else ()
        untold = observed is not None and not noted
        if untold or route.uid not in self.plan.held or route.uid in noted:
            return route
        others = self.plan.table.contenders(namespace, route.app_slug)
        able = (one for one in others if not one.expired and (one.uid not in self.plan.held or one.uid in noted))
        return next(able, route)

    def _frozen(self) -> frozenset[str]:
        """Return the UIDs of the Licenses for which nothing is written or deleted."""
        return frozenset(uid for uid, lic in self.licenses.items() if freezes(lic))

    def _revoked(self) -> frozenset[str]:
        """Return the UIDs of the Licenses whose end takes their credentials back, in the table or not."""
        ended = (uid for uid, standing in self.plan.standings.items() if standing is ExpiryStanding.REVOKED)
        return frozenset(ended) - self._frozen()

    def _credentials(self, route: Route, observed: ObservedSecret | None) -> RegistryCredentials | None:
        """Return a License's credential: its own or, while it is held, the one that the copy has; none once revoked."""
        if route.expired:
            return None
        if route.uid not in self.plan.held:
            lic = self.licenses.get(route.uid)
            return RegistryCredentials.of(lic.license_id, route) if lic else None
        if observed is None or observed.content is None:
            return None
        if observed.licenses and route.uid not in observed.licenses:
            return None
        # Without a note (somebody took it away) only the path key tells whose an entry is.
        return recover_credentials(observed.content, route, alone=len(observed.licenses) == 1)
