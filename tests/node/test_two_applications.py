"""Two applications on a real node, whose registries accept only their own license, in namespaces that they share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demo.story import SECRET
from node.conftest import Installed, Json
from operating import a_license, an_application, content_of
from rig.stand_in import AnsweredRequest
from rig.waiting import wait_until

pytestmark = pytest.mark.node


@dataclass(frozen=True)
class Vendor:
    """An application with its License; one slug is the beginning of the other."""

    slug: str
    home: str

    @property
    def license_id(self) -> str:
        """The customer's license for it."""
        return f"license-of-{self.slug}"

    @property
    def image(self) -> str:
        """A private image in the vendor's own registry."""
        return f"quay.io/{self.slug}/api:v1"

    @property
    def proxied(self) -> str:
        """The name under which that is pulled."""
        return f"proxy.replicated.com/proxy/{self.slug}/{self.image}"

    @property
    def hosted(self) -> str:
        """An image that the vendor pushed to Replicated's registry."""
        return f"registry.replicated.com/{self.slug}/tool:v1"

    @property
    def license(self) -> Json:
        """The License object."""
        return a_license(self.home, appSlug=self.slug, licenseID=self.license_id)

    @property
    def application(self) -> Json:
        """An Application that reaches everywhere and claims the vendor's registry."""
        body = an_application(self.home, "*")
        annotations = {"proxy.kots.io/upstreams": f"quay.io/{self.slug}"}
        return body | {"metadata": body["metadata"] | {"annotations": annotations}}


@dataclass(frozen=True)
class Shared:
    """Both applications, and a namespace in which both run."""

    vendors: tuple[Vendor, Vendor]
    namespace: str


def keys_in(installed: Installed, namespace: str) -> set[str]:
    """Return the keys of a namespace's pull secret."""
    secret = installed.get("secret", SECRET, "-n", namespace)
    return set(json.loads(content_of(secret))["auths"]) if secret else set()


def await_both(installed: Installed, shared: Shared) -> None:
    """Wait until every namespace of the two applications holds both licenses."""
    paths = {f"proxy.replicated.com/proxy/{vendor.slug}/" for vendor in shared.vendors}
    for namespace in (shared.namespace, *(vendor.home for vendor in shared.vendors)):
        wait_until(lambda: paths <= keys_in(installed, namespace), what=f"both in {namespace}", seconds=30)  # noqa: B023


@pytest.fixture(scope="module")
def shared(installed: Installed) -> Iterator[Shared]:
    """Both applications in the cluster, their images in the registries; nothing is left that covers other tests'."""
    first, second = (Vendor(slug, installed.create_namespace(slug)) for slug in ("shop", "shop2"))
    both = Shared((first, second), installed.create_namespace("shared"))
    for vendor in both.vendors:
        installed.node.stand_in.issue(vendor.license_id, vendor.slug)
        for image in (vendor.image, vendor.hosted):
            installed.node.push_private_image(image)
        installed.apply(vendor.license, vendor.application)
    yield both
    installed.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "-n", first.home)
    installed.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "-n", second.home)
    for namespace in ("default", both.namespace):
        wait_until(lambda: not keys_in(installed, namespace), what=f"no secret in {namespace}", seconds=30)  # noqa: B023
    installed.kubectl("delete", "namespace", first.home, second.home, both.namespace, "--wait=false")


@pytest.fixture
def both(installed: Installed, shared: Shared) -> Iterator[Shared]:
    """Both Licenses in effect; the Pods of the test are gone afterwards."""
    for vendor in shared.vendors:
        installed.apply(vendor.license)
    await_both(installed, shared)
    yield shared
    for namespace in (shared.namespace, *(vendor.home for vendor in shared.vendors)):
        installed.kubectl("delete", "pods", "--all", "-n", namespace, "--now", "--wait=true")


def a_pod(namespace: str, name: str, *images: str, application: str = "") -> Json:
    """Write a Pod that pulls its images each time it starts."""
    labels = {"test": name} | ({"proxy.kots.io/app": application} if application else {})
    containers = [
        {"name": f"c{number}", "image": image, "imagePullPolicy": "Always"} for number, image in enumerate(images)
    ]
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


def refusal(installed: Installed, namespace: str, name: str) -> str:
    """Wait until a Pod's pull is refused, and return the kubelet's words."""

    def words() -> str:
        selector = f"involvedObject.name={name},reason=Failed"
        events: list[Json] = installed.get("events", "-n", namespace, f"--field-selector={selector}").get("items", [])
        return next((event["message"] for event in events if "pull" in event["message"]), "")

    return wait_until(words, what=f"the pull of {name} to be refused", seconds=60)


def manifests(answered: list[AnsweredRequest], vendor: Vendor) -> list[AnsweredRequest]:
    """Return the requests for manifests below an application's paths."""
    starts = (f"/v2/proxy/{vendor.slug}/", f"/v2/{vendor.slug}/")
    return [item for item in answered if item.path.startswith(starts) and "/manifests/" in item.path]


def test_each_application_pulls_with_its_own_license(installed: Installed, both: Shared) -> None:
    """In one namespace Pods of both run, from both registries, and no request is made with the other's license."""
    before = len(installed.node.stand_in.requests())
    for vendor in both.vendors:
        installed.apply(a_pod(both.namespace, vendor.slug, vendor.image, vendor.hosted, application=vendor.slug))

    pods = {vendor: installed.await_pod(both.namespace, f"test={vendor.slug}") for vendor in both.vendors}
    answered = installed.node.stand_in.requests()[before:]

    for vendor, pod in pods.items():
        assert [item["image"] for item in pod["spec"]["containers"]] == [vendor.proxied, vendor.hosted]
        assert pod["spec"]["imagePullSecrets"] == [{"name": SECRET}]
        asked = manifests(answered, vendor)
        assert any(item.path.startswith("/v2/proxy/") for item in asked)
        assert any(not item.path.startswith("/v2/proxy/") for item in asked)
        assert {item.slug for item in asked} <= {vendor.slug, "-"}
    assert not [item for item in answered if item.status == 403]


def test_unmarked_pods_are_the_application_s_at_home(installed: Installed, both: Shared) -> None:
    """Where an application has its License, Pods need no mark although the other one covers the namespace as well."""
    for vendor in both.vendors:
        installed.apply(a_pod(vendor.home, "unmarked", vendor.image))

    for vendor in both.vendors:
        pod = installed.await_pod(vendor.home, "test=unmarked")
        assert pod["spec"]["containers"][0]["image"] == vendor.proxied


def test_forged_path_is_refused_and_the_other_application_goes_on(installed: Installed, both: Shared) -> None:
    """Once a License is deleted, its application's images are out of reach by any name, and the other's are pulled."""
    gone, staying = both.vendors
    installed.kubectl("delete", "license", "my-app", "-n", gone.home)
    wait_until(
        lambda: keys_in(installed, both.namespace) == {"proxy.replicated.com", "registry.replicated.com"},
        what="the other's license alone",
        seconds=30,
    )
    before = len(installed.node.stand_in.requests())
    installed.apply(
        a_pod(both.namespace, "forged", gone.proxied, application=staying.slug),
        a_pod(both.namespace, "forged-hosted", gone.hosted, application=staying.slug),
        a_pod(both.namespace, "staying", staying.image, staying.hosted, application=staying.slug),
    )

    installed.await_pod(both.namespace, "test=staying")
    words = [refusal(installed, both.namespace, name) for name in ("forged", "forged-hosted")]
    answered = installed.node.stand_in.requests()[before:]

    assert all("403 Forbidden" in item for item in words), words
    assert {item.status for item in manifests(answered, gone) if item.slug != "-"} == {403}
    assert all(vendor.license_id not in item for vendor in both.vendors for item in words)


def test_license_that_comes_back_pulls_again(installed: Installed, both: Shared) -> None:
    """A License that is applied again has its entries beside the other's, and its Pods run."""
    back, other = both.vendors
    installed.kubectl("delete", "license", "my-app", "-n", back.home)
    wait_until(lambda: len(keys_in(installed, both.namespace)) == 2, what="one License's keys", seconds=30)
    installed.apply(back.license)
    await_both(installed, both)

    for vendor in (back, other):
        installed.apply(a_pod(both.namespace, vendor.slug, vendor.image, application=vendor.slug))

    for vendor in (back, other):
        assert installed.await_pod(both.namespace, f"test={vendor.slug}")["status"]["phase"] == "Running"


def test_revoked_license_does_not_stop_the_other_application(installed: Installed, both: Shared) -> None:
    """Replicated refuses one license; the kubelet's attempts with it leave the other application's pulls alone."""
    revoked, other = both.vendors
    installed.node.stand_in.revoke(revoked.license_id)
    for vendor in both.vendors:
        installed.apply(a_pod(both.namespace, vendor.slug, vendor.image, application=vendor.slug))

    running = installed.await_pod(both.namespace, f"test={other.slug}")
    words = refusal(installed, both.namespace, revoked.slug)
    installed.node.stand_in.restore(revoked.license_id)

    assert running["status"]["phase"] == "Running"
    assert "401 Unauthorized" in words
