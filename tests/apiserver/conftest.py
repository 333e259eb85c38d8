"""One control plane for the whole session; every test works in namespaces of its own."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from operating import Cluster, Json, Namespaces
from replicated_proxy.kube.client import KubeClient
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.roles import RoleProcess

# A client whose test ends closes its connections over TLS in turns of a loop that has ended by then; which later test
# the garbage collector meets the remains in, is chance. The roles under test are processes of their own, and what the
# unit tests leave open still fails them, so nothing of the product's is overlooked.
_REMAINS = ("ignore:unclosed transport:ResourceWarning", "ignore:unclosed <s:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test on the API server fail for what an earlier one's client left to the garbage collector."""
    for item in items:
        if item.get_closest_marker("apiserver"):
            for remains in _REMAINS:
                item.add_marker(pytest.mark.filterwarnings(remains))


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """Etcd, API server and controllers, up in seconds; the audit log says who asked for what."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        yield plane


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The product's own client, as the administrator."""
    connected = await KubeClient.connect(control_plane.kubeconfig)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture
def make_namespace(control_plane: ControlPlane) -> Iterator[Callable[..., str]]:
    """Create namespaces that no other test sees: `make_namespace("workers", label="value")` returns the full name.

    They are deleted at the end without waiting: finalizing is the control plane's business.
    """
    created: list[str] = []

    def make(prefix: str = "test", **labels: str) -> str:
        name = f"{prefix}-{secrets.token_hex(4)}"
        control_plane.kubectl("create", "namespace", name)
        if labels:
            control_plane.kubectl("label", "namespace", name, *(f"{key}={value}" for key, value in labels.items()))
        # Pods are refused until the namespace has its service account.
        control_plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=120s")
        created.append(name)
        return name

    yield make
    if created:
        control_plane.kubectl("delete", "namespace", *created, "--wait=false")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: these tests stop it, and delete its definitions."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        yield cluster


@pytest.fixture
def controller(cluster: Cluster, tmp_path: Path) -> Iterator[RoleProcess]:
    """The controller, running; afterwards nothing of the test is left that could cover other tests' namespaces."""
    cluster.install()
    running = RoleProcess("controller", cluster, tmp_path)
    running.start()
    yield running
    running.stop()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")


@pytest.fixture
def start_controller(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[Json], RoleProcess]]:
    """Start a controller with values of the test's own; afterwards nothing of the test is left."""
    started: list[RoleProcess] = []

    def start(values: Json) -> RoleProcess:
        cluster.install(values)
        folder = tmp_path / str(len(started))
        folder.mkdir()
        running = RoleProcess("controller", cluster, folder, values)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")
    cluster.install()


@pytest.fixture
def namespaces(cluster: Cluster) -> Iterator[Namespaces]:
    """Make namespaces; they are deleted at the end without waiting."""
    made = Namespaces(cluster)
    yield made
    if made.created:
        cluster.kubectl("delete", "namespace", *made.created, "--ignore-not-found", "--wait=false")
