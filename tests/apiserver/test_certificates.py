"""The certificate's keeper on a real API server, as the service account that the chart makes.

The keeper runs in this process, so that what it says and how often it writes can be asked directly.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import pytest

from operating import Cluster, Json
from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.clock import SystemClock
from replicated_proxy.controller.certifying import CertificateKeeper
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.resources import Resource
from replicated_proxy.settings import Settings
from replicated_proxy.telemetry.metrics import Metrics
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE, RELEASE

pytestmark = pytest.mark.apiserver

SETTINGS = Settings()
AUTHORITY, SERVING = SETTINGS.certificates.ca_secret, SETTINGS.certificates.serving_secret
CONFIGURATION = SETTINGS.webhook.configuration_name
KIND = "mutatingwebhookconfiguration"


class CountingClient(KubeClient):
    """The product's client, which counts what it writes."""

    writes = 0

    async def create(self, resource: Resource, body: Json, namespace: str = "") -> Json:
        """Create and count."""
        self.writes += 1
        return await super().create(resource, body, namespace)

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Replace and count."""
        self.writes += 1
        return await super().replace(resource, body)

    async def patch(self, path: str, operations: Any) -> Json:
        """Patch and count."""
        self.writes += 1
        return await super().patch(path, operations)


class Keeping:
    """A running keeper, and the cluster that it keeps."""

    def __init__(self, cluster: Cluster, client: CountingClient) -> None:
        self._cluster = cluster
        self.client = client
        self.keeper = CertificateKeeper(client, SETTINGS, SystemClock(), Metrics())

    async def __aenter__(self) -> Self:
        """Start."""
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        """Watch and act, as where this replica leads."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keeper.follow())
            group.create_task(self.keeper.keep())

    async def __aexit__(self, *_: object) -> None:
        """End; a keeper that ended by itself failed."""
        assert not self._task.done()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - conditions of any kind.
                await asyncio.sleep(0.02)

    async def until_well(self) -> None:
        """Wait until the keeper has nothing to say."""
        await self.until(lambda: not self.keeper.problems())

    async def until_said(self, words: str) -> str:
        """Wait until the keeper complains with these words; returns all of it."""
        await self.until(lambda: words in " ".join(self.keeper.problems()))
        return " ".join(self.keeper.problems())

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl beside the keeper."""
        return await asyncio.to_thread(self._cluster.kubectl, *arguments)

    async def get(self, *what: str) -> Json:
        """Read an object."""
        return await asyncio.to_thread(self._cluster.get, *what)

    async def assert_in_order(self) -> None:
        """Check that what is served is trusted by what is published."""
        secret = await self.get("secret", SERVING, "-n", NAMESPACE)
        entries = (await self.get(KIND, CONFIGURATION))["webhooks"]
        published = {base64.b64decode(entry["clientConfig"]["caBundle"]) for entry in entries}
        assert published == {read_serving(secret).bundle}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: its webhook configuration is what these tests break."""
    with ControlPlane() as plane:
        yield Cluster(plane, provide(["helm"])["helm"])


@pytest.fixture
async def keeping(cluster: Cluster) -> AsyncIterator[Keeping]:
    """A keeper that is about to run, with the chart freshly applied and none of its Secrets."""
    cluster.install()
    cluster.kubectl("delete", "secret", AUTHORITY, SERVING, "-n", NAMESPACE, "--ignore-not-found")
    account = cluster.plane.kubeconfig_for_service_account(NAMESPACE, f"{RELEASE}-controller")
    client = await CountingClient.connect(account)
    yield Keeping(cluster, client)
    await client.close()


def a_secret(name: str, **differs: Any) -> str:
    """Write a Secret that holds something else."""
    metadata = {"name": name, "namespace": NAMESPACE} | differs.pop("metadata", {})
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"somebody": "else's"}}
    return json.dumps(body | differs)


async def test_certificate_is_made_and_published(keeping: Keeping) -> None:
    """From nothing to a certificate that the published bundle trusts, with the chart's permissions."""
    async with keeping:
        await keeping.until_well()
    await keeping.assert_in_order()
    assert keeping.client.writes == 3


async def test_configuration_without_entries_costs_no_writes(keeping: Keeping) -> None:
    """`kubectl patch` that removes the webhooks leads to words, not to patches for ever."""
    async with keeping:
        await keeping.until_well()
        entries = json.dumps((await keeping.get(KIND, CONFIGURATION))["webhooks"])
        before = keeping.client.writes
        remove = '[{"op":"remove","path":"/webhooks"}]'
        await keeping.kubectl("patch", KIND, CONFIGURATION, "--type=json", "-p", remove)
        await keeping.until_said(f"{CONFIGURATION} has no webhooks")
        add = f'[{{"op":"add","path":"/webhooks","value":{entries}}}]'
        await keeping.kubectl("patch", KIND, CONFIGURATION, "--type=json", "-p", add)
        await keeping.until_well()
        assert keeping.client.writes == before
    await keeping.assert_in_order()


async def test_deleted_configuration_is_named(keeping: Keeping) -> None:
    """Without the webhook configuration the keeper says which one it misses."""
    async with keeping:
        await keeping.until_well()
        await keeping.kubectl("delete", KIND, CONFIGURATION)
        said = await keeping.until_said(f"no webhook configuration named {CONFIGURATION}")

        assert "install the chart again" in said


async def test_foreign_secret_is_left_alone_and_named(keeping: Keeping, cluster: Cluster) -> None:
    """An Opaque Secret of the authority's name stays as it is; once it is deleted everything is made."""
    cluster.kubectl("create", "-f", "-", input=a_secret(AUTHORITY, type="Opaque"))
    before = cluster.get("secret", AUTHORITY, "-n", NAMESPACE)
    async with keeping:
        said = await keeping.until_said("is not the operator's own")
        assert f"Secret {NAMESPACE}/{AUTHORITY}" in said
        assert keeping.client.writes == 0
        assert await keeping.get("secret", AUTHORITY, "-n", NAMESPACE) == before
        await keeping.kubectl("delete", "secret", AUTHORITY, "-n", NAMESPACE)
        await keeping.until_well()
    await keeping.assert_in_order()


@pytest.mark.parametrize("name", [AUTHORITY, SERVING])
async def test_own_secret_of_another_type_is_named(keeping: Keeping, cluster: Cluster, name: str) -> None:
    """One that carries our label and has a type that cannot be changed is named; once deleted it is made anew."""
    labels = {"labels": {"app.kubernetes.io/managed-by": "replicated-proxy-operator"}}
    cluster.kubectl("create", "-f", "-", input=a_secret(name, type="Opaque", metadata=labels))
    async with keeping:
        said = await keeping.until_said("neither can be changed")
        assert f"Secret {NAMESPACE}/{name}" in said
        await keeping.kubectl("delete", "secret", name, "-n", NAMESPACE)
        await keeping.until_well()
    await keeping.assert_in_order()
