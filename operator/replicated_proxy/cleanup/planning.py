"""What goes at an uninstallation, and what stays: data in, data out.

The marks decide, as they do for the controller: a copy that carries this installation's goes, one of another
installation and one of somebody else's stay. In the operator's own namespace it is the label that the controller puts
on what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from replicated_proxy.core.leases import Candidate, LeaseTiming, Move, Observation, plan_move
from replicated_proxy.core.objects import Body, mapping_at, text_at
from replicated_proxy.core.pull_secrets import (
    MANAGED_BY_LABEL,
    MANAGER,
    Action,
    Ownership,
    Removal,
    SecretPlan,
    plan_secret,
    read_secret,
)
from replicated_proxy.kube.resources import CONFIG_MAPS, LEASES, SECRETS, Resource
from replicated_proxy.settings import Settings

# No Pod can have a name with a space, so nobody's Lease is taken for ours.
_NOBODY: Final = Candidate("replicated-proxy cleanup")


@dataclass(frozen=True, slots=True)
class CopiesPlan:
    """What happens to the Secrets of the pull secret's name.

    Attributes:
        deletions: those of this installation.
        going: those of this installation that are deleted already and kept by somebody's finalizer.
        others: those of another installation of the operator; left alone.
        foreign: those of anybody else; left alone.
    """

    deletions: tuple[SecretPlan, ...] = ()
    going: int = 0
    others: int = 0
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class HomeObject:
    """Something that the controller made in the operator's own namespace.

    Attributes:
        kind: what it is, for people.
        resource: its kind.
        name: its name.
    """

    kind: str
    resource: Resource
    name: str


def plan_copies(bodies: Iterable[Body], ownership: Ownership) -> CopiesPlan:
    """Sort the Secrets of the pull secret's name by whose they are."""
    deletions: list[SecretPlan] = []
    going = others = foreign = 0
    for body in bodies:
        observed = read_secret(body, ownership)
        plan = plan_secret(observed.namespace, None, observed, Removal.UNINSTALLED)
        if plan.action is Action.DELETE and is_going(body):
            going += 1
        elif plan.action is Action.DELETE:
            deletions.append(plan)
        elif is_made_by_operator(body):
            others += 1
        else:
            foreign += 1
    return CopiesPlan(tuple(deletions), going, others, foreign)


def list_home_objects(settings: Settings) -> tuple[HomeObject, ...]:
    """List what a controller with these settings makes at home; the Lease last, since it tells whether one works."""
    return (
        HomeObject("ConfigMap", CONFIG_MAPS, settings.routes_config_map),
        HomeObject("Secret", SECRETS, settings.certificates.serving_secret),
        HomeObject("Secret", SECRETS, settings.certificates.ca_secret),
        HomeObject("Lease", LEASES, settings.controller.lease_name),
    )


def is_made_by_operator(body: Body) -> bool:
    """Tell whether an object carries the label that the operator puts on what it makes."""
    return mapping_at(body, "metadata", "labels").get(MANAGED_BY_LABEL) == MANAGER


def is_going(body: Body) -> bool:
    """Tell whether an object has been deleted and waits for a finalizer: there is nothing left to do about it."""
    return bool(text_at(body, "metadata", "deletionTimestamp"))


def seconds_until_free(seen: Observation, now: float, timing: LeaseTiming) -> float:
    """Return how long the Lease may still be held, 0 when no controller can be working.

    One that works would make anew what is deleted. Its holder counts as gone when it released the Lease, or did not
    renew it for as long as it may be silent, as for a replica that wants to take over.
    """
    plan = plan_move(_NOBODY, seen, now, timing)
    return 0.0 if plan.move is Move.ACQUIRE else plan.seconds
