"""Which step comes next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from replicated_proxy.certificates.documents import authority_data, read_serving, serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf
from replicated_proxy.certificates.planning import (
    Observed,
    PublishBundle,
    Step,
    WriteAuthority,
    WriteServing,
    plan_certificates,
)
from serving import NAMES, NOW, a_secret

CA_DAYS, LEAF_DAYS = 100, 30


@dataclass
class Cluster:
    """What is stored, and what the controller does about a step."""

    ca_secret: dict[str, Any] | None = None
    serving_secret: dict[str, Any] | None = None
    published: bytes | None = None
    steps: list[type[Step]] = field(default_factory=list)

    def plan(self, now: datetime = NOW) -> Step | None:
        """Plan for what is stored."""
        return plan_certificates(Observed(self.ca_secret, self.serving_secret, self.published), NAMES, now)

    def perform(self, step: Step, now: datetime = NOW) -> None:
        """Do what a step says."""
        self.steps.append(type(step))
        match step:
            case WriteAuthority():
                self.ca_secret = a_secret(authority_data(make_authority(now, CA_DAYS)))
            case PublishBundle():
                self.published = step.bundle
            case WriteServing():
                leaf = make_leaf(step.authority, NAMES, now, LEAF_DAYS)
                self.serving_secret = a_secret(serving_data(leaf, step.bundle))

    def settle(self, now: datetime = NOW) -> list[type[Step]]:
        """Perform steps until there is none; returns them."""
        self.steps = []
        while (step := self.plan(now)) is not None:
            self.perform(step, now)
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
        pytest.param("ca_secret", None, [WriteAuthority, PublishBundle, WriteServing], id="authority-deleted"),
        pytest.param("ca_secret", {}, [WriteAuthority, PublishBundle, WriteServing], id="authority-damaged"),
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
    authority, other = make_authority(NOW, CA_DAYS), make_authority(NOW, CA_DAYS)
    leaf = make_leaf(authority, NAMES, NOW, LEAF_DAYS)
    settled.ca_secret, settled.published = a_secret(authority_data(authority)), authority.certificate_pem
    settled.serving_secret = a_secret(serving_data(leaf, other.certificate_pem))
    assert settled.settle() == [WriteServing]


def test_leaf_of_other_names_is_replaced(settled: Cluster) -> None:
    """A renamed Service gets a certificate for its names."""
    observed = Observed(settled.ca_secret, settled.serving_secret, settled.published)
    step = plan_certificates(observed, ("renamed", "renamed.ns.svc"), NOW)
    assert isinstance(step, WriteServing)
    assert "renamed" in step.reason


def test_leaf_is_renewed_at_two_thirds_of_its_life(settled: Cluster) -> None:
    """Renewal needs no new bundle: the authority stays."""
    assert settled.settle(NOW + timedelta(days=19)) == []
    assert settled.settle(NOW + timedelta(days=21)) == [WriteServing]


def test_expired_authority_starts_anew(settled: Cluster) -> None:
    """With an authority that has expired there is nothing to overlap with: all three are made again."""
    later = NOW + timedelta(days=CA_DAYS)
    assert settled.settle(later) == [WriteAuthority, PublishBundle, WriteServing]


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
