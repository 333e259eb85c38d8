"""The API server and its storage go away and come back: both roles go on by themselves."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from demo.story import IMAGE, LICENSE_ID, PROXIED
from node.conftest import SLUG, Installed
from operating import a_license, an_application
from pod_stream import Outcome, PodStream, describe
from rig.errors import RigError
from rig.outages import program_away
from rig.roles import NAMESPACE as OPERATOR
from rig.waiting import wait_until

pytestmark = [pytest.mark.node, pytest.mark.own_node]
_log = logging.getLogger(__name__)
_READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


@pytest.fixture
def covered(installed: Installed) -> Iterator[str]:
    """A namespace with a License that covers every other one."""
    namespace = installed.create_namespace("outage")
    installed.apply(a_license(namespace, appSlug=SLUG, licenseID=LICENSE_ID), an_application(namespace, "*"))
    installed.await_secret(namespace)
    yield namespace
    installed.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "-n", namespace)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def pods(installed: Installed, covered: str) -> Iterator[PodStream]:
    """Pods without pause in that namespace."""
    with PodStream(installed.node.kubeconfig, covered, IMAGE, PROXIED) as pods:
        yield pods


def restarts(installed: Installed) -> dict[str, int]:
    """Return how often the container of each of the operator's Pods was started again."""
    items = installed.get("pods", "-n", OPERATOR)["items"]
    return {item["metadata"]["name"]: item["status"]["containerStatuses"][0]["restartCount"] for item in items}


def is_up(installed: Installed) -> bool:
    """Tell whether the API server says that it is ready."""
    try:
        return installed.kubectl("get", "--raw", "/readyz") == "ok"
    except RigError:
        return False


def addresses(installed: Installed, role: str) -> list[str]:
    """Return the addresses of a role's Pods."""
    items = installed.get("pods", "-n", OPERATOR, "-l", f"app.kubernetes.io/component={role}")["items"]
    return [item["status"]["podIP"] for item in items]


def read(installed: Installed, address: str, path: str) -> str:
    """Ask a Pod's health server from the node itself: in an outage nobody else reaches it."""
    return installed.node.run([sys.executable, "-c", _READ, f"http://{address}:8080{path}"])


def await_recovery(installed: Installed, pods: PodStream) -> float:
    """Wait until everything works again; returns since when Pods must be rewritten."""
    wait_until(lambda: is_up(installed), what="the API server", seconds=120)
    begun = pods.await_more(24, Outcome.REWRITTEN)
    _log.info("since the first Pod: %s", dict(pods.outcomes()))
    late = installed.create_namespace("after-outage")
    installed.await_secret(late)
    installed.kubectl("delete", "namespace", late, "--wait=false")
    return begun


def test_both_roles_survive_a_restart_of_the_api_server(installed: Installed, pods: PodStream) -> None:
    """It is killed and comes back: then Pods are rewritten, new namespaces get their secret, nothing was restarted."""
    before = restarts(installed)
    with program_away(installed.own_node, "kube-apiserver"):
        pods.await_more(12, Outcome.UNREACHABLE)
    begun = await_recovery(installed, pods)

    assert describe(pods.creations(begun, Outcome.REFUSED, Outcome.UNCHANGED, Outcome.UNREACHABLE)) == []
    assert restarts(installed) == before


def test_both_roles_survive_an_outage_of_etcd(installed: Installed, pods: PodStream) -> None:
    """It is away until the leader stops writing; replicas stay ready, and with its return everything goes on."""
    before = restarts(installed)
    (controller,), replicas = addresses(installed, "controller"), addresses(installed, "webhook")
    leading = "\nreplicated_proxy_leader 1.0\n"
    assert leading in read(installed, controller, "/metrics")
    with program_away(installed.own_node, "etcd"):
        wait_until(lambda: leading not in read(installed, controller, "/metrics"), what="its resignation", seconds=60)
        assert [read(installed, replica, "/readyz").strip() for replica in replicas] == ["ok", "ok"]
    begun = await_recovery(installed, pods)

    assert describe(pods.creations(begun, Outcome.REFUSED, Outcome.UNCHANGED, Outcome.UNREACHABLE)) == []
    assert restarts(installed) == before
