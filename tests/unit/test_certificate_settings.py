"""Durations as they are written, and lifetimes that leave room for a rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.settings import CertificateMode, InvalidSettings, parse_settings
from replicated_proxy.settings.durations import parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8760h", 31_536_000), ("8760h0m0s", 31_536_000), ("1h30m", 5400), ("20s", 20), ("90m", 5400), ("0s", 0)],
)
def test_duration_is_read_as_cert_manager_reads_it(text: str, seconds: int) -> None:
    """Hours, minutes and seconds, each at most once and in this order."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.integers(0, 10**9))
def test_duration_that_is_shown_is_read_again(seconds: int) -> None:
    """What is written into messages and pages can be written into values."""
    assert parse_duration(show_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "5", "1d", "1h1h", "1s1m", "-1h", "1.5h", " 1h", "1h\n", "٣h", "9" * 10 + "h"]
)
def test_other_text_is_no_duration(text: str) -> None:
    """The error says how one is written."""
    with pytest.raises(ValueError, match="for example 8760h, 1h30m or 20s"):
        parse_duration(text)


def certificates(**written: str) -> Any:
    """Read settings of certificates."""
    return parse_settings({"certificates": written}, {}).certificates


def test_lifetimes_of_seconds_can_be_set() -> None:
    """The shortest that leave room for a rotation are taken."""
    found = certificates(caLifetime="4s", leafLifetime="4s", propagationDelay="1s")
    expected = (timedelta(seconds=4), timedelta(seconds=4), timedelta(seconds=1))

    assert expected == (found.ca_lifetime, found.leaf_lifetime, found.propagation_delay)


@pytest.mark.parametrize("mode", list(CertificateMode))
def test_order_of_lifetimes_depends_on_the_mode(mode: CertificateMode) -> None:
    """Only our own rotation waits for API servers, and only cert-manager leaves a certificate behind its authority."""
    cases = [
        (CertificateMode.SELF_MANAGED, {"leafLifetime": "7m"}, "propagationDelay"),
        (CertificateMode.CERT_MANAGER, {"leafLifetime": "29201h"}, "a third of certificates.caLifetime"),
    ]
    for refusing, written, words in cases:
        if mode is refusing:
            with pytest.raises(InvalidSettings, match=words):
                certificates(mode=mode.value, **written)
        else:
            assert certificates(mode=mode.value, **written).mode is mode
