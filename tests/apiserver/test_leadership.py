"""Two replicas of the controller on a real API server: one writes, whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditing import Json, moment_of, read_moment, requests_of, shown, writes_of
from operating import (
    DEFAULT_HOSTS,
    SECRET,
    Cluster,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
)
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

LEASE = "replicated-proxy-controller"
# As short as a busy machine allows: whoever is kept from renewing for so long loses the Lease.
SHORT = {"leaseSeconds": 6, "renewSeconds": 4, "retrySeconds": 0.5}
# So long that no takeover in a test's time can come from its running out.
LONG = {"leaseSeconds": 600, "renewSeconds": 300, "retrySeconds": 0.5}
Replicas = Callable[..., tuple[RoleProcess, RoleProcess]]


@pytest.fixture
def replicas(cluster: Cluster, tmp_path: Path) -> Iterator[Replicas]:
    """Make two replicas, of which the first leads; nothing of them is left for the next test."""
    cluster.install()
    made: list[RoleProcess] = []

    def make(timing: dict[str, float]) -> tuple[RoleProcess, RoleProcess]:
        values = {"settings": {"controller": timing}}
        # Names of their own: the audit log is that of the whole module.
        one, other = (
            RoleProcess("controller", cluster, tmp_path, values, replica=f"{tmp_path.name}-{number}")
            for number in (1, 2)
        )
        made.extend((one, other))
        one.start()
        await_leader(one)
        other.start()
        return one, other

    yield make
    for replica in made:
        replica.stop()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")
    cluster.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")


def leads(replica: RoleProcess) -> bool:
    """Tell whether a replica says that it leads."""
    return "replicated_proxy_leader 1.0" in replica.answer("/metrics")


def stands_by(replica: RoleProcess) -> bool:
    """Tell whether a replica says that it does not lead."""
    return "replicated_proxy_leader 0.0" in replica.answer("/metrics")


def await_leader(replica: RoleProcess) -> None:
    """Wait until a replica leads."""
    wait_until(lambda: leads(replica), what=f"{replica.identity} to lead", seconds=30)


def is_renewal(event: Json) -> bool:
    """Tell whether a request was a write of the Lease that was accepted."""
    return (event["verb"], event["objectRef"]["resource"], event["responseStatus"]["code"]) == ("update", "leases", 200)


def lease_of(cluster: Cluster) -> Json:
    """Read the Lease's spec."""
    spec: Json = cluster.get("lease", LEASE, "-n", NAMESPACE)["spec"]
    return spec


def edit_lease(cluster: Cluster, **spec: object) -> None:
    """Edit the Lease, as somebody with kubectl can; one that was deleted comes back in a moment."""
    wait_until(lambda: cluster.exists("lease", LEASE, "-n", NAMESPACE), what="the Lease", seconds=30)
    cluster.kubectl("patch", "lease", LEASE, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": spec}))


def await_license(cluster: Cluster, license_id: str, *names: str) -> None:
    """Wait until the pull secrets of namespaces have a certain license."""
    content = expected_content(*DEFAULT_HOSTS, license_id=license_id)
    for name in names:
        wait_until(
            lambda name=name: (found := cluster.secret(name)) and content_of(found) == content,  # type: ignore[misc]
            what=f"{license_id} in {name}",
            seconds=30,
        )


def test_one_replica_writes_and_the_other_is_ready(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """The standby is ready, follows everything, and writes nothing."""
    one, other = replicas(LONG)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)
    cluster.kubectl("delete", "secret", SECRET, "-n", workers)
    cluster.await_secret(workers)

    assert other.answer("/readyz") == "ok\n"
    assert stands_by(other)
    assert shown(writes_of(cluster, other.identity)) == []
    assert writes_of(cluster, one.identity) != []
    assert lease_of(cluster)["holderIdentity"] == one.identity


def test_replica_that_is_stopped_hands_over_at_once(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """SIGTERM releases the Lease: the other replica takes over although the Lease would have run on for long."""
    one, other = replicas(LONG)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)

    one.stop()
    await_leader(other)
    cluster.kubectl("delete", "secret", SECRET, "-n", workers)
    cluster.await_secret(workers)

    assert lease_of(cluster)["holderIdentity"] == other.identity
    assert lease_of(cluster)["leaseTransitions"] == 1


def test_replica_that_is_killed_is_followed_when_its_lease_has_run_out(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """After SIGKILL the other replica waits for the Lease's whole duration, takes over, and nothing is lost."""
    one, other = replicas(SHORT)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)

    one.kill()
    last = max(moment_of(event) for event in requests_of(cluster, one.identity) if is_renewal(event))
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(workers)
    lease = lease_of(cluster)

    assert lease["holderIdentity"] == other.identity
    assert (read_moment(lease["acquireTime"]) - last).total_seconds() >= SHORT["leaseSeconds"]


def test_container_that_is_started_again_takes_its_own_lease(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """A crashed container finds the Lease of its Pod and goes on at once, standby or not."""
    one, other = replicas(LONG)
    [app] = namespaces.create("app")
    one.kill()
    cluster.apply(a_license(app))
    one.start()
    cluster.await_secret(app)

    assert leads(one)
    assert stands_by(other)


def test_replica_that_was_frozen_writes_nothing_afterwards(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """A leader that is stopped past its Lease in the middle of its work finds on waking that it is a standby."""
    one, other = replicas(SHORT)
    names = namespaces.create("app", *(f"n{number}" for number in range(8)))
    app, *workers = names
    cluster.apply(a_license(app), an_application(app, *workers))
    await_license(cluster, "planted-license-id-for-tests", *names)

    written = len(writes_of(cluster, one.identity))
    cluster.apply(a_license(app, licenseID="second-license-id"))
    wait_until(lambda: len(writes_of(cluster, one.identity)) > written, what="the first writes", seconds=20)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        cluster.apply(a_license(app, licenseID="third-license-id"))
        await_license(cluster, "third-license-id", *names)
        taken = read_moment(lease_of(cluster)["acquireTime"])
    finally:
        os.kill(one.pid, signal.SIGCONT)
    wait_until(lambda: stands_by(one), what="the frozen one to stand by", seconds=30)
    one.await_ready()
    await_license(cluster, "third-license-id", *names)

    assert leads(other)
    assert shown([event for event in writes_of(cluster, one.identity) if moment_of(event) > taken]) == []


def test_lease_that_somebody_takes_away_stops_the_writing(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """Whoever edits the holder stops all writing until the Lease is free again; then everything is made good."""
    one, other = replicas(SHORT)
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    cluster.await_secret(workers)

    edit_lease(cluster, holderIdentity="intruder", leaseDurationSeconds=600)
    wait_until(lambda: stands_by(one) and stands_by(other), what="the end of the term", seconds=20)
    ended = datetime.now(UTC)
    cluster.kubectl("delete", "secret", SECRET, "-n", workers)
    [late] = namespaces.create("late")
    cluster.apply(an_application(app, workers, late))
    for replica in (one, other):
        replica.await_ready()
    meanwhile = [event for replica in (one, other) for event in writes_of(cluster, replica.identity)]
    assert shown([event for event in meanwhile if moment_of(event) > ended]) == []
    assert cluster.secret(workers) == {}

    edit_lease(cluster, holderIdentity="")
    cluster.await_secret(workers)
    cluster.await_secret(late)
    wait_until(lambda: leads(one) != leads(other), what="one leader", seconds=20)


def test_lease_that_changes_hands_again_and_again_harms_nothing(
    cluster: Cluster, replicas: Replicas, namespaces: Namespaces
) -> None:
    """Two replicas pushed into leading in turns, the Lease deleted between, leave every secret as it should be."""
    one, other = replicas(SHORT)
    names = namespaces.create("app", "n1", "n2", "n3")
    app, *workers = names
    cluster.apply(a_license(app), an_application(app, *workers))

    for number, holder in enumerate((other, one, other, one)):
        cluster.apply(a_license(app, licenseID=f"license-id-{number}"))
        edit_lease(cluster, holderIdentity=holder.identity)
        if number % 2:
            cluster.kubectl("delete", "lease", LEASE, "-n", NAMESPACE)
        await_license(cluster, f"license-id-{number}", *names)
    wait_until(lambda: leads(one) != leads(other), what="one leader", seconds=20)

    for replica in (one, other):
        replica.await_ready()
    for name in names:
        cluster.kubectl("delete", "secret", SECRET, "-n", name)
    await_license(cluster, "license-id-3", *names)
