"""A control plane with the operator's roles beside it and one License, for what the API server has to show."""

from __future__ import annotations

import base64
import json
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.asking import Target
from bench.review import bare_pod, distinct
from replicated_proxy.kube.client import Object
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.progress import step
from rig.roles import RELEASE, LocalInstallation, RoleProcess
from rig.waiting import wait_until

NAMESPACE = "workers"
PREFIX = "proxy.replicated.com/proxy/my-app/"
_PATIENCE_SECONDS = 60
_VALUES = {
    "settings": {
        "rewrite": {"mode": "private"},
        "detection": {"assume": {"quay.io": "Private", "docker.io": "Private"}},
    }
}
_LICENSE = {
    "apiVersion": "kots.io/v1beta1",
    "kind": "License",
    "metadata": {"name": "my-app", "namespace": NAMESPACE},
    "spec": {"appSlug": "my-app", "licenseID": "made-up-license-id-of-the-bench", "licenseType": "prod"},
}


@dataclass(frozen=True, slots=True)
class BenchCluster:
    """What there is while it runs.

    Attributes:
        plane: etcd, API server, controller manager.
        webhook: the webhook's process.
        folder: room for files.
    """

    plane: ControlPlane
    webhook: RoleProcess
    folder: Path

    def pods(self, pods: str = "replicas", *, dry_run: bool = False) -> Target:
        """Return how to create Pods."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods{'?dryRun=All' if dry_run else ''}"
        authority = str(self.plane.certificate_authority)
        client = str(self.plane.workdir / "pki" / "client-rig-admin-system.masters")
        return Target((self.plane.port,), "localhost", authority, NAMESPACE, pods, path, client)

    def reviews(self) -> Target:
        """Return how to ask the webhook itself."""
        config = self.configuration()["webhooks"][0]["clientConfig"]
        url = urllib.parse.urlsplit(config["url"])
        bundle = self.folder / "bundle.crt"
        bundle.write_bytes(base64.b64decode(config["caBundle"]))
        if url.port is None or url.hostname is None:
            raise RigError(f"the webhook's URL {config['url']} has no port")
        return Target((url.port,), url.hostname, str(bundle), NAMESPACE)

    def configuration(self) -> Object:
        """Return the MutatingWebhookConfiguration."""
        text = self.plane.kubectl("get", "mutatingwebhookconfiguration", RELEASE, "-o", "json")
        found: Object = json.loads(text)
        return found

    def image_of_new_pod(self) -> str:
        """Create a Pod without keeping it, and return what its first image becomes."""
        pod = {"apiVersion": "v1", "kind": "Pod", **bare_pod(distinct(0), NAMESPACE)}
        return self.plane.kubectl(
            *("create", "--dry-run=server", "-f", "-", "-o", "jsonpath={.spec.containers[0].image}"),
            input=json.dumps(pod),
        )

    def await_rewriting(self, *, wanted: bool) -> None:
        """Wait until Pods are rewritten, or are not."""
        what = f"Pods to be {'rewritten' if wanted else 'left alone'}"
        wait_until(lambda: self.image_of_new_pod().startswith(PREFIX) is wanted, what=what, seconds=_PATIENCE_SECONDS)

    def metrics(self) -> str:
        """Return the API server's metrics."""
        return self.plane.kubectl("get", "--raw", "/metrics")


@contextmanager
def bench_cluster(*, fsync: bool, values: Mapping[str, object] | None = None) -> Iterator[BenchCluster]:
    """Bring it up until Pods are rewritten; nothing of it is left afterwards."""
    given = {**_VALUES, **(values or {})}
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as name:
        folder = Path(name)
        with step("control plane"):
            plane = ControlPlane(options=ControlPlaneOptions(fsync=fsync))
            plane.up()
        try:
            with _roles(plane, folder, given) as webhook:
                cluster = BenchCluster(plane, webhook, folder)
                cluster.await_rewriting(wanted=True)
                yield cluster
        finally:
            plane.down()


@contextmanager
def _roles(plane: ControlPlane, folder: Path, values: dict[str, object]) -> Iterator[RoleProcess]:
    """Install the chart, and run a controller and a webhook."""
    installation = LocalInstallation(plane, provide(["helm"])["helm"], webhook=True)
    with step("chart and roles"):
        installation.install(values)
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("apply", "-f", "-", input=yaml.safe_dump(_LICENSE))
        roles = [RoleProcess(role, installation, folder, values) for role in ("controller", "webhook")]
    try:
        for role in roles:
            role.start(ready=False)
        for role in roles:
            role.await_ready()
        yield roles[1]
    finally:
        for role in reversed(roles):
            role.stop()
