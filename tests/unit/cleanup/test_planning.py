"""What goes at an uninstallation and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from builders import Json
from replicated_proxy.cleanup.planning import is_made_by_operator, list_home_objects, plan_copies, seconds_until_free
from replicated_proxy.core.leases import LeaseTiming, Observation, observe
from replicated_proxy.core.pull_secrets import Action, DesiredSecret, Ownership, Removal, render_secret
from replicated_proxy.settings import CertificateSettings, ControllerSettings, Settings

OURS = Ownership("home/release", "pull")
OTHERS = Ownership("home/another", "pull")


def a_copy(namespace: str, ownership: Ownership = OURS, **metadata: Any) -> Json:
    """Write a copy as the API server has it."""
    body = render_secret(namespace, DesiredSecret(b'{"auths":{}}', ("license",)), ownership)
    body["metadata"] |= {"uid": f"uid-{namespace}", "resourceVersion": "1", **metadata}
    return body


def a_foreign_secret(namespace: str, **metadata: Any) -> Json:
    """Write somebody else's Secret of the name."""
    return {"metadata": {"name": "pull", "namespace": namespace, "uid": "x", **metadata}, "type": "Opaque"}


def test_ours_go_and_everything_else_stays() -> None:
    """Copies of this installation are deleted by their UID; others and foreign ones are counted."""
    bodies = [a_copy("a"), a_copy("b", OTHERS), a_foreign_secret("c"), a_copy("d"), a_foreign_secret("e")]

    plan = plan_copies(bodies, OURS)

    assert [(one.action, one.namespace) for one in plan.deletions] == [(Action.DELETE, "a"), (Action.DELETE, "d")]
    assert [one.observed.uid for one in plan.deletions if one.observed] == ["uid-a", "uid-d"]
    assert {one.reason for one in plan.deletions} == {Removal.UNINSTALLED.value}
    assert (plan.others, plan.foreign, plan.going) == (1, 2, 0)


@pytest.mark.parametrize(
    ("body", "goes"),
    [
        (a_copy("a", labels={}), True),
        (a_copy("a", annotations={}), True),
        (a_copy("a", labels={}, annotations={}), False),
        (a_copy("a", OTHERS), False),
        (a_foreign_secret("a", annotations={"proxy.kots.io/adopt": "true"}), False),
        (a_foreign_secret("a", labels={"app.kubernetes.io/managed-by": "replicated-proxy-operator"}), False),
        ({**a_copy("a"), "immutable": True}, True),
        ({**a_copy("a"), "type": "Opaque", "data": None}, True),
        (a_foreign_secret("a", labels=5, annotations=["x"]), False),
    ],
)
def test_one_mark_of_ours_is_enough_and_none_is_not(body: Json, goes: bool) -> None:
    """What counts is whose it is: by label or by annotation, whatever else somebody did to it."""
    assert bool(plan_copies([body], OURS).deletions) is goes


def test_what_a_finalizer_keeps_is_not_deleted_again() -> None:
    """A copy that is deleted already holds up nothing."""
    plan = plan_copies([a_copy("a", deletionTimestamp="2026-01-01T00:00:00Z")], OURS)

    assert (plan.deletions, plan.going) == ((), 1)


def test_home_objects_are_those_of_the_settings() -> None:
    """Renamed objects are found by their names, and the Lease is the last."""
    settings = Settings(
        routes_config_map="table",
        certificates=CertificateSettings(ca_secret="ca", serving_secret="tls"),
        controller=ControllerSettings(lease_name="lead"),
    )

    found = [(item.resource.plural, item.name) for item in list_home_objects(settings)]

    assert found == [("configmaps", "table"), ("secrets", "tls"), ("secrets", "ca"), ("leases", "lead")]


@pytest.mark.parametrize(
    ("labels", "made"),
    [
        ({"app.kubernetes.io/managed-by": "replicated-proxy-operator"}, True),
        ({"app.kubernetes.io/managed-by": "Helm"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_label_tells_what_the_operator_made(labels: object, made: bool) -> None:
    """An object of one of these names that somebody else made is left alone."""
    assert is_made_by_operator({"metadata": {"labels": labels}}) is made


TIMING = LeaseTiming(15, 10, 2)


def _seen(record: Json | None, since: float = 0.0) -> Observation:
    """Observe a Lease with this spec."""
    body = None if record is None else {"metadata": {"resourceVersion": "1"}, "spec": record}
    return observe(None, body, since)


@pytest.mark.parametrize(
    ("record", "now", "seconds"),
    [
        (None, 0, 0),
        ({}, 0, 0),
        ({"holderIdentity": "", "leaseDurationSeconds": 1}, 0, 0),
        ({"holderIdentity": "pod", "leaseDurationSeconds": 30}, 0, 30),
        ({"holderIdentity": "pod", "leaseDurationSeconds": 30}, 29, 1),
        ({"holderIdentity": "pod", "leaseDurationSeconds": 30}, 30, 0),
        ({"holderIdentity": "pod"}, 0, 15),
        ({"holderIdentity": "replicated-proxy cleanup 2", "leaseDurationSeconds": 3}, 0, 3),
    ],
)
def test_a_lease_is_free_when_its_holder_is_silent(record: Json | None, now: float, seconds: float) -> None:
    """Nobody works when the Lease is missing, was released, or was not renewed for its whole duration."""
    assert seconds_until_free(_seen(record), now, TIMING) == seconds
