"""The certificate's keeper on a real API server, as the service account that the chart makes.

The keeper runs in this process, so that what it says and how often it writes can be asked directly.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from admitting import IMAGE, PROXY, REWRITE_EVERYTHING, a_pod
from builders import a_route, a_table
from certifying import KIND, CountingClient, Keeping, ShiftedClock, close, controller_account
from operating import ROUTES, Cluster
from replicated_proxy.certificates.documents import authority_data
from replicated_proxy.certificates.issuing import make_authority, webhook_name
from replicated_proxy.certificates.verifying import split_bundle, verify_leaf
from replicated_proxy.clock import SystemClock
from replicated_proxy.settings import CertificateSettings, Settings
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until
from serving import a_config_map

pytestmark = pytest.mark.apiserver

SETTINGS = Settings(certificates=CertificateSettings(propagation_delay=timedelta(seconds=1)))
AUTHORITY, SERVING = SETTINGS.certificates.ca_secret, SETTINGS.certificates.serving_secret
CONFIGURATION = SETTINGS.webhook.configuration_name
APP = "app"


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
    client = await CountingClient.connect(controller_account(cluster))
    yield Keeping(cluster, client, SETTINGS)
    await close(client)


def a_secret(name: str, **differs: Any) -> str:
    """Write a Secret that holds something else."""
    metadata = {"name": name, "namespace": NAMESPACE} | differs.pop("metadata", {})
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"somebody": "else's"}}
    return json.dumps(body | differs)


async def patch_entry(keeping: Keeping, operation: str, path: str, value: object = None) -> None:
    """Change the webhook configuration as somebody else would."""
    change = [{"op": operation, "path": path} | ({} if value is None else {"value": value})]
    await keeping.kubectl("patch", KIND, CONFIGURATION, "--type=json", "-p", json.dumps(change))


async def test_certificate_is_made_and_published(keeping: Keeping) -> None:
    """From nothing to a certificate that the published bundle trusts, with the chart's permissions."""
    async with keeping:
        await keeping.until_well()
        await keeping.until_repaired()
    assert keeping.client.writes == 3


@pytest.mark.parametrize("damage", ["deleted", "emptied", "foreign-key"])
async def test_lost_authority_costs_no_review(keeping: Keeping, damage: str) -> None:
    """Whatever happens to the authority's Secret, the leaf in use stays trusted until the new authority's is served."""
    async with keeping:
        await keeping.until_well()
        before = await keeping.until_repaired()
        if damage == "deleted":
            await keeping.kubectl("delete", "secret", AUTHORITY, "-n", NAMESPACE)
        else:
            other = authority_data(make_authority(SystemClock().now(), timedelta(days=1)))
            data = {"tls.key": other["tls.key"] if damage == "foreign-key" else ""}
            patch = ("patch", "secret", AUTHORITY, "-n", NAMESPACE, "-p", json.dumps({"data": data}))
            await keeping.kubectl(*patch)
        while (served := await keeping.served()) is not None and served.chain == before.chain:
            await assert_trusted(keeping)
        await assert_trusted(keeping)
        await keeping.until_well()
        after = await keeping.until_repaired()
    assert split_bundle(after.bundle)[1:] == split_bundle(before.bundle)


async def assert_trusted(keeping: Keeping, service: str = SETTINGS.webhook.service_name) -> None:
    """Check that what is served is trusted by what is published; read in the order in which a leaf would be late."""
    served, published = await keeping.served(), await keeping.published()
    assert served is not None
    name = webhook_name(service, NAMESPACE)
    assert not verify_leaf(served.chain, published or b"", name, SystemClock().now())


@pytest.mark.parametrize("damage", ["deleted", "emptied"])
async def test_lost_serving_secret_is_written_anew(keeping: Keeping, damage: str) -> None:
    """A serving Secret that is gone or damaged comes back with one write, by the same authority."""
    async with keeping:
        await keeping.until_well()
        before = await keeping.until_repaired()
        if damage == "deleted":
            await keeping.kubectl("delete", "secret", SERVING, "-n", NAMESPACE)
        else:
            await keeping.kubectl("patch", "secret", SERVING, "-n", NAMESPACE, "-p", '{"data":{"tls.crt":"bm8="}}')
        await keeping.until(lambda: keeping.client.writes > 3)
        after = await keeping.until_repaired()
    assert (after.chain != before.chain, after.bundle == before.bundle) == (True, True)
    assert keeping.client.writes == 4


async def test_foreign_bundle_is_replaced(keeping: Keeping) -> None:
    """Somebody else's `caBundle` is replaced by ours with one patch."""
    other = make_authority(SystemClock().now(), timedelta(days=1)).certificate_pem
    async with keeping:
        await keeping.until_well()
        before = await keeping.published()
        text = base64.b64encode(other).decode()
        await patch_entry(keeping, "replace", "/webhooks/0/clientConfig/caBundle", text)
        await keeping.until(lambda: keeping.client.writes > 3)
        await keeping.until_repaired()
        assert await keeping.published() == before
    assert keeping.client.writes == 4


async def test_another_webhook_in_our_configuration_is_left_alone(keeping: Keeping) -> None:
    """An entry that somebody added before ours keeps its bundle, through a rotation of ours."""
    other = make_authority(SystemClock().now(), timedelta(days=1)).certificate_pem
    text = base64.b64encode(other).decode()
    async with keeping:
        await keeping.until_well()
        entry = (await keeping.get(KIND, CONFIGURATION))["webhooks"][0]
        theirs = entry | {"name": "theirs.example.com", "clientConfig": entry["clientConfig"] | {"caBundle": text}}
        await patch_entry(keeping, "add", "/webhooks/0", theirs | {"failurePolicy": "Ignore"})
        await keeping.kubectl("delete", "secret", AUTHORITY, "-n", NAMESPACE)
        await keeping.until(lambda: keeping.client.writes > 5)
        await keeping.until_repaired()
        first, second = (await keeping.get(KIND, CONFIGURATION))["webhooks"]
        await patch_entry(keeping, "remove", "/webhooks/0")
    assert (first["name"], first["clientConfig"]["caBundle"]) == ("theirs.example.com", text)
    assert second["clientConfig"]["caBundle"] != text


async def test_changed_service_name_gets_its_certificate(keeping: Keeping) -> None:
    """After an upgrade that renames the Service, the certificate is made for the new name, by the same authority."""
    async with keeping:
        await keeping.until_well()
        before = await keeping.until_repaired()
    webhook = replace(SETTINGS.webhook, service_name="renamed")
    renamed = Keeping(keeping.cluster, keeping.client, replace(SETTINGS, webhook=webhook))
    renamed.watching = False
    async with renamed:
        await renamed.until_well()
        after = await renamed.until_repaired()
        await assert_trusted(renamed, "renamed")
    assert after.bundle == before.bundle
    assert keeping.client.writes == 4


async def test_configuration_without_entries_costs_no_writes(keeping: Keeping) -> None:
    """`kubectl patch` that removes the webhooks leads to words, not to patches for ever."""
    async with keeping:
        await keeping.until_well()
        entries = (await keeping.get(KIND, CONFIGURATION))["webhooks"]
        before = keeping.client.writes
        await patch_entry(keeping, "remove", "/webhooks")
        await keeping.until_said(f"{CONFIGURATION} has no webhooks")
        await patch_entry(keeping, "add", "/webhooks", entries)
        await keeping.until_well()
        assert keeping.client.writes == before
        await keeping.until_repaired()


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
        await keeping.until_repaired()


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
        await keeping.until_repaired()


def called_by_api_server(cluster: Cluster) -> Cluster:
    """Install the chart so that the API server calls a webhook on this machine, which finds a License in its table."""
    called = Cluster(cluster.plane, provide(["helm"])["helm"], webhook=True)
    called.install(REWRITE_EVERYTHING)
    routes = a_config_map(a_table(a_route(namespace=APP))) | {"apiVersion": "v1", "kind": "ConfigMap"}
    routes["metadata"] = {"name": ROUTES, "namespace": NAMESPACE}
    called.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APP}}, routes)
    called.kubectl("wait", "--for=create", "serviceaccount/default", "-n", APP, "--timeout=120s")
    return called


def image_of_a_new_pod(cluster: Cluster) -> str:
    """Return the image of a Pod as the API server would store it."""
    given = json.dumps(a_pod(APP))
    text = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=given)
    return str(json.loads(text)["spec"]["containers"][0]["image"])


@pytest.mark.parametrize("minutes", [9, -9])
async def test_clock_that_is_minutes_off_does_no_harm(keeping: Keeping, tmp_path: Path, minutes: int) -> None:
    """A certificate of a clock that is 9 minutes off is served, trusted by the API server at once, and kept."""
    called = called_by_api_server(keeping.cluster)
    settings = replace(SETTINGS, certificates=replace(SETTINGS.certificates, extra_names=("localhost",)))
    clock = ShiftedClock()
    clock.ahead = timedelta(minutes=minutes)
    async with Keeping(called, keeping.client, settings, clock) as wrong:
        await wrong.until_well()
        made = await wrong.until_repaired()
    webhook = RoleProcess("webhook", called, tmp_path, REWRITE_EVERYTHING)
    webhook.start()
    try:
        wait_until(lambda: image_of_a_new_pod(called) == f"{PROXY}/{IMAGE}", what="a rewritten Pod", seconds=30)
    finally:
        webhook.stop()
    async with Keeping(called, keeping.client, settings) as right:
        await right.until_well()
        kept = await right.until_repaired()

    assert kept == made
    assert keeping.client.writes == 3
