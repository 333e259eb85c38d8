"""Answers of registries in memory: bounded, and fair to the namespaces that ask.

An entry belongs to the namespaces that use it and goes when the last of them lets go. When there is no room, whoever
holds most lets go of what it used longest ago: a namespace that holds no more than an equal share never loses anything,
whatever others ask.

Namespaces that the routing table does not name may be made up by whoever reaches the port, in any number. Together they
hold half at most, so named ones keep half whatever anybody makes up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from replicated_proxy.core.askers import is_unnamed
from replicated_proxy.core.visibility import Visibility

_NAMESPACES_SHARE: Final = 20  # A namespace holds at most a twentieth, as the settings say,
_HOSTS_SHARE: Final = 4  # and a host a quarter: Docker Hub has many users.
_UNNAMED_SHARE: Final = 2  # Of the whole, and of each host's part.
_MOST_HOLDERS: Final = 8  # Enough for an entry to count as many people's; more would cost memory for nothing.


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of a repository, or of one tag that its registry does not know.

    Attributes:
        key: the repository, or the whole reference.
        host: the registry.
        visibility: what it said; None where it gave no answer.
        fresh_until: monotonic seconds; from then on it is used while it is asked anew.
        checked: when the registry said so.
        holders: the namespaces that use it, the first one first, as `core/askers.py` calls them.
        unnamed: whether the table names none of them.
    """

    key: str
    host: str
    visibility: Visibility | None
    fresh_until: float
    checked: datetime
    holders: dict[str, None] = field(default_factory=dict)
    unnamed: bool = False


class _Ranking:
    """Who holds how many, and who most; found without looking at all of them, who may be thousands."""

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, None]] = {}
        self.most = 0

    def move(self, namespace: str, before: int, after: int) -> None:
        """Note that a namespace holds one more than before, or one less."""
        if before:
            level = self._levels[before]
            del level[namespace]
            if not level:
                del self._levels[before]
        if after:
            self._levels.setdefault(after, OrderedDict())[namespace] = None
        self.most = max(self.most, after)
        while self.most and self.most not in self._levels:
            self.most -= 1  # Once at most: numbers change by one.

    def first(self) -> str:
        """Return one of those who hold most."""
        return next(iter(self._levels[self.most]))


class _Scope:
    """Who holds what within a limit: of the whole cache, or of one host's part of it.

    Attributes:
        size: how many entries there are.
        unnamed: how many of them no namespace holds that the table names.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._limit_unnamed = max(1, limit // _UNNAMED_SHARE)
        self._held: dict[str, OrderedDict[str, None]] = {}
        self._named, self._invented = _Ranking(), _Ranking()
        self.size = self.unnamed = 0

    def touch(self, namespace: str, key: str) -> None:
        """Note that a namespace uses an entry now."""
        held = self._held.get(namespace)
        if held is None:
            held = self._held[namespace] = OrderedDict()
        if key not in held:
            self._rank(namespace).move(namespace, len(held), len(held) + 1)
        held[key] = None
        held.move_to_end(key)

    def drop(self, namespace: str, key: str) -> None:
        """Note that a namespace lets go of an entry."""
        held = self._held[namespace]
        del held[key]
        self._rank(namespace).move(namespace, len(held) + 1, len(held))
        if not held:
            del self._held[namespace]

    def count(self, namespace: str) -> int:
        """Return how many entries a namespace holds."""
        return len(self._held.get(namespace, ()))

    def oldest(self, namespace: str) -> str:
        """Return what a namespace used longest ago."""
        return next(iter(self._held[namespace]))

    def overfull(self) -> str | None:
        """Return who has to let go of something, if anybody has to: whoever holds most."""
        if self.unnamed > self._limit_unnamed:
            return self._invented.first()
        if self.size > self._limit:
            return max(self._invented, self._named, key=lambda ranking: ranking.most).first()
        return None

    def _rank(self, namespace: str) -> _Ranking:
        """Return where a namespace is ranked."""
        return self._invented if is_unnamed(namespace) else self._named


class VerdictCache:
    """The entries."""

    def __init__(self, most: int, changed: Callable[[], None]) -> None:
        """Take the greatest number of entries, and whom to tell that one came, went or says something else."""
        self._share = max(1, most // _NAMESPACES_SHARE)
        self._host_limit = max(1, most // _HOSTS_SHARE)
        self._changed = changed
        self._entries: dict[str, Entry] = {}
        self._all = _Scope(most)
        self._hosts: dict[str, _Scope] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Yield all of them, in no order that means anything."""
        return iter(self._entries.values())

    def get(self, key: str, namespace: str) -> Entry | None:
        """Return an entry for a namespace, which from then on is one of its holders."""
        entry = self._entries.get(key)
        if entry is not None:
            self._hold(entry, namespace)
        return entry

    def peek(self, key: str) -> Entry | None:
        """Return an entry; nobody holds it for that."""
        return self._entries.get(key)

    def put(self, entry: Entry, namespace: str) -> None:
        """Take in what is known now, in place of what was."""
        before = self._entries.get(entry.key)
        if before is not None:
            entry.holders, entry.unnamed = before.holders, before.unnamed
        else:
            self._all.size += 1
            self._scope(entry.host).size += 1
        self._entries[entry.key] = entry
        self._hold(entry, namespace)
        if before is None:
            self._make_room(self._scope(entry.host))
            self._make_room(self._all)
        if before is None or before.visibility is not entry.visibility:
            self._changed()

    def _scope(self, host: str) -> _Scope:
        """Return a host's part."""
        scope = self._hosts.get(host)
        if scope is None:
            scope = self._hosts[host] = _Scope(self._host_limit)
        return scope

    def _hold(self, entry: Entry, namespace: str) -> None:
        """Make a namespace a holder, as of now; over its share it lets go of what it used longest ago."""
        if namespace not in entry.holders:
            if len(entry.holders) >= _MOST_HOLDERS and not self._make_place(entry, namespace):
                return
            entry.holders[namespace] = None
            self._recount(entry)
        self._all.touch(namespace, entry.key)
        self._hosts[entry.host].touch(namespace, entry.key)
        if self._all.count(namespace) > self._share:
            self._let_go(namespace, self._all.oldest(namespace))

    def _recount(self, entry: Entry) -> None:
        """Take note of whether an entry is held by none that the table names; without any holder it is about to go."""
        unnamed = bool(entry.holders) and all(map(is_unnamed, entry.holders))
        if unnamed is not entry.unnamed:
            entry.unnamed = unnamed
            for scope in (self._all, self._hosts[entry.host]):
                scope.unnamed += 1 if unnamed else -1

    def _make_place(self, entry: Entry, namespace: str) -> bool:
        """Let the holder of an entry that holds most give its place to a namespace that holds less, if there is one.

        Otherwise whoever came first could let go of what everybody uses. By one it is not less: they would take turns.
        """
        most = max(entry.holders, key=lambda holder: (is_unnamed(holder), self._all.count(holder)))
        if (is_unnamed(most), self._all.count(most)) <= (is_unnamed(namespace), self._all.count(namespace) + 1):
            return False
        self._let_go(most, entry.key)
        return True

    def _make_room(self, scope: _Scope) -> None:
        """Let whoever holds most let go, until there is room."""
        while (namespace := scope.overfull()) is not None:
            self._let_go(namespace, scope.oldest(namespace))

    def _let_go(self, namespace: str, key: str) -> None:
        """Take an entry from a namespace; without any other holder it is forgotten."""
        entry = self._entries[key]
        scope = self._hosts[entry.host]
        del entry.holders[namespace]
        self._all.drop(namespace, key)
        scope.drop(namespace, key)
        self._recount(entry)
        if entry.holders:
            return
        del self._entries[key]
        self._all.size -= 1
        scope.size -= 1
        if not scope.size:
            del self._hosts[entry.host]
        self._changed()
