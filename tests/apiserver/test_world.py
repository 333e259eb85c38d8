"""What a deletion means, on a real API server: that of a License, and that of its definition."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from builders import SECRET_NAME, Json, a_license_body
from replicated_proxy.controller.listing import Lister
from replicated_proxy.controller.world import World
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.resources import DEFINITIONS, LICENSES
from rig.controlplane import ControlPlane
from rig.roles import CHART, KINDS

pytestmark = pytest.mark.apiserver

FINALIZER = {"metadata": {"finalizers": ["example.com/keep"]}}
PATH = LICENSES.path("my-app", "default")


@pytest.fixture
async def client() -> AsyncIterator[KubeClient]:
    """A control plane of its own, since its definitions are deleted, with a License that a finalizer keeps."""
    with ControlPlane() as plane:
        plane.kubectl("apply", "--filename", str(CHART / "files" / "crds"))
        plane.await_kinds(*KINDS)
        client = await KubeClient.connect(plane.kubeconfig)
        await client.create(LICENSES, a_license_body(metadata={"namespace": "default", "uid": ""}), "default")
        await client.merge(PATH, FINALIZER)
        yield client
        await client.merge(PATH, {"metadata": {"finalizers": None}})
        await client.close()


async def delete_and_read(client: KubeClient) -> Json:
    """Delete the License and read it as an event would bring it."""
    before = await client.get(LICENSES, "my-app", "default")
    await client.delete(LICENSES, "my-app", "default", before["metadata"]["uid"])
    marked = await client.get(LICENSES, "my-app", "default")
    assert marked["metadata"]["deletionTimestamp"]
    return marked


async def test_deleted_license_counts_no_more_although_a_finalizer_keeps_it(client: KubeClient) -> None:
    """The event leaves it open, and the listing that it makes due says that somebody revoked it."""
    world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset())
    lister = Lister(client, world, SECRET_NAME)
    await lister.list_sources()
    world.licenses.apply("MODIFIED", await delete_and_read(client))
    after_the_event = len(world.sources().licenses)
    found = await lister.list_sources()

    assert (after_the_event, len(world.sources().licenses)) == (1, 0)
    assert "licenses default/my-app" in found


async def test_license_whose_definition_is_deleted_counts_as_before(client: KubeClient) -> None:
    """Deleting a definition marks its objects for deletion too, and nobody revoked them."""
    world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset())
    lister = Lister(client, world, SECRET_NAME)
    await lister.list_sources()
    definition = await client.get(DEFINITIONS, "licenses.kots.io")
    await client.delete(DEFINITIONS, "licenses.kots.io", "", definition["metadata"]["uid"])
    world.licenses.apply("MODIFIED", await delete_and_read(client))
    found = await lister.list_sources()

    assert (1, {"licenses"}) == (len(world.sources().licenses), lister.missing)
    assert not found
