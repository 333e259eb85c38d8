"""Which bytes belong into which namespace: the routing table, with the credentials that it does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replicated_proxy.core.coverage import TablePlan
from replicated_proxy.core.credentials import RegistryCredentials, encode_docker_config, recover_credentials
from replicated_proxy.core.licenses import License
from replicated_proxy.core.pull_secrets import DesiredSecret, ObservedSecret
from replicated_proxy.core.routes import Route


@dataclass(frozen=True, slots=True)
class SecretContents:
    """Which bytes belong into which namespace.

    Attributes:
        plan: the routing table and which Licenses are held.
        licenses: by UID.
    """

    plan: TablePlan
    licenses: Mapping[str, License]

    def decides_like(self, other: SecretContents) -> bool:
        """Tell whether another plan puts the same bytes into the same namespaces.

        Claims and rewriting opt-outs of namespaces have no part in that: a namespace that carries such a label
        must not make every other one be looked at.
        """
        mine, theirs = self.plan, other.plan
        return (
            (self.licenses, mine.held, mine.table.routes, mine.table.listed)
            == (other.licenses, theirs.held, theirs.table.routes, theirs.table.listed)
            and mine.table.rules.excluded == theirs.table.rules.excluded
            and mine.table.rules.excluded_globs == theirs.table.rules.excluded_globs
        )

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
        Licenses are written beside them as usual, so that pausing one holds up no revocation of another.
        """
        credentials = {
            item.route.uid: found
            for item in self.plan.table.covering(namespace)
            if (found := self._credentials(item.route, observed))
        }
        if not credentials:
            return None
        return DesiredSecret(encode_docker_config(tuple(credentials.values())), tuple(credentials))

    def _credentials(self, route: Route, observed: ObservedSecret | None) -> RegistryCredentials | None:
        """Return a License's credential: its own or, while it is held, the one that the copy has."""
        if route.uid not in self.plan.held:
            lic = self.licenses.get(route.uid)
            return RegistryCredentials.of(lic.license_id, route) if lic else None
        if observed is None or observed.content is None or route.uid not in observed.licenses:
            return None
        return recover_credentials(observed.content, route, alone=len(observed.licenses) == 1)
