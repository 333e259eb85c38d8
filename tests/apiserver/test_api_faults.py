"""The controller on a real API server that answers badly, late or not at all, at start and at work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faulty import FaultyCluster, faulty_cluster
from operating import LICENSE_ID, SECRET, Namespaces, a_license, an_application
from rig.faults import WRITES, Answer, Cut, Delay, Drop, ErrorEvent, Fault, Hang, Lose, Requests
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

NEW_ID = "another-license-id-for-tests"
ALL = Requests(path="/(secrets|namespaces|licenses|applications|configmaps|customresourcedefinitions)")
LISTS = Requests(path="^/api", methods=frozenset({"GET"}), watch=False)
PAGES = Requests(path="[?&]continue=")
WATCHES = Requests(watch=True)
EACH_WATCH = [
    Requests(path=f"^{path}[?]", watch=True)
    for path in (
        "/api/v1/namespaces",
        "/api/v1/secrets",
        "/apis/kots.io/v1beta1/licenses",
        "/apis/kots.io/v1beta1/applications",
    )
]
SECRET_WRITES = Requests(path="/secrets", methods=WRITES)
SECRET_WRITES_ELSEWHERE = Requests(path=r"/(app|workers|other)-[0-9a-f]+/secrets", methods=WRITES)
EVERY_WRITE = Requests(methods=WRITES)
FAULTS: dict[str, tuple[Requests, Fault, int]] = {
    "throttled": (ALL, Answer(429, "TooManyRequests", retry_after=1), 8),
    "overloaded": (ALL, Answer(503, "ServiceUnavailable", retry_after=1), 8),
    "broken": (ALL, Answer(500, "InternalError"), 8),
    "writes-throttled": (SECRET_WRITES, Answer(429, "TooManyRequests", retry_after=1), 3),
    "writes-conflict": (EVERY_WRITE, Answer(409, "Conflict"), 4),
    "writes-exist-already": (Requests(path="/secrets", methods=frozenset({"POST"})), Answer(409, "AlreadyExists"), 2),
    "writes-forbidden": (EVERY_WRITE, Answer(403, "Forbidden"), 3),
    "writes-slow": (EVERY_WRITE, Delay(1.5), 4),
    "writes-dropped": (EVERY_WRITE, Drop(), 4),
    "answers-lost": (EVERY_WRITE, Lose(), 4),
    "lists-gone": (LISTS, Answer(410, "Expired"), 3),
    "lists-forbidden": (LISTS, Answer(403, "Forbidden"), 5),
    "pages-expired": (PAGES, Answer(410, "Expired"), 4),
    "watches-gone": (WATCHES, Answer(410, "Expired"), 6),
    "watches-broken": (WATCHES, Answer(500, "InternalError"), 6),
    "watches-dropped": (WATCHES, Drop(), 6),
    "watches-cut": (WATCHES, Cut(), 6),
    "watches-cut-cleanly": (WATCHES, Cut(clean=True), 6),
    "watches-told-gone": (WATCHES, ErrorEvent(410, "Expired"), 6),
    "watches-told-of-an-error": (WATCHES, ErrorEvent(500, "InternalError"), 6),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[FaultyCluster]:
    """A cluster behind a proxy; listings come in pages of two, so that there are any."""
    with faulty_cluster() as cluster:
        cluster.proxy.page = 2
        yield cluster


@pytest.fixture
def stopped(cluster: FaultyCluster, tmp_path: Path) -> Iterator[RoleProcess]:
    """A controller that the test starts; nothing of the test is left that could cover other tests' namespaces."""
    role = RoleProcess("controller", cluster, tmp_path)
    yield role
    role.stop()
    cluster.proxy.clear()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_survived(
    cluster: FaultyCluster, stopped: RoleProcess, namespaces: Namespaces, faults: tuple[Requests, Fault, int]
) -> None:
    """Whatever the API server answers at start and at work, everything is right in the end, and then it is quiet."""
    app, workers = namespaces.create("app", "workers")
    late = namespaces.name("late")
    cluster.apply(a_license(app), an_application(app, workers, late))

    at_start = cluster.proxy.inject(*faults)
    stopped.start()
    cluster.await_synced(app, workers, license_id=LICENSE_ID)
    at_work = cluster.proxy.inject(*faults)
    # Nobody lists or asks for a watch while all is well, so the running one of each kind is ended.
    for running in EACH_WATCH:
        cluster.proxy.inject(running, ErrorEvent(410, "Expired"))
    cluster.kubectl("delete", "secret", SECRET, "-n", workers)
    cluster.apply(a_license(app, licenseID=NEW_ID))
    namespaces.create("late")
    cluster.await_synced(app, workers, late, license_id=NEW_ID)
    cluster.proxy.clear()
    cluster.await_quiet()

    stopped.await_ready()

    assert at_start.hits
    assert at_work.hits
    assert stopped.answer("/livez") == "ok\n"


@pytest.mark.parametrize("unlisted", ["licenses", "applications", "namespaces", "secrets"])
def test_nothing_is_concluded_before_everything_was_listed(
    cluster: FaultyCluster, stopped: RoleProcess, namespaces: Namespaces, unlisted: str
) -> None:
    """A controller that starts and cannot list one of the four kinds writes and deletes no copy until it can."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    stopped.start()
    cluster.await_synced(app, workers, license_id=LICENSE_ID)
    stopped.kill()
    [other] = namespaces.create("other")
    cluster.apply(an_application(app, other))
    before = cluster.secret(workers)

    kept_back = cluster.proxy.inject(Requests(path=f"/{unlisted}[?]", watch=False), Answer(500, "InternalError"), None)
    written = cluster.proxy.inject(SECRET_WRITES_ELSEWHERE, Delay(0), None)
    stopped.start(ready=False)
    stopped.await_answer("/readyz", "not everything has been listed once")
    wait_until(lambda: kept_back.hits > 5, what="tries", seconds=60)

    assert written.hits == 0
    assert cluster.secret(workers) == before
    cluster.proxy.clear()
    cluster.await_synced(app, other, license_id=LICENSE_ID)
    cluster.await_no_secret(workers)


def test_api_server_that_is_away_is_waited_for(
    cluster: FaultyCluster, stopped: RoleProcess, namespaces: Namespaces
) -> None:
    """While nothing answers the process lives on, and afterwards it does what it missed."""
    app, workers = namespaces.create("app", "workers")
    cluster.apply(a_license(app), an_application(app, workers))
    stopped.start()
    cluster.await_synced(app, workers, license_id=LICENSE_ID)
    pid = stopped.pid

    away = cluster.proxy.inject(Requests(), Drop(), None)
    cluster.kubectl("delete", "secret", SECRET, "-n", workers)
    cluster.apply(a_license(app, licenseID=NEW_ID))
    wait_until(lambda: away.hits > 20, what="tries", seconds=60)

    assert stopped.answer("/livez") == "ok\n"
    cluster.proxy.clear()
    cluster.await_synced(app, workers, license_id=NEW_ID)
    cluster.await_quiet()

    assert stopped.pid == pid


def test_requests_that_hang_hold_nobody_up(
    cluster: FaultyCluster, stopped: RoleProcess, namespaces: Namespaces
) -> None:
    """A write that is never answered ends by its own timeout, and the other namespaces do not wait for it."""
    app, hanging, fine = namespaces.create("app", "hanging", "fine")
    stopped.start()
    hang = cluster.proxy.inject(Requests(path=f"/{hanging}/secrets", methods=WRITES), Hang())

    cluster.apply(a_license(app), an_application(app, hanging, fine))
    cluster.await_secret(fine)
    wait_until(lambda: hang.hits, what="the request", seconds=20)

    assert not cluster.secret(hanging)

    cluster.await_synced(app, hanging, fine, license_id=LICENSE_ID)


def test_throttled_namespace_is_left_alone_for_as_long_as_was_asked(
    cluster: FaultyCluster, stopped: RoleProcess, namespaces: Namespaces
) -> None:
    """With a Retry-After of a minute a namespace is not tried again before, and the status says what is wrong."""
    app, throttled, fine = namespaces.create("app", "throttled", "fine")
    stopped.start()
    began = time.monotonic()
    rule = cluster.proxy.inject(
        Requests(path=f"/{throttled}/secrets", methods=WRITES), Answer(429, "TooManyRequests", retry_after=60), None
    )

    cluster.apply(a_license(app), an_application(app, throttled, fine))
    cluster.await_secret(fine)
    wait_until(lambda: failures_of(cluster, app), what="the failure", seconds=20)
    cluster.await_quiet()

    assert 1 <= rule.hits <= 1 + (time.monotonic() - began) // 60
    assert failures_of(cluster, app) == [(throttled, "TooManyRequests")]
    assert 'replicated_proxy_failures{reason="TooManyRequests"} 1.0' in stopped.answer("/metrics")


def failures_of(cluster: FaultyCluster, home: str) -> list[tuple[str, str]]:
    """Read the failures in a License's status."""
    failures = cluster.get("license", "my-app", "-n", home).get("status", {}).get("failures", [])
    return [(item["namespace"], item["reason"]) for item in failures]
