"""Expiry judged by a moment, the clocks that must agree before anything is revoked, and when to look again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_license, ids
from replicated_proxy.core.licenses import Expiry, ExpiryPolicy, License
from replicated_proxy.core.signatures import Signature, SignaturePolicy, SignatureState
from replicated_proxy.core.validity import (
    ExpiryStanding,
    Moment,
    ValidityPolicy,
    freezes,
    judge_expiry,
    judge_license,
    next_change,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGREED = Moment(NOW, NOW)
RETAIN, REVOKE = ValidityPolicy(), ValidityPolicy(on_expiry=ExpiryPolicy.REVOKE)
PAST, LATER = Expiry(NOW - timedelta(seconds=1)), Expiry(NOW + timedelta(days=100))

JUDGED: list[tuple[str, Expiry, Moment | None, ValidityPolicy, bool, ExpiryStanding]] = [
    ("no end", Expiry(), AGREED, REVOKE, False, ExpiryStanding.NEVER),
    ("no end any more", Expiry(), AGREED, REVOKE, True, ExpiryStanding.NEVER),
    ("no end any more, clocks unknown", Expiry(), Moment(NOW), REVOKE, True, ExpiryStanding.NEVER),
    ("unreadable", Expiry(problem="no date"), AGREED, REVOKE, False, ExpiryStanding.UNREADABLE),
    ("far away", LATER, AGREED, RETAIN, False, ExpiryStanding.VALID),
    ("time has no part", PAST, None, REVOKE, False, ExpiryStanding.VALID),
    ("soon", Expiry(NOW + timedelta(days=13)), AGREED, RETAIN, False, ExpiryStanding.SOON),
    ("exactly the configured days", Expiry(NOW + timedelta(days=14)), AGREED, RETAIN, False, ExpiryStanding.VALID),
    ("ends now", Expiry(NOW), AGREED, REVOKE, False, ExpiryStanding.SOON),
    ("retained", PAST, AGREED, RETAIN, False, ExpiryStanding.RETAINED),
    ("retained whatever the server's clock", PAST, Moment(NOW), RETAIN, False, ExpiryStanding.RETAINED),
    ("given back when the policy changes", PAST, Moment(NOW), RETAIN, True, ExpiryStanding.RETAINED),
    ("revoked", PAST, AGREED, REVOKE, False, ExpiryStanding.REVOKED),
    ("server's clock unknown", PAST, Moment(NOW), REVOKE, False, ExpiryStanding.CLOCK_DISAGREES),
    (
        "clocks 5 minutes apart",
        PAST,
        Moment(NOW, NOW - timedelta(minutes=5)),
        REVOKE,
        False,
        ExpiryStanding.REVOKED,
    ),
    (
        "clocks further apart",
        PAST,
        Moment(NOW, NOW - timedelta(minutes=5, seconds=1)),
        REVOKE,
        False,
        ExpiryStanding.CLOCK_DISAGREES,
    ),
    ("revoked stays so without an agreed clock", PAST, Moment(NOW), REVOKE, True, ExpiryStanding.REVOKED),
    ("renewed", LATER, AGREED, REVOKE, True, ExpiryStanding.VALID),
    ("set back by a wrong clock of ours", LATER, Moment(NOW), REVOKE, True, ExpiryStanding.REVOKED),
]


@pytest.mark.parametrize(
    ("expiry", "moment", "policy", "revoked", "expected"), [row[1:] for row in JUDGED], ids=ids(JUDGED)
)
def test_expiry_is_judged(
    expiry: Expiry, moment: Moment | None, policy: ValidityPolicy, revoked: bool, expected: ExpiryStanding
) -> None:
    """Retaining needs no clock but ours; taking credentials and giving them back needs two that agree."""
    assert expected is judge_expiry(expiry, moment, policy, revoked=revoked)


FROZEN_ENDS: list[tuple[str, License, bool, ExpiryStanding]] = [
    ("in use", replace(a_license(), expiry=PAST), False, ExpiryStanding.REVOKED),
    ("paused", replace(a_license(), expiry=PAST, paused=True), False, ExpiryStanding.FROZEN),
    ("paused after that", replace(a_license(), expiry=PAST, paused=True), True, ExpiryStanding.REVOKED),
    ("not accepted", replace(a_license(), expiry=PAST, accepted=False), False, ExpiryStanding.FROZEN),
    ("paused before its end", replace(a_license(), expiry=LATER, paused=True), False, ExpiryStanding.VALID),
]


@pytest.mark.parametrize(("lic", "revoked", "expected"), [row[1:] for row in FROZEN_ENDS], ids=ids(FROZEN_ENDS))
def test_nothing_follows_from_the_end_of_a_frozen_license(
    lic: License, revoked: bool, expected: ExpiryStanding
) -> None:
    """Nobody is told that credentials were taken back which are still there, nor the other way round."""
    assert expected is judge_license(lic, AGREED, REVOKE, revoked=revoked)


def ending(*moments: datetime) -> list[License]:
    """Return Licenses that end at these moments."""
    return [replace(a_license(f"app-{number}"), expiry=Expiry(moment)) for number, moment in enumerate(moments)]


WAKES: list[tuple[str, list[datetime], Moment, ValidityPolicy, timedelta | None]] = [
    ("nothing ends", [], AGREED, REVOKE, None),
    ("all ended", [NOW - timedelta(days=1)], AGREED, REVOKE, None),
    ("the warning first", [NOW + timedelta(days=20)], AGREED, RETAIN, timedelta(days=6)),
    ("then the end", [NOW + timedelta(days=2)], AGREED, RETAIN, timedelta(days=2)),
    ("the end of this very moment", [NOW], AGREED, RETAIN, timedelta()),
    ("the first of several", [NOW + timedelta(days=3), NOW + timedelta(days=2)], AGREED, RETAIN, timedelta(days=2)),
    ("clocks disagree", [NOW - timedelta(days=1)], Moment(NOW), REVOKE, timedelta(seconds=30)),
    ("clocks disagree and nothing hangs on it", [NOW - timedelta(days=1)], Moment(NOW), RETAIN, None),
]


@pytest.mark.parametrize(("ends", "moment", "policy", "expected"), [row[1:] for row in WAKES], ids=ids(WAKES))
def test_next_look_is_when_time_alone_changes_something(
    ends: list[datetime], moment: Moment, policy: ValidityPolicy, expected: timedelta | None
) -> None:
    """The controller wakes just after the next warning or end, and while clocks disagree every half minute."""
    found = next_change(ending(*ends), moment, policy)

    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert timedelta() <= found - NOW - expected <= timedelta(milliseconds=1)


@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001 - the strategy wants naive limits.
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001
    st.sampled_from([RETAIN, REVOKE]),
)
def test_nothing_changes_before_the_next_look(end: datetime, now: datetime, policy: ValidityPolicy) -> None:
    """Until the moment that was computed a License's standing is what it was; at that moment it is another one."""
    expiry, start = Expiry(end.replace(tzinfo=UTC)), now.replace(tzinfo=UTC)
    before = judge_expiry(expiry, Moment(start, start), policy)
    found = next_change(ending(end.replace(tzinfo=UTC)), Moment(start, start), policy)
    if found is None:
        far = datetime(9999, 12, 31, tzinfo=UTC)
        assert before in {judge_expiry(expiry, Moment(far, far), policy), ExpiryStanding.SOON, ExpiryStanding.VALID}
        return
    shortly = max(start, found - timedelta(milliseconds=2))

    assert before is judge_expiry(expiry, Moment(shortly, shortly), policy)
    assert before is not judge_expiry(expiry, Moment(found, found), policy)


FREEZING: list[tuple[str, License, bool]] = [
    ("as usual", a_license(), False),
    ("paused", replace(a_license(), paused=True), True),
    ("unreadable expiry", replace(a_license(), expiry=Expiry(problem="no date")), True),
    ("signature not accepted", replace(a_license(), accepted=False), True),
    ("expired", replace(a_license(), expiry=PAST), False),
]


@pytest.mark.parametrize(("lic", "expected"), [row[1:] for row in FREEZING], ids=ids(FREEZING))
def test_license_is_frozen(lic: License, expected: bool) -> None:
    """Paused, unreadable and unaccepted ones keep their last good state; an expired one is dealt with."""
    assert expected is freezes(lic)


ACCEPTED: list[tuple[str, SignaturePolicy, SignatureState, bool]] = [
    ("off", SignaturePolicy.OFF, SignatureState.NOT_CHECKED, True),
    ("warn, genuine", SignaturePolicy.WARN, SignatureState.VERIFIED, True),
    ("warn, invalid", SignaturePolicy.WARN, SignatureState.INVALID, True),
    ("enforce, genuine", SignaturePolicy.ENFORCE, SignatureState.VERIFIED, True),
    ("enforce, edited", SignaturePolicy.ENFORCE, SignatureState.MODIFIED, True),
    ("enforce, unsigned", SignaturePolicy.ENFORCE, SignatureState.UNSIGNED, False),
    ("enforce, digest refused", SignaturePolicy.ENFORCE, SignatureState.UNSUPPORTED, False),
    ("enforce, not checked", SignaturePolicy.ENFORCE, SignatureState.NOT_CHECKED, False),
]


@pytest.mark.parametrize(("policy", "state", "expected"), [row[1:] for row in ACCEPTED], ids=ids(ACCEPTED))
def test_signature_is_accepted(policy: SignaturePolicy, state: SignatureState, expected: bool) -> None:
    """Only `Enforce` refuses, and only what is not genuine: the signed copy counts, edits beside it do not."""
    assert expected is ValidityPolicy(signature=policy).accepts(Signature(state))
