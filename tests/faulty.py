"""A cluster whose API server the controller reaches through a proxy that breaks what a test wants broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operating import Cluster, content_of, expected_content
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.fault_proxy import FaultProxy
from rig.waiting import wait_until

QUIET_SECONDS = 2.0


class FaultyCluster(Cluster):
    """The installation behind a proxy; kubectl goes around it.

    Attributes:
        proxy: what stands between the controller and the API server.
    """

    def __init__(self, plane: ControlPlane, helm: Path, proxy: FaultProxy) -> None:
        super().__init__(plane, helm)
        self.proxy = proxy

    def kubeconfig(self, role: str) -> Path:
        """Write a role's kubeconfig, by way of the proxy."""
        return self.proxy.kubeconfig(super().kubeconfig(role))

    def await_synced(self, home: str, *namespaces: str, license_id: str, seconds: float = 180) -> None:
        """Wait until every namespace has the right copy and the License's status says so."""
        wanted = expected_content("proxy.replicated.com", "registry.replicated.com", license_id=license_id)
        for namespace in (home, *namespaces):
            wait_until(
                lambda name=namespace: (found := self.secret(name)) and content_of(found) == wanted,  # type: ignore[misc]
                what=f"the right copy in {namespace}",
                seconds=seconds,
            )
        number = len(namespaces) + 1
        wait_until(
            lambda: self._status_says(home, f"{number}/{number}"), what=f"{number} synced namespaces", seconds=seconds
        )

    def _status_says(self, home: str, summary: str) -> bool:
        """Tell whether a License's status is that of its present generation and counts these namespaces."""
        found = self.get("license", "my-app", "-n", home)
        status = found.get("status", {})
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status["namespaces"]["summary"] == summary
            and not status["failures"]
        )

    def await_quiet(self) -> None:
        """Wait until the controller asks for nothing any more."""
        wait_until(lambda: self.proxy.quiet_for(QUIET_SECONDS), what="a quiet controller", seconds=30)


@contextmanager
def faulty_cluster() -> Iterator[FaultyCluster]:
    """Bring one up, with the chart installed."""
    with ControlPlane() as plane, FaultProxy(plane) as proxy:
        cluster = FaultyCluster(plane, provide(["helm"])["helm"], proxy)
        cluster.install()
        yield cluster
