"""Who leads: the Lease as read, and what to do about it next.

The rules are client-go's. Nobody's clock is trusted but one's own: a Lease runs out when its holder has not changed
it for its whole duration since *we* saw its last change. What decides in the end is the API server, which takes an
update of one version once. The holder stops earlier than others may start: it is silent for at most `renew` of the
`lease` seconds, and both sides count by clocks that cannot be set.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from replicated_proxy.core.objects import Body, mapping_at, text_at

LONGEST_LEASE: Final = 3_600.0
"""The longest duration that is believed, which is the longest that can be set."""
_COUNTER: Final = 2**31  # `leaseTransitions` is an int32; what is at its end starts anew.


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How long things take, in seconds.

    Attributes:
        lease: how long the holder may be silent before another takes over.
        renew: how long the holder goes on without a renewal that succeeded; less than `lease`.
        retry: from one renewal to the next.
    """

    lease: float
    renew: float
    retry: float


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says.

    Attributes:
        holder: identity of the holder; empty when it was released.
        acquired: when the holder became it, as written; tells two terms of one identity apart.
        renewed: when the holder last wrote, as written; compared only with itself.
        seconds: how long it may be silent; 0 when the Lease does not say it.
        transitions: how often the holder changed.
    """

    holder: str = ""
    acquired: str = ""
    renewed: str = ""
    seconds: float = 0.0
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """The Lease as this process saw it.

    Attributes:
        record: what it says; of one that is missing, what it said last.
        version: its resourceVersion, the precondition of an update; empty when there is no Lease.
        since: when the record was first seen so, on our monotonic clock.
    """

    record: LeaseRecord
    version: str
    since: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One process that contends.

    Attributes:
        identity: its name; a Pod's name outlives a crash of its container.
        term: `acquired` as this process last tried to write it; empty while it never did.
        renewed_at: when the last request that succeeded was begun, or None while it does not lead.
    """

    identity: str
    term: str = ""
    renewed_at: float | None = None


class Move(enum.Enum):
    """What to do next."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    STEP_DOWN = "step down"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Plan:
    """The next move.

    Attributes:
        move: what to do.
        seconds: how long to wait, if nothing changes meanwhile.
        reason: why to step down, for the log.
    """

    move: Move
    seconds: float = 0.0
    reason: str = ""


def read_lease(body: Body) -> LeaseRecord:
    """Read a Lease; fields of foreign types count as missing."""
    spec = mapping_at(body, "spec")
    return LeaseRecord(
        holder=text_at(spec, "holderIdentity"),
        acquired=text_at(spec, "acquireTime"),
        renewed=text_at(spec, "renewTime"),
        seconds=min(float(_count_at(spec, "leaseDurationSeconds")), LONGEST_LEASE),
        transitions=_count_at(spec, "leaseTransitions"),
    )


def _count_at(spec: Body, name: str) -> int:
    """Return a field that counts something, 0 where something else stands; JSON's booleans count nothing."""
    value = spec.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNTER else 0


def observe(before: Observation | None, body: Body | None, now: float) -> Observation:
    """Take in the Lease as it is now, None where it is missing.

    Only a record that says something else counts as a sign of life: labels on the Lease do not. Of a Lease that was
    deleted the holder does not know yet, so what it said last goes on to count.
    """
    if body is None:
        record = before.record if before else LeaseRecord()
        version = ""
    else:
        record, version = read_lease(body), text_at(body, "metadata", "resourceVersion")
    if before is not None and before.record == record:
        return Observation(record, version, before.since)
    return Observation(record, version, now)


def is_held_by(candidate: Candidate, seen: Observation) -> bool:
    """Tell whether the Lease names this candidate, in this life of it or before it ever wrote."""
    record = seen.record
    return record.holder == candidate.identity and candidate.term in {"", record.acquired}


def plan_move(candidate: Candidate, seen: Observation, now: float, timing: LeaseTiming) -> Plan:
    """Decide what to do next."""
    if candidate.renewed_at is None:
        return _plan_standby(candidate, seen, now, timing)
    if not (seen.version and is_held_by(candidate, seen)):
        return Plan(Move.STEP_DOWN, reason=_describe_loss(seen))
    if now >= candidate.renewed_at + timing.renew:
        return Plan(Move.STEP_DOWN, reason=f"it could not be renewed for {timing.renew:g} s")
    due = candidate.renewed_at + timing.retry
    return Plan(Move.WAIT, due - now) if now < due else Plan(Move.RENEW)


def _plan_standby(candidate: Candidate, seen: Observation, now: float, timing: LeaseTiming) -> Plan:
    """Take a Lease that is free, ours from before, or has run out; wait for any other."""
    runs_out = seen.since + (seen.record.seconds or timing.lease)
    if not seen.record.holder or is_held_by(candidate, seen) or now >= runs_out:
        return Plan(Move.ACQUIRE)
    return Plan(Move.WAIT, runs_out - now)


def _describe_loss(seen: Observation) -> str:
    """Say what became of a Lease that was ours."""
    if not seen.version:
        return "the Lease was deleted"
    return f"the Lease is held by {seen.record.holder}" if seen.record.holder else "the Lease was emptied"


def acquired_record(candidate: Candidate, seen: Observation, timing: LeaseTiming, moment: datetime) -> LeaseRecord:
    """Return what to write to become the holder."""
    changed = seen.version != "" and seen.record.holder != candidate.identity
    stamp = format_micro_time(moment)
    return LeaseRecord(
        holder=candidate.identity,
        acquired=stamp,
        renewed=stamp,
        seconds=timing.lease,
        transitions=(seen.record.transitions + changed) % _COUNTER,
    )


def renewed_record(candidate: Candidate, seen: Observation, timing: LeaseTiming, moment: datetime) -> LeaseRecord:
    """Return what to write to remain the holder."""
    return LeaseRecord(
        holder=candidate.identity,
        acquired=candidate.term,
        renewed=format_micro_time(moment),
        seconds=timing.lease,
        transitions=seen.record.transitions,
    )


def released_record(seen: Observation, moment: datetime) -> LeaseRecord:
    """Return what to write so that others need not wait for the Lease to run out."""
    stamp = format_micro_time(moment)
    return LeaseRecord(acquired=stamp, renewed=stamp, seconds=1.0, transitions=seen.record.transitions)


def render_lease(record: LeaseRecord) -> dict[str, object]:
    """Write a Lease's `spec`."""
    return {
        "holderIdentity": record.holder,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
        "leaseDurationSeconds": int(record.seconds),
        "leaseTransitions": record.transitions,
    }


def format_micro_time(moment: datetime) -> str:
    """Write a moment as Kubernetes' MicroTime: UTC, six digits of the second."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
