"""The search for credentials finds them, or its finding nothing would prove nothing."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaking import forms_of, leaks
from operating import LICENSE_ID, expected_content

WRITTEN = {
    "as it is": f"license {LICENSE_ID} is not usable",
    "in a docker config": expected_content("proxy.replicated.com"),
    "in a Secret's data": base64.b64encode(expected_content("proxy.replicated.com").encode()).decode(),
    "in JSON": json.dumps({"spec": {"licenseID": LICENSE_ID}}),
    "in an Authorization header": "Basic " + base64.b64encode(f"LICENSE_ID:{LICENSE_ID}".encode()).decode(),
    "in a URL": f"https://LICENSE_ID:{LICENSE_ID}@proxy.replicated.com/",
    "in a traceback": f"ValueError: b'auth: {LICENSE_ID}'",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_planted_leak_is_found(text: str) -> None:
    """A license ID is found in each of the ways in which something of ours could write it."""
    assert leaks({"log": text, "other": "nothing"}, [LICENSE_ID]) == ["log"]


@given(
    before=st.binary(max_size=50),
    after=st.binary(max_size=50),
    rounds=st.integers(1, 2),
    url_safe=st.booleans(),
    license_id=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=20, max_size=40),
)
def test_it_is_found_at_any_place_in_base64(
    before: bytes, after: bytes, rounds: int, url_safe: bool, license_id: str
) -> None:
    """Whatever stands before and behind it, base64 once or twice hides nothing; nor does its form for URLs."""
    text = before + license_id.encode() + after
    encode = base64.urlsafe_b64encode if url_safe and rounds == 1 else base64.b64encode
    for _ in range(rounds):
        text = encode(text)

    assert leaks({"place": text.decode()}, [license_id]) == ["place"]


@given(st.text(max_size=300))
def test_nothing_is_found_where_nothing_is(text: str) -> None:
    """No form is so short that it would stand anywhere by chance."""
    assert leaks({"place": text}, [LICENSE_ID]) == []
    assert min(map(len, forms_of(LICENSE_ID))) >= 16
