"""Whether a License is to be used now: its expiry judged by a moment, and what freezes it.

Time comes as an argument. Retaining is the default on expiry, since Replicated's server refuses new pulls by itself and
taking credentials away would fail restarts of what runs (KEP-2535). Revoking is not to be undone by a wrong clock, so
it waits for the API server's clock to agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from replicated_proxy.core.licenses import Expiry, ExpiryPolicy, License
from replicated_proxy.core.signatures import Signature, SignaturePolicy

LARGEST_SKEW: Final = timedelta(minutes=5)
_JUST_AFTER: Final = timedelta(milliseconds=1)  # A License ends strictly before now (KOTS `LicenseIsExpired`).
_RECHECK: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ValidityPolicy:
    """What the administrator decides about validity.

    Attributes:
        signature: what a signature decides.
        on_expiry: what happens when a License expires.
        expiring_soon: how long before its end a License says so.
    """

    signature: SignaturePolicy = SignaturePolicy.WARN
    on_expiry: ExpiryPolicy = ExpiryPolicy.RETAIN
    expiring_soon: timedelta = timedelta(days=14)

    def accepts(self, signature: Signature) -> bool:
        """Tell whether a License with this signature may be used."""
        return signature.genuine or self.signature is not SignaturePolicy.ENFORCE


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is judged.

    Attributes:
        now: our clock, UTC.
        server: the API server's clock, as far as it is known.
    """

    now: datetime
    server: datetime | None = None

    @property
    def agreed(self) -> bool:
        """Tell whether both clocks say about the same."""
        return self.server is not None and abs(self.server - self.now) <= LARGEST_SKEW


class ExpiryStanding(StrEnum):
    """How a License stands to its end; the words are reasons of the condition `Expired`."""

    NEVER = "NeverExpires"
    VALID = "NotExpired"
    SOON = "ExpiringSoon"
    RETAINED = "Retained"
    REVOKED = "Revoked"
    CLOCK_DISAGREES = "ClockDisagrees"
    FROZEN = "Frozen"
    UNREADABLE = "InvalidExpiry"

    @property
    def passed(self) -> bool:
        """Tell whether the License has expired."""
        return self in _PASSED


_PASSED: Final = frozenset(
    {ExpiryStanding.RETAINED, ExpiryStanding.REVOKED, ExpiryStanding.CLOCK_DISAGREES, ExpiryStanding.FROZEN}
)


def judge_license(lic: License, moment: Moment | None, policy: ValidityPolicy, *, revoked: bool) -> ExpiryStanding:
    """Tell how a License stands to its end; nothing follows from the end of a frozen one, and nothing is undone.

    Args:
        lic: the License.
        moment: now; None where time has no part.
        policy: the administrator's part.
        revoked: its credentials were taken back before.
    """
    standing = judge_expiry(lic.expiry, moment, policy, revoked=revoked)
    if not (freezes(lic) and standing.passed):
        return standing
    return ExpiryStanding.REVOKED if revoked else ExpiryStanding.FROZEN


def judge_expiry(
    expiry: Expiry, moment: Moment | None, policy: ValidityPolicy, *, revoked: bool = False
) -> ExpiryStanding:
    """Tell how a License stands to its end.

    Args:
        expiry: its end.
        moment: now; None where time has no part.
        policy: the administrator's part.
        revoked: its credentials were taken back before; they are given back only by an agreed clock, too.
    """
    if expiry.problem:
        return ExpiryStanding.UNREADABLE
    if expiry.at is None:
        return ExpiryStanding.NEVER
    if moment is None:
        return ExpiryStanding.VALID
    passed, revokes = expiry.has_passed(moment.now), policy.on_expiry is ExpiryPolicy.REVOKE
    if revokes and (passed or revoked) and not moment.agreed:
        return ExpiryStanding.REVOKED if revoked else ExpiryStanding.CLOCK_DISAGREES
    if passed:
        return ExpiryStanding.REVOKED if revokes else ExpiryStanding.RETAINED
    return ExpiryStanding.SOON if expiry.at - moment.now < policy.expiring_soon else ExpiryStanding.VALID


def next_change(licenses: Iterable[License], moment: Moment, policy: ValidityPolicy) -> datetime | None:
    """Return when the next License changes its standing by time alone; None when none will.

    While clocks disagree, and revoking or giving back may wait for them, it is a short while from now.
    """
    ends = [lic.expiry.at for lic in licenses if lic.expiry.at is not None]
    changes = [change for end in ends for change in (_warning_begins(end, policy), _just_after(end))]
    if ends and policy.on_expiry is ExpiryPolicy.REVOKE and not moment.agreed:
        changes.append(moment.now + _RECHECK)
    return min((change for change in changes if change > moment.now), default=None)


def _warning_begins(end: datetime, policy: ValidityPolicy) -> datetime:
    """Return when a License begins to say that it will expire; dates begin with the year 1."""
    try:
        return end - policy.expiring_soon + _JUST_AFTER
    except OverflowError:
        return end


def _just_after(end: datetime) -> datetime:
    """Return the first moment after an end; dates end with the year 9999."""
    try:
        return end + _JUST_AFTER
    except OverflowError:
        return end


def freezes(lic: License) -> bool:
    """Tell whether a License keeps its last good state.

    It does while paused by annotation, while its expiry cannot be read, and while its signature is not accepted.
    """
    return lic.paused or bool(lic.expiry.problem) or not lic.accepted
