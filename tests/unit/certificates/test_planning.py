"""Which step comes next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from replicated_proxy.certificates.documents import (
    CERTIFICATE_ENTRY,
    InvalidCertificate,
    ServingMaterial,
    authority_data,
    read_serving,
    serving_data,
)
from replicated_proxy.certificates.issuing import make_authority, make_leaf
from replicated_proxy.certificates.planning import (
    Observed,
    PublishBundle,
    Step,
    Wanted,
    WriteAuthority,
    WriteServing,
    plan_certificates,
)
from replicated_proxy.certificates.verifying import split_bundle, verify_leaf
from serving import NAMES, NOW, SERVER_NAME, a_secret

CA_DAYS, LEAF_DAYS = 100, 30
DELAY = timedelta(minutes=2)


@dataclass
class Cluster:
    """What is stored, and what the controller does about a step."""

    ca_secret: dict[str, Any] | None = None
    serving_secret: dict[str, Any] | None = None
    published: bytes | None = None
    published_since: datetime | None = None
    steps: list[type[Step]] = field(default_factory=list)
    ca_days: float = CA_DAYS
    leaf_days: float = LEAF_DAYS
    delay: timedelta = DELAY

    @property
    def wanted(self) -> Wanted:
        """What there should be."""
        return Wanted(NAMES, timedelta(days=self.ca_days), timedelta(days=self.leaf_days), self.delay)

    def served(self) -> ServingMaterial:
        """Return what the webhook serves."""
        assert self.serving_secret is not None
        return read_serving(self.serving_secret)

    def distrust(self, now: datetime) -> str:
        """Say why the API server would not trust what is served, or nothing."""
        try:
            self.served()
        except InvalidCertificate as error:
            return str(error)
        return verify_leaf(self.served().chain, self.published or b"", SERVER_NAME, now)

    def plan(self, now: datetime = NOW) -> Step | None:
        """Plan for what is stored."""
        published_for = timedelta.max if self.published_since is None else now - self.published_since
        observed = Observed(self.ca_secret, self.serving_secret, self.published, published_for)
        return plan_certificates(observed, self.wanted, now)

    def perform(self, step: Step, now: datetime = NOW) -> None:
        """Do what a step says."""
        self.steps.append(type(step))
        match step:
            case WriteAuthority():
                self.ca_secret = a_secret(
                    authority_data(make_authority(now, self.wanted.ca_lifetime), step.predecessors)
                )
            case PublishBundle():
                self.published, self.published_since = step.bundle, now
            case WriteServing():
                leaf = make_leaf(step.authority, NAMES, now, self.wanted.leaf_lifetime)
                self.serving_secret = a_secret(serving_data(leaf, step.bundle))

    def settle(self, now: datetime = NOW) -> list[type[Step]]:
        """Perform steps until there is none; returns them.

        After each of them what is served is trusted by what is published, unless it was not before.
        """
        self.steps = []
        trusted = self.serving_secret is not None and self.published is not None and not self.distrust(now)
        while (step := self.plan(now)) is not None:
            self.perform(step, now)
            assert not (trusted and self.distrust(now))
            assert len(self.steps) < 10, "the plan does not come to an end"
        return self.steps


@pytest.fixture
def settled() -> Cluster:
    """Return a cluster in which all is in order."""
    cluster = Cluster()
    cluster.settle()
    return cluster


def test_first_installation_takes_three_steps() -> None:
    """From nothing: the authority, then the bundle, then the serving Secret with the bundle as published."""
    cluster = Cluster()
    assert cluster.settle() == [WriteAuthority, PublishBundle, WriteServing]
    assert cluster.serving_secret is not None
    assert read_serving(cluster.serving_secret).bundle == cluster.published


def test_nothing_is_done_when_all_is_in_order(settled: Cluster) -> None:
    """A plan for a settled cluster is empty."""
    assert settled.settle() == []


def test_leaf_waits_for_the_bundle(settled: Cluster) -> None:
    """Nothing is served before `caBundle` was read back equal, whatever else is missing."""
    settled.published, settled.serving_secret = b"something else", None
    assert isinstance(settled.plan(), PublishBundle)


@pytest.mark.parametrize(
    ("name", "value", "steps"),
    [
        pytest.param("ca_secret", None, [WriteAuthority, PublishBundle], id="authority-deleted"),
        pytest.param("ca_secret", {}, [WriteAuthority, PublishBundle], id="authority-damaged"),
        pytest.param("published", None, [PublishBundle], id="bundle-removed"),
        pytest.param("published", b"edited", [PublishBundle], id="bundle-edited"),
        pytest.param("serving_secret", None, [WriteServing], id="leaf-deleted"),
        pytest.param("serving_secret", {}, [WriteServing], id="leaf-damaged"),
    ],
)
def test_damage_heals(settled: Cluster, name: str, value: Any, steps: list[type[Step]]) -> None:
    """Each of the three can be deleted or edited, and what is needed is done again, no more."""
    damaged = replace(settled, **{name: value})
    assert damaged.settle() == steps
    assert damaged.settle() == []


def test_foreign_bundle_in_the_serving_secret_is_replaced(settled: Cluster) -> None:
    """A serving Secret that names another bundle than the published one is written anew."""
    authority, other = (make_authority(NOW, settled.wanted.ca_lifetime) for _ in range(2))
    leaf = make_leaf(authority, NAMES, NOW, settled.wanted.leaf_lifetime)
    settled.ca_secret, settled.published = a_secret(authority_data(authority)), authority.certificate_pem
    settled.serving_secret = a_secret(serving_data(leaf, other.certificate_pem))
    assert settled.settle() == [WriteServing]


def test_leaf_of_other_names_is_replaced(settled: Cluster) -> None:
    """A renamed Service gets a certificate for its names."""
    observed = Observed(settled.ca_secret, settled.serving_secret, settled.published)
    step = plan_certificates(observed, replace(settled.wanted, names=("renamed", "renamed.ns.svc")), NOW)
    assert isinstance(step, WriteServing)
    assert "renamed" in step.reason


def test_leaf_is_renewed_at_two_thirds_of_its_life(settled: Cluster) -> None:
    """Renewal needs no new bundle: the authority stays."""
    assert settled.settle(NOW + timedelta(days=19)) == []
    assert settled.settle(NOW + timedelta(days=20, minutes=1)) == [WriteServing]


@pytest.mark.parametrize(
    ("differs", "steps"),
    [
        ({"leaf_days": 10}, [WriteServing]),
        ({"leaf_days": 95}, [WriteServing]),
        ({"ca_days": 40}, [WriteAuthority, PublishBundle]),
        ({"ca_days": 400}, [WriteAuthority, PublishBundle]),
        ({"leaf_days": 29.999}, []),
    ],
    ids=["shorter-leaf", "longer-leaf", "shorter-authority", "longer-authority", "clocks-that-differ"],
)
def test_changed_lifetime_takes_effect_at_once(settled: Cluster, differs: Any, steps: list[type[Step]]) -> None:
    """What lives longer than is set, or has too little left by it, is replaced; a few minutes make no difference."""
    changed = replace(settled, published_since=None, **differs)
    assert changed.settle() == steps
    assert changed.settle(NOW + DELAY) == ([WriteServing] if WriteAuthority in steps else [])
    assert changed.settle(NOW + 2 * DELAY) == []


def test_lost_authority_costs_no_review(settled: Cluster) -> None:
    """The one that vouches for the leaf in use stays trusted until the new one's leaf has taken over; nobody else."""
    before, old = settled.served(), settled.published
    other = make_authority(NOW, settled.wanted.ca_lifetime).certificate_pem
    assert settled.serving_secret is not None
    settled.serving_secret["data"]["ca.crt"] = authority_data(make_authority(NOW, DELAY), (old or b"") + other)[
        "ca.crt"
    ]
    settled.ca_secret = None

    assert settled.settle() == [WriteAuthority, PublishBundle]
    assert settled.served().chain == before.chain
    assert split_bundle(settled.published or b"")[1:] == [old]
    assert settled.settle(NOW + DELAY) == [WriteServing]
    assert settled.served().chain != before.chain


def test_pair_that_is_no_authority_is_replaced(settled: Cluster) -> None:
    """A serving certificate in the authority's Secret signs nothing that is trusted: a new authority comes."""
    settled.ca_secret = settled.serving_secret
    assert settled.settle()[:2] == [WriteAuthority, PublishBundle]
    assert settled.plan() is None
    assert settled.distrust(NOW) == ""


def test_expired_authority_starts_anew(settled: Cluster) -> None:
    """With an authority that has expired there is nothing to overlap with: all three are made again at once."""
    later = NOW + timedelta(days=CA_DAYS)
    assert settled.settle(later) == [WriteAuthority, PublishBundle, WriteServing]


@pytest.mark.parametrize("days", [0.5, 0.7 * LEAF_DAYS, 0.7 * CA_DAYS, 1.5 * CA_DAYS])
def test_clock_that_was_ahead_for_a_while_does_no_lasting_harm(settled: Cluster, days: float) -> None:
    """What was made by a wrong date is replaced once the date is right again, in few steps."""
    settled.settle(NOW + timedelta(days=days))
    soon = NOW + timedelta(hours=1)

    settled.settle(soon)

    assert settled.distrust(soon) == ""
    assert settled.plan(soon) is None


def test_authority_of_a_clock_that_was_ahead_is_replaced_with_an_overlap(settled: Cluster) -> None:
    """One that is not valid yet is followed by another at once; what was published goes on being trusted."""
    settled.perform(WriteAuthority("a wrong date"), NOW + timedelta(days=400))
    step = settled.plan()

    assert isinstance(step, WriteAuthority)
    assert "not valid yet" in step.reason
    assert (settled.published or b"?") in step.predecessors
    assert settled.settle() == [WriteAuthority, PublishBundle]
    assert settled.settle(NOW + DELAY) == [WriteServing]


def test_authority_gets_its_successor_early_and_without_a_gap(settled: Cluster) -> None:
    """At two thirds of its life: a new authority, both published, the leaf a while after that, the old one out last.

    What is served is trusted by what is published, and by the bundle beside it, at each moment.
    """
    rotation = NOW + timedelta(days=67)
    settled.settle(rotation - timedelta(days=1))
    old = settled.served()

    assert settled.settle(rotation) == [WriteAuthority, PublishBundle]
    assert settled.served() == old
    assert settled.distrust(rotation) == ""
    assert (settled.published or b"").count(b"BEGIN CERTIFICATE") == 2

    assert settled.settle(rotation + timedelta(minutes=1)) == []
    assert settled.settle(rotation + timedelta(minutes=3)) == [WriteServing]
    assert settled.served().bundle == settled.published
    assert settled.distrust(rotation + timedelta(minutes=3)) == ""

    gone = NOW + timedelta(days=CA_DAYS)
    settled.settle(gone - timedelta(days=1))
    assert settled.settle(gone)[0] is PublishBundle
    assert (settled.published or b"").count(b"BEGIN CERTIFICATE") == 1
    assert settled.distrust(gone) == ""


@pytest.mark.parametrize(
    ("leaf", "authority", "delay"), [(30, 100, 0), (30, 100, 7.5), (1, 1, 0.25), (365, 366, 0.001), (1, 5, 0.2)]
)
@pytest.mark.parametrize("unit", [timedelta(days=1), timedelta(seconds=8)], ids=["days", "seconds"])
def test_life_goes_on_for_ever(leaf: float, authority: float, delay: float, unit: timedelta) -> None:
    """Whatever the lifetimes, looked at often enough the plan comes to an end, and no review ever fails."""
    day = timedelta(days=1)
    cluster = Cluster(ca_days=authority * unit / day, leaf_days=leaf * unit / day, delay=delay * unit)
    now, end = NOW, NOW + 2.5 * authority * unit
    while now < end:
        cluster.settle(now)
        assert cluster.distrust(now) == ""
        now += leaf * unit / 20
        assert cluster.distrust(now) == "", "it ended before the next look"


@pytest.mark.parametrize("minutes", [60, 10, 5, 1, 0])
def test_last_minutes_of_an_authority_come_to_an_end(settled: Cluster, minutes: int) -> None:
    """A controller that comes back when its authority is about to end makes a new one, not leaf after leaf."""
    late = NOW + timedelta(days=CA_DAYS) - timedelta(minutes=minutes)
    assert settled.settle(late) == [WriteAuthority, PublishBundle, WriteServing]
    assert settled.distrust(late) == ""


def test_damaged_bundle_of_the_authority_costs_the_overlap_only(settled: Cluster) -> None:
    """An authority's Secret without its bundle, as older versions wrote it, is as good as one with it."""
    assert settled.ca_secret is not None
    for bundle in (None, "", "AAAA", "not base64"):
        settled.ca_secret["data"]["ca.crt"] = bundle
        assert settled.settle() == []
    assert settled.ca_secret["data"][CERTIFICATE_ENTRY]


def test_unsettled_bundle_does_not_hold_up_what_is_needed(settled: Cluster) -> None:
    """A leaf that is not trusted, or whose replica would not trust it, is replaced at once."""
    settled.published_since = NOW
    settled.serving_secret = None
    assert settled.settle() == [WriteServing]
    assert settled.serving_secret is not None
    other = make_authority(NOW, settled.wanted.ca_lifetime)
    settled.serving_secret["data"]["ca.crt"] = authority_data(other)[CERTIFICATE_ENTRY]
    assert settled.settle() == [WriteServing]


def test_steps_give_reasons_without_keys(settled: Cluster) -> None:
    """Each step can be logged: it says why, and shows no key."""
    damaged = (
        replace(settled, ca_secret=None),
        replace(settled, published=None),
        replace(settled, serving_secret=None),
    )
    for cluster in damaged:
        step = cluster.plan()
        assert step is not None
        assert step.reason
        assert "PRIVATE" not in repr(step)
