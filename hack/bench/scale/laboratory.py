"""The cluster of a run: a control plane of its own with the chart in it, the controller, and the bench's own client."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.scale import audit
from bench.scale.observing import Copies
from bench.scale.parallel import in_parallel
from bench.scale.process import await_rest
from bench.scale.sizes import Sizes
from replicated_proxy.core.objects import text_at
from replicated_proxy.kube.client import KubeClient, Object
from replicated_proxy.kube.errors import NotFound
from replicated_proxy.kube.resources import APPLICATIONS, CONFIG_MAPS, LICENSES, NAMESPACES, SECRETS, Resource
from replicated_proxy.settings import Settings
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.progress import step
from rig.roles import NAMESPACE, RELEASE, LocalInstallation, RoleProcess
from rig.sweeping import Sweeping

HOME = "vendor-app"
SETTINGS = Settings()
_USER = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-controller"
_SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
_NAME = "my-app"
_LICENSE: Object = {
    "apiVersion": LICENSES.api_version,
    "kind": "License",
    "metadata": {"name": _NAME, "namespace": HOME},
    "spec": {"appSlug": _NAME, "licenseID": "made-up-license-id-of-the-bench", "licenseType": "prod"},
}
_APPLICATION: Object = {
    "apiVersion": APPLICATIONS.api_version,
    "kind": "Application",
    "metadata": {"name": _NAME, "namespace": HOME},
    "spec": {"title": "My App", "additionalNamespaces": ["*"]},
}


@dataclass(frozen=True, slots=True)
class Site:
    """What is there before the first request.

    Attributes:
        plane: etcd, API server, controller manager.
        installation: the chart's objects in it.
        folder: room for logs and settings.
        audit_log: the requests of the controller's identity, and of no other.
    """

    plane: ControlPlane
    installation: LocalInstallation
    folder: Path
    audit_log: Path


@contextmanager
def site(sizes: Sizes) -> Iterator[Site]:
    """Bring a control plane up with the chart in it; nothing of it is left afterwards, however the bench ends."""
    folder = Path(tempfile.mkdtemp(prefix="bench-scale-"))
    sweeping = Sweeping.start(folder)
    try:
        policy, log = folder / "audit-policy.json", folder / "audit.log"
        policy.write_text(json.dumps(audit.policy(_USER)), encoding="utf-8")
        options = ControlPlaneOptions(fsync=sizes.fsync, api_server_flags=audit.flags(policy, log))
        with step("control plane"):
            plane = ControlPlane(folder / "plane", options)
            plane.up()
        try:
            installation = LocalInstallation(plane, provide(["helm"])["helm"])
            with step("chart"):
                installation.install()
            yield Site(plane, installation, folder, log)
        finally:
            plane.down()
    finally:
        sweeping.finish()
        shutil.rmtree(folder, ignore_errors=True)


class Laboratory:
    """A run's cluster in the words of its experiments.

    Attributes:
        sizes: how large the run is.
        copies: which namespaces have their copy, and since when.
        names: the namespaces of the run that exist, but for the License's own.
    """

    def __init__(self, site: Site, sizes: Sizes, client: KubeClient) -> None:
        self.site = site
        self.sizes = sizes
        self.client = client
        self.copies = Copies(client, SETTINGS.secret.name)
        self.names: list[str] = []
        self._controller: RoleProcess | None = None

    @property
    def controller(self) -> RoleProcess:
        """The controller that runs.

        Raises:
            RigError: none does.
        """
        if self._controller is None:
            raise RigError("the controller does not run")
        return self._controller

    @property
    def identity(self) -> Path:
        """The kubeconfig of the controller's service account; there once a controller has been made."""
        return self.site.plane.workdir / f"{NAMESPACE}.{RELEASE}-controller.kubeconfig"

    def window(self) -> audit.Window:
        """Begin to count the requests of the controller's identity."""
        return audit.Window(self.site.audit_log)

    async def make_controller(self) -> RoleProcess:
        """Return a controller, with a fresh token, that has yet to be started."""
        return await asyncio.to_thread(RoleProcess, "controller", self.site.installation, self.site.folder)

    async def start_controller(self, made: RoleProcess | None = None) -> None:
        """Start a controller and wait until it is ready."""
        self._controller = made or await self.make_controller()
        await asyncio.to_thread(self._controller.start)

    async def stop_controller(self) -> None:
        """Stop the controller as the kubelet does; harmless when none runs."""
        controller, self._controller = self._controller, None
        if controller is not None:
            await asyncio.to_thread(controller.stop)

    async def rest(self) -> float:
        """Wait until the controller hardly works any more; returns when it last did."""
        return await await_rest(self.controller.pid, self.sizes.patience(self.sizes.namespaces))

    def new_names(self, number: int) -> list[str]:
        """Return names of namespaces that do not exist yet."""
        first = len(self.names)
        return [f"bench-{position:05}" for position in range(first, first + number)]

    async def create_namespace(self, name: str) -> None:
        """Create a namespace."""
        await self.client.create(NAMESPACES, {"metadata": {"name": name}})
        self.names.append(name)

    async def create_namespaces(self, number: int) -> None:
        """Create namespaces and wait until Kubernetes has put into them what it puts into each."""
        await in_parallel(self.new_names(number), self.create_namespace)
        await self.settle()

    async def settle(self) -> None:
        """Wait until each namespace has its service account and the bundle of the cluster.

        Raises:
            RigError: it took too long.
        """
        loop = asyncio.get_running_loop()
        seconds = self.sizes.patience(len(self.names))
        deadline = loop.time() + seconds
        for resource, name in ((_SERVICE_ACCOUNTS, "default"), (CONFIG_MAPS, "kube-root-ca.crt")):
            while len((await self.client.list_all(resource, field_selector=f"metadata.name={name}")).items) <= len(
                self.names
            ):
                if loop.time() > deadline:
                    raise RigError(f"the control plane did not put {name} into every namespace in {seconds:.0f} s")
                await asyncio.sleep(1.0)

    async def apply_license(self) -> None:
        """Create License and Application."""
        await self.client.create(LICENSES, _LICENSE, HOME)
        await self.client.create(APPLICATIONS, _APPLICATION, HOME)

    async def await_copies(self, names: Iterable[str] | None = None) -> None:
        """Wait until these namespaces, or all of the run, have their copy."""
        expected = [*self.names, HOME] if names is None else list(names)
        await self.copies.await_all(expected, self.sizes.patience(len(expected)))

    async def empty(self) -> None:
        """Remove License, Application, table and copies while no controller runs, as if there had never been any."""
        await self.stop_controller()
        for resource in (APPLICATIONS, LICENSES):
            await self._delete_named(resource, _NAME, HOME)
        await self._delete_named(CONFIG_MAPS, SETTINGS.routes_config_map, NAMESPACE)
        listing = await self.client.list_all(SECRETS, field_selector=f"metadata.name={SETTINGS.secret.name}")
        await in_parallel(listing.items, self._delete_copy)
        await self.copies.await_none(self.sizes.patience(0))

    async def a_copy(self) -> Object:
        """Return what the controller writes, without what the API server adds."""
        found = await self.client.get(SECRETS, SETTINGS.secret.name, HOME)
        kept = {key: found["metadata"][key] for key in ("name", "labels", "annotations")}
        return {**{key: found[key] for key in ("apiVersion", "kind", "type", "data")}, "metadata": kept}

    async def _delete_named(self, resource: Resource, name: str, namespace: str) -> None:
        """Delete an object by name, if it is there."""
        try:
            found = await self.client.get(resource, name, namespace)
            await self.client.delete(resource, name, namespace, text_at(found, "metadata", "uid"))
        except NotFound:
            return

    async def _delete_copy(self, copy: Object) -> None:
        """Delete one copy."""
        metadata = copy["metadata"]
        await self.client.delete(SECRETS, metadata["name"], metadata["namespace"], metadata["uid"])


@asynccontextmanager
async def laboratory(site: Site, sizes: Sizes) -> AsyncIterator[Laboratory]:
    """Connect, and make the License's own namespace; afterwards no controller is left."""
    client = await KubeClient.connect(site.plane.kubeconfig)
    try:
        lab = Laboratory(site, sizes, client)
        await client.create(NAMESPACES, {"metadata": {"name": HOME}})
        async with lab.copies.watching():
            try:
                yield lab
            finally:
                await lab.stop_controller()
    finally:
        await client.close()
