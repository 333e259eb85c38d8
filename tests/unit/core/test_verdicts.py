"""What registries said, on its way between replicas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.verdict_documents import (
    InvalidVerdicts,
    decode_verdicts,
    encode_verdicts,
    shrink_verdicts,
)
from replicated_proxy.core.verdicts import RepositoryVerdict, merge_verdicts, share_out, statements
from replicated_proxy.core.visibility import Visibility

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
PUBLIC, PRIVATE, INTERNAL = Visibility.PUBLIC, Visibility.PRIVATE, Visibility.INTERNAL
ROOM = 100_000


def said(
    repository: str = "quay.io/my-org/api",
    visibility: Visibility = PRIVATE,
    *,
    minutes: int = 0,
    namespace: str = "app",
) -> RepositoryVerdict:
    """Make a verdict of some minutes ago."""
    return RepositoryVerdict(repository, visibility, NOW - timedelta(minutes=minutes), namespace)


def read(*entries: tuple[str, object]) -> tuple[RepositoryVerdict, ...]:
    """Read a document of these entries."""
    return decode_verdicts(json.dumps({"format": 1, "verdicts": dict(entries)}))


def test_document_says_what_it_was_made_of() -> None:
    """Verdicts come back as they went, to the minute."""
    verdicts = (said(), said("docker.io/library/nginx", PUBLIC, minutes=3), said("r.example/x", INTERNAL))
    assert decode_verdicts(encode_verdicts(verdicts, ROOM)) == verdicts


def test_no_text_holds_no_verdicts() -> None:
    """A ConfigMap without the key is none to complain about."""
    assert decode_verdicts("") == ()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "null", "7", '{"format":2}', '{"format":true,"verdicts":{}}', "[" * 100_000, '{"verdicts":{}}'],
)
def test_document_that_is_none_is_refused(text: str) -> None:
    """No JSON, JSON of another shape and other formats are told apart from an empty document."""
    with pytest.raises(InvalidVerdicts):
        decode_verdicts(text)


@pytest.mark.parametrize(
    ("repository", "fields"),
    [
        pytest.param("quay.io/a/b", "Private", id="no-list"),
        pytest.param("quay.io/a/b", ["Private", "2026-09-01T12:00:00Z"], id="short"),
        pytest.param("quay.io/a/b", ["Private", "2026-09-01T12:00:00Z", "app", ""], id="long"),
        pytest.param("quay.io/a/b", ["private", "2026-09-01T12:00:00Z", "app"], id="other-word"),
        pytest.param("quay.io/a/b", ["Private", "yesterday", "app"], id="no-time"),
        pytest.param("quay.io/a/b", ["Private", "9999-99-99T99:99:99Z", "app"], id="impossible-time"),
        pytest.param("quay.io/a/b", ["Private", "2026-09-01T12:00:00Z", "No Namespace"], id="no-namespace"),
        pytest.param("quay.io/a/b", ["Private", 7, "app"], id="number"),
        pytest.param("quay.io/a/b", [["Private"], "2026-09-01T12:00:00Z", "app"], id="nested"),
        pytest.param("quay.io/a/b:v1", ["Private", "2026-09-01T12:00:00Z", "app"], id="tag"),
        pytest.param("nginx", ["Private", "2026-09-01T12:00:00Z", "app"], id="short-name"),
        pytest.param("docker.io/nginx", ["Private", "2026-09-01T12:00:00Z", "app"], id="not-in-full"),
        pytest.param("", ["Private", "2026-09-01T12:00:00Z", "app"], id="no-name"),
        pytest.param("quay.io/" + "a" * 600, ["Private", "2026-09-01T12:00:00Z", "app"], id="long-name"),
        pytest.param("quay.io/A", ["Private", "2026-09-01T12:00:00Z", "app"], id="upper-case"),
    ],
)
def test_bad_entry_costs_nobody_the_others(repository: str, fields: object) -> None:
    """An entry that is none is left out."""
    good = ["Public", "2026-09-01T12:00:00Z", "app"]
    assert read((repository, fields), ("docker.io/library/nginx", good)) == (said("docker.io/library/nginx", PUBLIC),)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_no_document_breaks_the_reader(whole: Any, verdicts: Any) -> None:
    """Whatever a replica says, it is read or refused."""
    for document in (whole, {"format": 1, "verdicts": verdicts}, {"format": 1, "verdicts": {"a.b/c": verdicts}}):
        try:
            found = decode_verdicts(json.dumps(document))
        except InvalidVerdicts:
            continue
        assert all(isinstance(each, RepositoryVerdict) for each in found)


@given(st.binary(max_size=40))
def test_no_text_breaks_the_reader(body: bytes) -> None:
    """Bytes of any kind are read or refused."""
    try:
        decode_verdicts(body.decode("utf-8", "replace"))
    except InvalidVerdicts:
        return


def test_newest_report_wins() -> None:
    """Of each repository the latest word counts, wherever it comes from."""
    known = {"quay.io/my-org/api": said(minutes=5)}
    newer, older = said(visibility=PUBLIC, minutes=1), said(visibility=PUBLIC, minutes=9)
    assert merge_verdicts(known, [newer], NOW) == {newer.repository: newer}
    assert merge_verdicts(known, [older], NOW) == known


def test_report_from_the_future_counts_as_made_now() -> None:
    """A clock that is ahead does not make a word last for ever."""
    (ahead,) = merge_verdicts({}, [said(minutes=-600)], NOW).values()
    assert ahead.checked == NOW
    assert merge_verdicts({ahead.repository: ahead}, [said(visibility=PUBLIC, minutes=-5)], NOW) == {
        ahead.repository: ahead
    }
    corrected = said(visibility=PUBLIC, minutes=-1)
    later = NOW + timedelta(minutes=2)
    assert merge_verdicts({ahead.repository: ahead}, [corrected], later)[ahead.repository] == corrected


def test_week_without_a_word_is_forgotten() -> None:
    """What nobody asked about for so long is dropped."""
    old, fresh = said(minutes=7 * 24 * 60), said("r.example/x", minutes=7 * 24 * 60 - 1)
    assert merge_verdicts({old.repository: old, fresh.repository: fresh}, [], NOW) == {fresh.repository: fresh}


def test_same_word_again_is_no_other_statement() -> None:
    """When and by whom something was asked does not change what was said."""
    assert statements([said(minutes=5)]) == statements([said(namespace="other")])
    assert statements([said()]) != statements([said(visibility=PUBLIC)])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.sampled_from(Visibility)), max_size=40),
    st.integers(0, 3000),
)
def test_document_fits_its_budget(entries: list[tuple[int, int, Visibility]], budget: int) -> None:
    """No document is larger than it may be, and each can be read."""
    verdicts = {
        f"r.example/{path}": said(f"r.example/{path}", word, namespace=f"n{who}") for who, path, word in entries
    }
    text = encode_verdicts(verdicts.values(), budget)
    assert len(text.encode()) <= budget
    assert set(decode_verdicts(text)) <= set(verdicts.values())
    assert len(shrink_verdicts(encode_verdicts(verdicts.values(), ROOM), budget)) <= budget


@given(st.integers(1, 8), st.integers(0, 200))
def test_namespace_within_its_share_is_kept_whole(mine: int, others: int) -> None:
    """Whatever others ask, who needs no more than an equal part of the room gets all of it."""
    asked = [(said(f"h.example/{number}", namespace="hostile"), 10) for number in range(others)]
    own = [(said(f"m.example/{number}", namespace="victim"), 10) for number in range(mine)]
    kept = share_out(asked + own, budget=160)
    assert {verdict for verdict, _ in own} <= set(kept)


def test_room_is_used_to_the_byte() -> None:
    """A budget of exactly what is needed holds everything, and one byte less does not."""
    verdicts = [said(f"r.example/{'x' * number}", word) for number, word in ((1, PUBLIC), (70, PRIVATE), (9, INTERNAL))]
    size = len(encode_verdicts(verdicts, ROOM))
    assert len(decode_verdicts(encode_verdicts(verdicts, size))) == 3
    assert len(decode_verdicts(encode_verdicts(verdicts, size - 1))) == 2


def test_namespace_that_cannot_be_one_is_left_out() -> None:
    """Whoever reaches the port makes up names of namespaces; what would have to be escaped is not shared."""
    assert decode_verdicts(encode_verdicts([said(namespace='"\u00e9\n'), said("r.example/x")], ROOM)) == (
        said("r.example/x"),
    )


def test_what_cannot_be_read_is_given_up_for_room() -> None:
    """A text that is too large and no document leaves nothing behind."""
    assert shrink_verdicts("x" * 100, 50) == ""
    assert shrink_verdicts("x" * 50, 50) == "x" * 50


def test_invented_namespaces_have_the_turns_of_one() -> None:
    """Those that nothing but `"*"` covers share one turn: however many there are, named ones keep their places."""
    invented = [said(f"r{number}.example/x", namespace=f"*n{number:03}") for number in range(100)]
    named = [said(f"app.example/{number}", namespace="app") for number in range(5)]
    chosen = share_out([(each, 1) for each in (*invented, *named)], 10)

    assert [each.namespace for each in chosen].count("app") == 5
    assert [each.namespace for each in chosen if each.namespace != "app"] == [f"*n{number:03}" for number in range(5)]
    assert decode_verdicts(encode_verdicts(chosen, ROOM)) == tuple(chosen)


def test_namespaces_under_the_wildcard_take_turns_among_themselves() -> None:
    """One of them that asks about much takes nothing from the others."""
    many = [said(f"much.example/{number}", namespace="*much") for number in range(50)]
    few = [said(f"few.example/{number}", namespace=f"*few-{number}") for number in range(3)]

    assert set(few) < set(share_out([(each, 1) for each in (*many, *few)], 8))
