"""JSON Patch operations as an independent library understands them."""

from __future__ import annotations

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.json_patch import add, escape_token, replace


@given(st.text())
def test_escaped_key_names_exactly_that_member(key: str) -> None:
    """A key of any characters, `/` and `~` among them, is one token of a pointer."""
    path = f"/{escape_token(key)}"
    patched = jsonpatch.apply_patch({key: 1, "other": 2}, [dict(replace(path, 3))])

    assert {key: 1, "other": 2} | {key: 3} == patched


def test_add_appends_at_the_dash() -> None:
    """`…/-` is the place after the last element."""
    expected = {"list": [1, 2]}

    assert expected == jsonpatch.apply_patch({"list": [1]}, [dict(add("/list/-", 2))])
