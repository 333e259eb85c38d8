"""The page on signatures, where it could go stale."""

from __future__ import annotations

import re

import pytest

from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.signatures.comparing import MOST_ADDED, MOST_NAMED
from replicated_proxy.signatures.entitlements import MOST_SIGNATURES
from replicated_proxy.signatures.envelope import LONGEST_SIGNATURE
from rig.cache import REPOSITORY

PAGE = (REPOSITORY / "docs" / "signatures.md").read_text(encoding="utf-8")


def test_every_state_has_its_row() -> None:
    """Each state is a row of the table of states, and each row is a state."""
    table = PAGE.partition("## States")[2].partition("## Settings")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [state.value for state in SignatureState]


@pytest.mark.parametrize(
    "bound",
    [f"{LONGEST_SIGNATURE} characters", f"{MOST_SIGNATURES} entitlement", f"{MOST_ADDED} entitlements were added"],
)
def test_bounds_are_the_code_s(bound: str) -> None:
    """The bounds that the page names are those that hold."""
    assert bound in PAGE.replace("\n", " ")


def test_number_of_named_fields_is_the_code_s() -> None:
    """The page says how many edited fields are named."""
    assert MOST_NAMED == 10
    assert "most ten edited fields" in PAGE.replace("\n", " ")
