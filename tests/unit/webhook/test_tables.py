"""Which routing table is in use."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Json, a_route, a_table
from replicated_proxy.core.routing_documents import DATA_KEY
from replicated_proxy.webhook import tables
from replicated_proxy.webhook.tables import RememberingTable, TableHolder
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
    """A deleted, damaged or newer table changes nothing but the log, and the replica stays ready."""
    holder = TableHolder()
    holder.update(a_config_map())
    good = holder.table
    with caplog.at_level(logging.WARNING):
        holder.update(config_map)
    assert holder.table is good
    assert not holder.problems()
    assert "last good" in caplog.text


@given(st.text(max_size=70))
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
        assert table.covering("n" * (64 + number))
    assert len(table._known) <= 3
    assert all(len(name) < 64 for name in table._known)
