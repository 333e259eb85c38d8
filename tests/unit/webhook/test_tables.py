"""Which routing table is in use."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, a_route, a_table
from replicated_proxy.core.routing_documents import DATA_KEY
from replicated_proxy.core.verdict_documents import DATA_KEY as VERDICTS_KEY
from replicated_proxy.core.verdict_documents import encode_verdicts
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.webhook import tables
from replicated_proxy.webhook.tables import RememberingTable, TableHolder, VerdictTaker
from serving import a_config_map


def test_nothing_read_is_a_problem() -> None:
    """Before the first table the replica is not ready, whether or not there is a ConfigMap."""
    holder = TableHolder()
    assert holder.problems()
    holder.update(None)
    assert holder.problems()


def test_table_is_taken_over() -> None:
    """A table that can be read is in use at once, and equals the one that was written."""
    holder = TableHolder()
    table = a_table(a_route(), listed={"workers": (0,)})
    holder.update(a_config_map(table))
    assert not holder.problems()
    assert holder.table is not None
    assert holder.table.covering("workers") == table.covering("workers") != ()


@pytest.mark.parametrize(
    "config_map",
    [
        pytest.param(None, id="deleted"),
        pytest.param({}, id="empty"),
        pytest.param({"data": None}, id="no-data"),
        pytest.param({"data": {DATA_KEY: ""}}, id="no-text"),
        pytest.param({"data": {DATA_KEY: "{"}}, id="no-json"),
        pytest.param({"data": {DATA_KEY: '{"format": 2}'}}, id="newer-format"),
        pytest.param({"data": {DATA_KEY: '{"format": 1, "routes": [{"claimedUpstreams": ["*"]}]}'}}, id="damaged"),
    ],
)
def test_bad_table_keeps_the_last_good_one(config_map: Json | None, caplog: pytest.LogCaptureFixture) -> None:
    """A deleted, damaged or newer table changes nothing but the log and the gauge, and the replica stays ready."""
    holder = TableHolder()
    holder.update(a_config_map())
    good = holder.table
    assert not holder.outdated
    with caplog.at_level(logging.WARNING):
        holder.update(config_map)
    assert holder.table is good
    assert holder.outdated
    assert not holder.problems()
    assert "last good" in caplog.text
    holder.update(a_config_map())
    assert not holder.outdated


@given(st.text(max_size=63))
def test_remembering_answers_as_the_table_does(namespace: str) -> None:
    """Asked once or twice, the answer is the table's own."""
    table = a_table(a_route("a", every_namespace=True), a_route("b"), listed={"x": (1,)})
    remembering = RememberingTable.of(table)
    for _ in range(2):
        assert remembering.covering(namespace) == table.covering(namespace)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that somebody makes up do not fill the memory: neither many nor long ones."""
    monkeypatch.setattr(tables, "_MOST_NAMESPACES", 3)
    table = RememberingTable.of(a_table(a_route(every_namespace=True)))
    for number in range(10):
        assert table.covering(f"namespace-{number}")
    assert len(table._known) <= 3


def test_name_that_no_namespace_has_is_covered_by_nothing() -> None:
    """Only whoever reaches the port asks with one: what comes after is spared it, and remembers it nowhere."""
    table = RememberingTable.of(a_table(a_route(every_namespace=True), listed={"n" * 64: (0,)}))
    assert table.covering("n" * 63)
    for length in (64, 1_000_000):
        assert table.covering("n" * length) == ()
    assert list(table._known) == ["n" * 63]


class Adopter:
    """Takes verdicts over."""

    def __init__(self) -> None:
        self.adopted: list[tuple[RepositoryVerdict, ...]] = []
        self.taker = VerdictTaker(self._adopt)

    def _adopt(self, verdicts: Iterable[RepositoryVerdict]) -> None:
        """Remember."""
        self.adopted.append(tuple(verdicts))


def test_verdicts_beside_the_table_are_taken_over_once() -> None:
    """What stands in the ConfigMap is handed on when it is other than before, whatever becomes of the table."""
    adopter = Adopter()
    word = RepositoryVerdict("quay.io/a/b", Visibility.PRIVATE, datetime(2026, 9, 1, tzinfo=UTC), "app")
    config_map: Json = {"data": {DATA_KEY: "{", VERDICTS_KEY: encode_verdicts([word], 1000)}}
    for _ in range(3):
        adopter.taker.update(config_map)
    assert adopter.adopted == [(word,)]
    adopter.taker.update({"data": {DATA_KEY: "{"}})
    adopter.taker.update(config_map)
    assert [verdicts for verdicts in adopter.adopted if verdicts] == [(word,), (word,)]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "\x00"])
def test_bad_verdicts_are_left_alone(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be read is said once, and breaks nothing."""
    adopter = Adopter()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            adopter.taker.update({"data": {VERDICTS_KEY: text}})
    assert adopter.adopted == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize("config_map", [None, {}, {"data": None}, {"data": {VERDICTS_KEY: 7}}])
def test_config_map_without_verdicts_is_nothing_to_speak_of(config_map: Json | None) -> None:
    """A ConfigMap of an earlier version has none."""
    adopter = Adopter()
    adopter.taker.update(config_map)
    assert adopter.adopted == []
