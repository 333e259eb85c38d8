"""What is remembered, for whom, and who has to give way."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.verdict_cache import Entry, VerdictCache

NOW = datetime(2026, 9, 1, tzinfo=UTC)
MOST = 40
SHARE = MOST // 20
HOSTS_SHARE = MOST // 4


class Cache:
    """A cache and what it told of itself."""

    def __init__(self, most: int = MOST) -> None:
        self.changes = 0
        self.cache = VerdictCache(most, self._change)

    def _change(self) -> None:
        """Count."""
        self.changes += 1

    def put(self, key: str, namespace: str, visibility: Visibility | None = Visibility.PUBLIC) -> None:
        """Remember something."""
        self.cache.put(Entry(key, key.partition("/")[0], visibility, 0.0, NOW), namespace)

    def names(self) -> set[str]:
        """Return what is remembered."""
        return {entry.key for entry in self.cache}


def test_entry_is_found_until_nobody_holds_it() -> None:
    """What was put in is there, and is replaced by what is put in later."""
    cache = Cache()
    cache.put("a.example/x", "one")
    cache.put("a.example/x", "one", Visibility.PRIVATE)
    found = cache.cache.get("a.example/x", "one")
    assert found is not None
    assert found.visibility is Visibility.PRIVATE
    assert len(cache.cache) == 1
    assert cache.cache.get("a.example/y", "one") is None


def test_namespace_over_its_share_loses_what_it_used_longest_ago() -> None:
    """A twentieth is a namespace's; used again, an entry is not the oldest any more."""
    cache = Cache()
    for number in range(SHARE):
        cache.put(f"{number}.example/x", "one")
    cache.cache.get("0.example/x", "one")
    cache.put("new.example/x", "one")
    assert cache.names() == {"0.example/x", "new.example/x"}


def test_entry_of_several_namespaces_goes_with_the_last() -> None:
    """What one namespace lets go of stays while another uses it."""
    cache = Cache()
    cache.put("shared.example/x", "one")
    cache.cache.get("shared.example/x", "other")
    for number in range(SHARE):
        cache.put(f"{number}.example/x", "one")
    assert "shared.example/x" in cache.names()
    for number in range(SHARE):
        cache.put(f"other-{number}.example/x", "other")
    assert "shared.example/x" not in cache.names()


def test_host_has_a_quarter() -> None:
    """A host with many repositories leaves room for others, whoever asks about it; its own biggest asker gives way."""
    cache = Cache()
    cache.put("other.example/x", "one")
    for number in range(HOSTS_SHARE + 5):
        cache.put(f"big.example/x{number}", f"n{number}")
    assert sum(key.startswith("big.example/") for key in cache.names()) == HOSTS_SHARE
    assert "other.example/x" in cache.names()


def test_every_change_is_told_and_nothing_else() -> None:
    """Coming, going and another word are changes; the same again and a look are none."""
    cache = Cache()
    cache.put("a.example/x", "one")
    assert cache.changes == 1
    cache.put("a.example/x", "one")
    cache.cache.get("a.example/x", "other")
    assert cache.changes == 1
    cache.put("a.example/x", "one", Visibility.PRIVATE)
    assert cache.changes == 2
    for number in range(SHARE + 1):
        cache.put(f"{number}.example/x", "two")
    assert cache.changes == 2 + SHARE + 1 + 1


def test_smallest_cache_remembers_one() -> None:
    """With room for a single answer there is one."""
    cache = Cache(most=1)
    for namespace in ("one", "two", "one"):
        cache.put(f"{namespace}.example/x", namespace)
        assert len(cache.cache) == 1


# Hosts, repositories and namespaces of a hostile history.
_STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=120
)


@given(_STEPS)
def test_bounds_hold_whatever_is_asked(steps: list[tuple[bool, int, int, int]]) -> None:
    """No history makes the cache larger than it may be, all in all, of a host and of a namespace."""
    cache = Cache()
    for is_put, host, path, namespace in steps:
        key = f"h{host}.example/p{path}"
        if is_put:
            cache.put(key, f"n{namespace}")
        else:
            cache.cache.get(key, f"n{namespace}")
        hosts: dict[str, int] = defaultdict(int)
        holders: dict[str, int] = defaultdict(int)
        for entry in cache.cache:
            assert entry.holders
            hosts[entry.host] += 1
            for holder in entry.holders:
                holders[holder] += 1
        assert len(cache.cache) <= MOST
        assert max(hosts.values(), default=0) <= HOSTS_SHARE
        assert max(holders.values(), default=0) <= SHARE


@given(_STEPS, st.integers(1, SHARE))
def test_hostile_namespace_takes_nothing_from_others(steps: list[tuple[bool, int, int, int]], own: int) -> None:
    """Whatever one namespace asks, and of whichever hosts, what another holds within its share stays."""
    cache = Cache()
    mine = {f"h{number}.example/mine" for number in range(own)}
    for key in mine:
        cache.put(key, "victim")
    for is_put, host, path, _ in steps:
        key = f"h{host}.example/p{path}"
        if is_put:
            cache.put(key, "hostile")
        else:
            cache.cache.get(key, "hostile")
        for key in mine:
            cache.cache.get(key, "hostile")
    assert mine <= cache.names()


@given(st.integers(2, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 30)), max_size=200))
def test_equal_share_is_never_lost(namespaces: int, steps: list[tuple[int, int]]) -> None:
    """Who holds no more than an equal part of the room loses nothing, though many namespaces ask for much."""
    most = 24
    cache = Cache(most)
    cache.cache._share = most  # The law of the whole room, without that of a single namespace's share.
    cache.cache._host_limit = most
    mine = {f"h{number}.example/mine" for number in range(most // (namespaces + 1))}
    for key in mine:
        cache.put(key, "victim")
    for namespace, path in steps:
        cache.put(f"h.example/{path}-{namespace % namespaces}", f"n{namespace % namespaces}")
    assert mine <= cache.names()


def test_first_users_of_an_entry_do_not_decide_for_all_how_long_it_stays() -> None:
    """Whoever fills an entry's places and then asks for much else loses the place to one who asks for less."""
    most = 200
    cache, first = Cache(most), [f"first{number}" for number in range(8)]
    cache.put("shared.example/x", first[0])
    for namespace in first:
        assert cache.cache.get("shared.example/x", namespace) is not None
    for number in range(most // 20 + 2):
        for namespace in first:
            cache.put(f"{namespace}.example/{number}", namespace)
        cache.cache.get("shared.example/x", "modest")
    assert "shared.example/x" in cache.names()


def test_invented_namespaces_hold_half_at_most() -> None:
    """However many namespaces nothing but `"*"` covers, what named ones hold stays, of the whole and of a host."""
    cache = Cache()
    for number in range(MOST // 2):
        cache.put(f"{number}.example/x", f"named-{number}")
    for number in range(HOSTS_SHARE // 2):
        cache.put(f"big.example/x{number}", f"named-{number}")
    kept = cache.names()
    for number in range(10 * MOST):
        cache.put(f"invented-{number}.example/x", f"*n{number}")
        cache.put(f"big.example/invented-{number}", f"*m{number}")

    assert len(cache.cache) <= MOST
    assert len(cache.names() - kept) <= MOST // 2
    assert {name for name in kept if name.startswith("big")} <= cache.names()


def test_named_namespace_takes_the_place_of_an_invented_one() -> None:
    """Of an entry's few holders invented ones give way to a named one, and never the other way round."""
    cache = Cache()
    cache.put("shared.example/x", "*n0")
    for number in range(20):
        cache.cache.get("shared.example/x", f"*n{number}")
    cache.cache.get("shared.example/x", "app")
    for number in range(20, 40):
        cache.cache.get("shared.example/x", f"*n{number}")
    (entry,) = cache.cache

    assert "app" in entry.holders
    assert not entry.unnamed


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(["a", "b", "*c", "*d", "*e", "*f"]), st.integers(0, 40)), max_size=200
    )
)
def test_account_of_what_is_held_stays_right(steps: list[tuple[bool, str, int]]) -> None:
    """Whatever happens, the count of entries that no named namespace holds is their number, and within its limit."""
    cache = Cache(8)
    for puts, namespace, number in steps:
        key = f"h{number % 3}.example/x{number}"
        if puts:
            cache.put(key, namespace)
            assert cache.cache._all.unnamed <= 4
        else:
            cache.cache.get(key, namespace)
        unnamed = [entry for entry in cache.cache if all(holder.startswith("*") for holder in entry.holders)]
        assert cache.cache._all.unnamed == len(unnamed) == sum(entry.unnamed for entry in cache.cache)
        assert sum(scope.unnamed for scope in cache.cache._hosts.values()) == len(unnamed)
