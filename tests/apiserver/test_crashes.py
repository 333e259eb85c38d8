"""The controller killed after each of its writes in turn, before it learns what came of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from faulty import FaultyCluster, faulty_cluster
from operating import (
    DEFAULT_HOSTS,
    LICENSE_ID,
    ROUTES,
    SECRET,
    a_license,
    an_application,
    content_of,
    expected_content,
    foreign_secret,
    routes_of,
)
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

NEW_ID = "another-license-id-for-tests"
APP, WORKERS, BROKEN, UNLISTED, FOREIGN = (
    "crash-app",
    "crash-workers",
    "crash-broken",
    "crash-unlisted",
    "crash-foreign",
)
COVERED = (APP, WORKERS, BROKEN)
AT_LEAST = 12  # Certificates, table, five copies, statuses and Events take more.
AT_MOST = 60
Json = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[FaultyCluster]:
    """A cluster behind a proxy, with a License that covers some namespaces."""
    with faulty_cluster() as cluster:
        for namespace in (*COVERED, UNLISTED, FOREIGN):
            cluster.kubectl("create", "namespace", namespace)
        cluster.apply(a_license(APP), an_application(APP, WORKERS, BROKEN, FOREIGN), foreign_secret(FOREIGN))
        yield cluster


@pytest.fixture
def role(cluster: FaultyCluster, tmp_path: Path) -> Iterator[RoleProcess]:
    """A controller that is not started yet."""
    role = RoleProcess("controller", cluster, tmp_path)
    yield role
    role.stop()
    cluster.proxy.disarm()


def an_old_copy(namespace: str, **differs: object) -> Json:
    """Write a copy of ours with an earlier license."""
    content = expected_content(*DEFAULT_HOSTS, license_id="an-earlier-license-id")
    metadata = {
        "name": SECRET,
        "namespace": namespace,
        "annotations": {"proxy.kots.io/installation": f"{NAMESPACE}/{RELEASE}"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
        **differs,
    }


def a_name(kind: str, name: str, namespace: str) -> Json:
    """Write as much of an object as it takes to delete it."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def set_the_stage(cluster: FaultyCluster) -> None:
    """Make a state from which every kind of write is due.

    No certificate, no table and no status; of the copies one is missing, one is of an earlier license, one has to be
    replaced and one has to go.
    """
    gone = [a_name("Secret", SECRET, namespace) for namespace in (*COVERED, UNLISTED)]
    gone += [a_name("Secret", name, NAMESPACE) for name in ("replicated-proxy-ca", "replicated-proxy-serving")]
    gone.append(a_name("ConfigMap", ROUTES, NAMESPACE))
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=yaml.safe_dump_all(gone))
    copies = [an_old_copy(WORKERS), an_old_copy(BROKEN, immutable=True), an_old_copy(UNLISTED)]
    cluster.kubectl("create", "-f", "-", input=yaml.safe_dump_all(copies))
    for kind in ("license", "application"):
        nothing = ("--subresource=status", "--type=merge", "--patch", '{"status":null}')
        cluster.kubectl("patch", kind, "my-app", "-n", APP, *nothing)


def state_of(cluster: FaultyCluster) -> Json:
    """Read everything that the controller is for, without what differs from day to day."""
    selector = f"--field-selector=metadata.name={SECRET}"
    copies = cluster.get("secrets", "--all-namespaces", selector)["items"]
    sources = cluster.get("licenses.kots.io,applications.kots.io", "-n", APP)["items"]
    return {
        "copies": {item["metadata"]["namespace"]: _lasting(item) for item in copies},
        "statuses": {item["kind"]: _timeless(item.get("status", {})) for item in sources},
        "routes": routes_of(cluster),
    }


def _lasting(copy: Json) -> Json:
    """Return what of a Secret we answer for."""
    metadata = {name: copy["metadata"].get(name) for name in ("labels", "annotations")}
    if copy["metadata"]["namespace"] == FOREIGN:
        metadata["resourceVersion"] = copy["metadata"]["resourceVersion"]
    return metadata | {name: copy.get(name) for name in ("data", "type", "immutable")}


def _timeless(status: Json) -> Json:
    """Return a status without its times."""
    conditions = [
        {name: value for name, value in item.items() if name != "lastTransitionTime"}
        for item in status.get("conditions", [])
    ]
    return status | {"conditions": conditions}


def run_until_killed(cluster: FaultyCluster, role: RoleProcess, writes: int) -> bool:
    """Let the controller make so many writes; returns whether it was killed, or came to its end without."""
    role.start(ready=False)
    cluster.proxy.kill_after(writes, role.pid)
    wait_until(
        lambda: cluster.proxy.struck or (role.answer("/readyz") == "ok\n" and cluster.proxy.quiet_for(2.0)),
        what=f"{writes} writes, or the end of them",
        seconds=60,
    )
    killed = cluster.proxy.struck
    if killed:
        role.kill()
    cluster.proxy.disarm()
    return killed


def await_state(cluster: FaultyCluster, wanted: Json, writes: int) -> None:
    """Wait until everything is as it is without a crash."""
    found: Json = {}

    def is_reached() -> bool:
        found.update(state_of(cluster))
        return found == wanted

    try:
        wait_until(is_reached, what="it", seconds=120)
    except Exception as error:
        differs = {name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]}
        raise AssertionError(f"killed after write {writes}: {json.dumps(differs, indent=1)}") from error


def test_crash_after_any_write_is_made_good(cluster: FaultyCluster, role: RoleProcess) -> None:
    """Killed after its first, second, … last write and started again, the controller reaches the same end each time."""
    set_the_stage(cluster)
    assert not run_until_killed(cluster, role, AT_MOST)
    role.stop()
    wanted = state_of(cluster)
    assert wanted["copies"].keys() == {*COVERED, FOREIGN}
    assert wanted["statuses"]["License"]["namespaces"]["summary"] == "3/4"

    for writes in range(1, AT_MOST):
        set_the_stage(cluster)
        killed = run_until_killed(cluster, role, writes)
        if killed:
            role.start()
        await_state(cluster, wanted, writes)
        role.stop()
        if not killed:
            break

    assert not killed
    assert writes > AT_LEAST


def test_restart_alone_writes_nothing(cluster: FaultyCluster, role: RoleProcess) -> None:
    """A controller that starts where everything is as it should be asks, and changes nothing."""
    cluster.apply(a_license(APP, licenseID=LICENSE_ID), an_application(APP, WORKERS, BROKEN, FOREIGN))
    role.start()
    cluster.await_quiet()
    role.stop()

    assert not run_until_killed(cluster, role, 1)


def crash_all_the_way(cluster: FaultyCluster, role: RoleProcess) -> int:
    """Kill the controller after each single write until it has nothing more to write; returns how often."""
    for crashes in range(AT_MOST):
        if not run_until_killed(cluster, role, 1):
            return crashes
    raise AssertionError(f"no end after {AT_MOST} crashes")


@pytest.mark.parametrize(
    ("change", "content"),
    [
        pytest.param(lambda cluster: cluster.apply(a_license(APP, licenseID=NEW_ID)), NEW_ID, id="new-license-id"),
        pytest.param(lambda cluster: cluster.kubectl("delete", "license", "my-app", "-n", APP), "", id="revoked"),
    ],
)
def test_one_write_between_two_crashes_is_enough(
    cluster: FaultyCluster, role: RoleProcess, change: Callable[[FaultyCluster], object], content: str
) -> None:
    """A controller that never lives for more than one write still brings every copy in line, one after the other."""
    cluster.apply(a_license(APP, licenseID=LICENSE_ID), an_application(APP, WORKERS, BROKEN))
    role.start()
    for namespace in COVERED:
        cluster.await_secret(namespace)
    cluster.await_quiet()
    role.kill()
    before = cluster.secret(FOREIGN)
    change(cluster)

    crashes = crash_all_the_way(cluster, role)

    assert crashes >= len(COVERED)
    found = {namespace: cluster.secret(namespace) for namespace in COVERED}
    wanted = expected_content(*DEFAULT_HOSTS, license_id=content) if content else ""
    assert {name: content_of(copy) if copy else "" for name, copy in found.items()} == dict.fromkeys(COVERED, wanted)
    assert cluster.secret(FOREIGN) == before
