"""The routing table that reviews are decided by: the newest one that could be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from replicated_proxy.core.objects import Body, text_at
from replicated_proxy.core.routes import Covering, RoutingTable
from replicated_proxy.core.routing_documents import DATA_KEY, InvalidRoutingTable, decode_table
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import InvalidVerdicts, decode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict

_log = logging.getLogger(__name__)
_MOST_NAMESPACES: Final = 10_000
_LONGEST_NAMESPACE: Final = 63  # RFC 1123 label; anything longer is nobody's namespace.


@dataclass(frozen=True, slots=True)
class RememberingTable(RoutingTable):
    """A table that looks a namespace up once; the answer goes with the table, so it is never stale.

    Bounded, because whoever reaches the port chooses the names.
    """

    _known: dict[str, tuple[Covering, ...]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, table: RoutingTable) -> RememberingTable:
        """Wrap a table."""
        return cls(**{item.name: getattr(table, item.name) for item in fields(RoutingTable)})

    def covering(self, namespace: str) -> tuple[Covering, ...]:
        """Return the Licenses that cover a namespace, as `RoutingTable.covering`; none where no namespace has the name.

        Such a name may have megabytes, and what is learned of images is remembered with the namespace.
        """
        if len(namespace) > _LONGEST_NAMESPACE:
            return ()
        known = self._known.get(namespace)
        if known is not None:
            return known
        # `super()` without arguments does not work in a dataclass with slots (the class is made anew).
        found = RoutingTable.covering(self, namespace)
        if len(self._known) >= _MOST_NAMESPACES:
            self._known.clear()
        self._known[namespace] = found
        return found


class TableHolder:
    """Holds the last good table; a deleted, damaged or newer one changes nothing: stale rules beat none.

    Attributes:
        table: the one in use.
        outdated: what is published now could not be taken over.
    """

    def __init__(self) -> None:
        self.table: RoutingTable | None = None
        self.outdated = False

    def update(self, config_map: Body | None) -> None:
        """Take over what the ConfigMap says now."""
        self.outdated = True
        if config_map is None:
            _log.warning("the routing table's ConfigMap does not exist; the last good table stays in use")
            return
        try:
            self.table = RememberingTable.of(decode_table(text_at(config_map, "data", DATA_KEY)))
        except InvalidRoutingTable as error:
            _log.warning("routing table not taken over, the last good one stays in use: %s", error)
            return
        self.outdated = False
        _log.info("routing table taken over", extra={"routes": len(self.table.routes)})

    def problems(self) -> list[str]:
        """Say what keeps reviews from being decided."""
        return [] if self.table is not None else ["no routing table has been read yet"]


class VerdictTaker:
    """Hands on what other replicas learned of registries, as it stands beside the table; read when it changes."""

    def __init__(self, adopt: Callable[[Iterable[RepositoryVerdict]], None]) -> None:
        self._adopt = adopt
        self._text = ""

    def update(self, config_map: Body | None) -> None:
        """Take over what the ConfigMap says now; nothing is forgotten because it says nothing."""
        text = text_at(config_map, "data", VERDICTS_KEY)
        if text == self._text:
            return
        self._text = text
        try:
            found = decode_verdicts(text)
        except InvalidVerdicts as error:
            _log.warning("verdicts of other replicas not taken over: %s", error)
            return
        self._adopt(found)
        _log.info("verdicts of other replicas taken over", extra={"verdicts": len(found)})
