"""The caches: listings, events and answers come in any order, and the truth comes out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import SECRET_NAME, Json, a_license_body, an_application_body, ids, versioned
from replicated_proxy.controller.world import DELETED, Store, World
from replicated_proxy.core.objects import Body, text_at
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.core.routes import Definitions
from replicated_proxy.kube.client import Listing

DELETION = "2026-01-02T00:00:00Z"


def a_store(heard: list[str] | None = None, *, defined: bool = True) -> Store[str]:
    """Return a cache of words by name that notes what it reads; the word `unreadable` makes the reader fail."""
    heard = [] if heard is None else heard

    def read(body: Body) -> str:
        if text_at(body, "word") == "unreadable":
            raise RecursionError(f"the secret content of {body}")
        heard.append(text_at(body, "word"))
        return heard[-1]

    return Store("Word", read, lambda body: text_at(body, "metadata", "name"), defined=defined)


def a_word(word: str, version: int, name: str = "x") -> Json:
    """Return an object that says a word since a version."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "word": word}


def a_listing(as_of: int, *items: Json) -> Listing:
    """Return a complete listing."""
    return Listing(items, str(as_of))


def a_world(*honoured: str) -> World:
    """Return empty caches."""
    return World(Ownership("operator-system/operator", SECRET_NAME), frozenset(honoured))


Step = Callable[[Store[str]], Any]


def modified(word: str, version: int) -> Step:
    """Return the step of an event, or of the answer to a write of our own."""
    return lambda store: store.apply("MODIFIED", a_word(word, version))


def deleted(version: int) -> Step:
    """Return the step of a deletion's event."""
    return lambda store: store.apply(DELETED, a_word("last", version))


def listed(as_of: int, *items: Json) -> Step:
    """Return the step of a listing that lands."""
    return lambda store: store.take(a_listing(as_of, *items))


def forgotten(store: Store[str]) -> None:
    """Delete the object ourselves."""
    store.forget("x", store.get("x"))


def forgotten_late(store: Store[str]) -> None:
    """Learn now that the object of an earlier state was deleted by ourselves."""
    store.forget("x", "a")


INTERLEAVINGS: list[tuple[str, list[Step], str | None]] = [
    ("event", [modified("a", 5)], "a"),
    ("older event after a newer one", [modified("b", 6), modified("a", 5)], "b"),
    ("listing after a newer event", [modified("b", 8), listed(6, a_word("a", 5))], "b"),
    ("listing without what came later", [modified("b", 8), listed(6)], "b"),
    ("listing without what it should have", [modified("a", 5), listed(6)], None),
    ("listing after a newer deletion", [modified("a", 5), deleted(8), listed(6, a_word("a", 5))], None),
    ("listing after a newer deletion of what nobody knew", [deleted(8), listed(6, a_word("a", 5))], None),
    ("listing after our own deletion", [modified("a", 5), forgotten, listed(6, a_word("a", 5))], None),
    ("echo after our own deletion", [modified("a", 5), forgotten, modified("a", 5)], None),
    ("event older than a deletion", [modified("a", 5), deleted(8), modified("b", 7)], None),
    ("event older than a listing without it", [modified("a", 5), listed(9), modified("b", 7)], None),
    ("answer after deletion and listing", [modified("a", 5), deleted(8), listed(9), modified("b", 7)], None),
    ("deletion older than what is known", [modified("b", 9), deleted(8)], "b"),
    ("made anew", [modified("a", 5), deleted(8), modified("b", 9)], "b"),
    ("made anew after our own deletion", [modified("a", 5), forgotten, modified("b", 9), deleted(8)], "b"),
    ("made anew before the answer to our own deletion", [modified("a", 5), modified("b", 9), forgotten_late], "b"),
    ("kept by a finalizer after our own deletion", [modified("a", 5), modified("a*", 6), forgotten_late], "a*"),
    ("made anew before the listing", [deleted(8), modified("b", 9), listed(6, a_word("a", 5))], "b"),
    ("made anew in the listing", [deleted(8), listed(12, a_word("b", 9))], "b"),
    ("made anew after a listing", [listed(9), modified("b", 10)], "b"),
    ("deleted after the listing", [listed(6, a_word("a", 5)), deleted(8)], None),
]


@pytest.mark.parametrize(("steps", "expected"), [row[1:] for row in INTERLEAVINGS], ids=ids(INTERLEAVINGS))
def test_newest_knowledge_wins(steps: list[Step], expected: str | None) -> None:
    """Whatever the order of arrival, the cache says what was true last; what is gone stays gone."""
    store = a_store()
    for step in steps:
        step(store)

    assert expected == store.get("x")
    assert ([] if expected is None else ["x"]) == list(store.keys())


READINGS: list[tuple[str, bool, list[Step], str, list[str]]] = [
    ("echo", False, [modified("a", 5), modified("b", 5)], "a", ["a"]),
    ("echo of a kind with a definition", True, [modified("a", 5), modified("b", 5)], "b", ["a", "b"]),
    ("no version", False, [modified("a", 0), modified("b", 0)], "b", ["a", "b"]),
    ("newer", False, [modified("a", 5), modified("b", 6)], "b", ["a", "b"]),
    ("listing", False, [modified("a", 5), listed(6, a_word("b", 5))], "b", ["a", "b"]),
    ("unreadable", False, [modified("a", 4), modified("unreadable", 5), modified("b", 5)], "b", ["a", "b"]),
]


@pytest.mark.parametrize(("defined", "steps", "known", "read"), [row[1:] for row in READINGS], ids=ids(READINGS))
def test_known_version_is_not_read_again(*, defined: bool, steps: list[Step], known: str, read: list[str]) -> None:
    """The event of a write whose answer is known costs nothing, unless a definition decides how a version reads."""
    heard: list[str] = []
    store = a_store(heard, defined=defined)
    for step in steps:
        step(store)

    assert (known, read) == (store.get("x"), heard)


def test_listing_tells_what_was_other_than_known() -> None:
    """New, changed and vanished objects are named; what an event had told already is not."""
    store = a_store()
    store.take(a_listing(5, a_word("same", 1, "same"), a_word("a", 2, "changed"), a_word("a", 3, "vanished")))
    store.apply(DELETED, a_word("a", 8, "told"))
    found = store.take(
        a_listing(
            9, a_word("same", 1, "same"), a_word("b", 7, "changed"), a_word("a", 6, "new"), a_word("a", 4, "told")
        )
    )
    expected = {"changed", "vanished", "new"}

    assert expected == found


def test_restored_history_is_believed() -> None:
    """After an etcd was restored, versions start again from below: what the listing says counts."""
    store = a_store()
    store.take(a_listing(900, a_word("new", 890), a_word("gone", 880, "y")))
    changed = store.take(a_listing(510, a_word("old", 503)))

    assert {"x", "y"} == changed
    assert (store.get("x"), store.get("y")) == ("old", None)


def test_deletions_are_not_remembered_for_ever() -> None:
    """A listing made after a deletion says the same, so that the memory of it ends."""
    store = a_store()
    for number in range(100):
        store.apply(DELETED, a_word("a", number + 1, f"x-{number}"))
    store.take(a_listing(60))
    remembered = len(store._gone)
    store.take(a_listing(200))

    assert (remembered, len(store._gone)) == (40, 0)


@pytest.mark.parametrize("by_listing", [True, False], ids=["listing", "event"])
def test_unreadable_object_harms_no_other(caplog: pytest.LogCaptureFixture, *, by_listing: bool) -> None:
    """An object that the reader fails on stays as it was known, the log names it, and never what is in it."""
    store = a_store()
    store.apply("ADDED", a_word("known", 1))
    bodies = [a_word("unreadable", 2), a_word("unreadable", 3, "y"), a_word("good", 4, "z")]

    with caplog.at_level(logging.ERROR):
        if by_listing:
            store.take(a_listing(9, *bodies))
        else:
            for body in bodies:
                store.apply("MODIFIED", body)

    assert [(key, store.get(key)) for key in store.keys()] == [("x", "known"), ("z", "good")]  # noqa: SIM118
    assert [record.getMessage()[:6] for record in caplog.records] == ["Word x", "Word y"]
    assert "content" not in caplog.text


class Cluster:
    """A cluster of words with everything on its way from it: what a controller's cache has to cope with."""

    def __init__(self) -> None:
        self.version = 1
        self.truth: dict[str, Json] = {}
        self.events: list[tuple[str | None, Json]] = []
        self.answers: list[Json] = []
        self.farewells: list[tuple[str, str | None]] = []
        self.listing: Listing | None = None
        self.store = a_store()

    def write(self, name: str, *, ours: bool) -> None:
        """Create or change an object; the answer to a write of ours comes by its own way."""
        self.version += 1
        body = a_word(f"word {self.version}", self.version, name)
        self.truth[name] = body
        self.events.append(("MODIFIED", body))
        if ours:
            self.answers.append(body)

    def delete(self, name: str, *, ours: bool) -> None:
        """Delete an object; the answer to a deletion of ours comes by its own way, too."""
        if self.truth.pop(name, None) is None:
            return
        self.version += 1
        self.events.append((DELETED, a_word("deleted", self.version, name)))
        if ours:
            self.farewells.append((name, self.store.get(name)))

    def begin_listing(self, *, other_kinds: bool) -> None:
        """Ask for a listing, unless one is on its way; versions grow by objects of other kinds as well."""
        self.version += other_kinds
        if self.listing is None:
            self.listing = a_listing(self.version, *copy.deepcopy(list(self.truth.values())))

    def land_listing(self) -> None:
        """Take in the listing that is on its way."""
        if self.listing is not None:
            self.store.take(self.listing)
            self.listing = None

    def deliver(self) -> None:
        """Take in the next event; they come in order."""
        if self.events:
            self.store.apply(*self.events.pop(0))

    def answer(self, number: int) -> None:
        """Take in the answer to one of our writes; they come in any order."""
        if self.answers:
            self.store.apply("MODIFIED", self.answers.pop(number % len(self.answers)))

    def forget(self, number: int) -> None:
        """Take in the answer to one of our deletions; they come in any order."""
        if self.farewells:
            self.store.forget(*self.farewells.pop(number % len(self.farewells)))

    def relist_by_kopf(self) -> None:
        """Lose what the watch had still to say: kopf lists anew and says nothing of what is gone."""
        self.events = [(None, body) for body in self.truth.values()]

    def settle(self) -> None:
        """Let everything arrive that is on its way."""
        self.land_listing()
        while self.answers:
            self.answer(0)
        while self.farewells:
            self.forget(0)
        while self.events:
            self.deliver()

    def compare(self) -> None:
        """Check that the cache says what is true."""
        expected = {name: body["word"] for name, body in self.truth.items()}
        assert expected == {name: self.store.get(name) for name in self.store.keys()}  # noqa: SIM118


names = st.sampled_from(["x", "y"])
faithful_steps = st.one_of(
    st.builds(lambda name, ours: lambda cluster: cluster.write(name, ours=ours), names, st.booleans()),
    st.builds(lambda name, ours: lambda cluster: cluster.delete(name, ours=ours), names, st.booleans()),
    st.builds(lambda others: lambda cluster: cluster.begin_listing(other_kinds=others), st.booleans()),
    st.builds(lambda number: lambda cluster: cluster.answer(number), st.integers(0, 5)),
    st.builds(lambda number: lambda cluster: cluster.forget(number), st.integers(0, 5)),
    st.sampled_from([Cluster.land_listing, Cluster.deliver]),
)


@settings(max_examples=1_000)
@given(st.lists(faithful_steps, max_size=40))
def test_cache_ends_at_the_truth(steps: list[Callable[[Cluster], None]]) -> None:
    """However listings, events, answers and our own deletions interleave, at the end the cache is the truth."""
    cluster = Cluster()
    for step in steps:
        step(cluster)
    cluster.settle()

    cluster.compare()


@settings(max_examples=1_000)
@given(st.lists(st.just(Cluster.relist_by_kopf) | faithful_steps, max_size=40))
def test_listing_heals_what_a_broken_watch_lost(steps: list[Callable[[Cluster], None]]) -> None:
    """When events got lost, one more listing makes the cache the truth."""
    cluster = Cluster()
    for step in steps:
        step(cluster)
    cluster.settle()
    cluster.begin_listing(other_kinds=False)
    cluster.settle()

    cluster.compare()


def test_world_is_complete_when_all_four_kinds_were_listed() -> None:
    """Three listings of four prove nothing."""
    world = a_world()
    seen = []
    for store in (world.licenses, world.applications, world.namespaces, world.secrets):
        seen.append(world.complete)
        store.take(a_listing(1))
    expected = [False, False, False, False, True]

    assert expected == [*seen, world.complete]


def test_sources_are_what_counts_of_licenses_and_applications() -> None:
    """Unreadable Licenses and namespaces that are not honoured are left out; the definitions stand beside."""
    world = a_world("app", "other")
    world.definitions = Definitions("one", "two")
    for body in (
        a_license_body(),
        a_license_body("unreadable", licenseID=""),
        a_license_body("elsewhere", metadata={"namespace": "elsewhere"}),
    ):
        world.licenses.apply("ADDED", body)
    for body in (an_application_body("a"), an_application_body("b", metadata={"namespace": "elsewhere"})):
        world.applications.apply("ADDED", body)
    found = world.sources()
    expected = (["app/my-app"], ["app/my-application"], Definitions("one", "two"))

    assert expected == (
        [lic.identity.key for lic in found.licenses],
        [application.identity.key for application in found.applications],
        found.definitions,
    )


WHOLE, MARKED = versioned(a_license_body(), 5), versioned(a_license_body(), 6, deletionTimestamp=DELETION)
LATER = versioned(a_license_body(seats=5), 8, deletionTimestamp=DELETION)
MADE_ANEW = versioned(a_license_body(), 12, uid="another", deletionTimestamp=DELETION)
DELETIONS: list[tuple[str, list[tuple[str, Any]], bool]] = [
    ("not marked", [("list", a_listing(5, WHOLE))], True),
    ("an event proves nothing: the definition may be going", [("list", a_listing(5, WHOLE)), ("event", MARKED)], True),
    ("an event of a License that nobody knew", [("event", MARKED)], True),
    ("a listing proves it", [("list", a_listing(7, MARKED))], False),
    ("a listing after the event proves it", [("event", MARKED), ("list", a_listing(7, MARKED))], False),
    ("a later event does not take it back", [("list", a_listing(7, MARKED)), ("event", LATER)], False),
    ("a listing that is older than the event", [("event", LATER), ("list", a_listing(7, MARKED))], True),
    ("a License made anew is another", [("list", a_listing(7, MARKED)), ("event", MADE_ANEW)], True),
]


@pytest.mark.parametrize(("steps", "used"), [row[1:] for row in DELETIONS], ids=ids(DELETIONS))
def test_license_that_is_being_deleted_counts_no_more(steps: list[tuple[str, Any]], *, used: bool) -> None:
    """A listing counts only while the definition stays, so what it marks was deleted by somebody on purpose."""
    world = a_world()
    for kind, what in steps:
        if kind == "list":
            world.licenses.take(what)
        else:
            world.licenses.apply("MODIFIED", what)

    assert used == bool(world.sources().licenses)


def test_listing_that_proves_a_deletion_is_a_change() -> None:
    """The state is the one that an event had brought, and yet the controller has to look again."""
    world = a_world()
    world.licenses.apply("MODIFIED", MARKED)

    assert {"app/my-app"} == world.licenses.take(a_listing(7, MARKED))
