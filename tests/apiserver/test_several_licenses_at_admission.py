"""Which of several Licenses decides a Pod, on a real API server with both roles as processes.

Wherever a Pod is rewritten, the Secret beside it is read as the kubelet would (tests/keyring.py): names and credentials
have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from admitting import REWRITE_EVERYTHING
from keyring import Keyring, read_docker_config
from operating import SECRET, Cluster, Json, a_license, an_application, content_of
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

IMAGE = "quay.io/vendor/api:v1"
CLAIMED = "ghcr.io/vendor/agent:v1"
APPLICATIONS = ("shop", "shop2")
SHARED, LISTED, LABELLED = "shared", "listed", "labelled"


def proxied(slug: str) -> str:
    """Return what the image becomes for an application."""
    return f"proxy.replicated.com/proxy/{slug}/{IMAGE}"


def license_id(slug: str) -> str:
    """Return an application's license."""
    return f"license-of-{slug}"


def a_vendor(slug: str, *namespaces: str) -> tuple[Json, Json]:
    """Write License and Application of an application, in a namespace of its name; `shop` claims an image."""
    application = an_application(slug, *namespaces)
    claims = {"additionalImages": ["ghcr.io/vendor/agent"]} if slug == "shop" else {}
    spec = application["spec"] | claims
    return a_license(slug, appSlug=slug, licenseID=license_id(slug)), application | {"spec": spec}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two Licenses that both cover every namespace, one of which lists a namespace as well, and both roles."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(REWRITE_EVERYTHING)
        for name in (*APPLICATIONS, SHARED, LISTED, LABELLED):
            cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", LABELLED, "proxy.kots.io/app=shop")
        cluster.apply(*a_vendor("shop", "*"), *a_vendor("shop2", "*", LISTED))
        roles = [
            RoleProcess(role, cluster, tmp_path_factory.mktemp(role), REWRITE_EVERYTHING)
            for role in ("controller", "webhook")
        ]
        try:
            for role in roles:
                role.start()
            await_image(cluster, "shop", proxied("shop"))
            yield cluster
        finally:
            for role in reversed(roles):
                role.stop()


def a_pod(namespace: str, marks: Json | None = None, *, image: str = IMAGE) -> Json:
    """Write a Pod with labels and annotations."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "main", "namespace": namespace, **(marks or {})},
        "spec": {"containers": [{"name": "api", "image": image}]},
    }


def admitted(cluster: Cluster, pod: Json, *arguments: str) -> tuple[str, list[str]]:
    """Return image and pull secrets of a Pod as it would be stored."""
    command = ("create", "--dry-run=server", "-o", "json", "-f", "-", *arguments)
    spec = json.loads(cluster.kubectl(*command, input=json.dumps(pod)))["spec"]
    return spec["containers"][0]["image"], [entry["name"] for entry in spec.get("imagePullSecrets", [])]


def await_image(cluster: Cluster, namespace: str, image: str) -> None:
    """Wait until a Pod would get an image."""
    wait_until(lambda: admitted(cluster, a_pod(namespace))[0] == image, what=f"{image} in {namespace}", seconds=60)


def first_password(cluster: Cluster, namespace: str, image: str) -> str:
    """Return the license that the kubelet would try first for an image."""
    entries = read_docker_config(content_of(cluster.await_secret(namespace)).encode())
    return Keyring(entries).lookup(image.rpartition(":")[0])[0].password


CHOICES: list[tuple[str, Json, str]] = [
    (SHARED, {"labels": {"proxy.kots.io/app": "shop"}}, "shop"),
    (SHARED, {"labels": {"proxy.kots.io/app": "shop2"}}, "shop2"),
    (SHARED, {"annotations": {"proxy.kots.io/app": "shop2"}}, "shop2"),
    (SHARED, {"labels": {"kots.io/app-slug": "shop2"}}, "shop2"),
    (SHARED, {"labels": {"proxy.kots.io/app": "shop", "kots.io/app-slug": "shop2"}}, "shop"),
    ("shop", {}, "shop"),
    ("shop2", {}, "shop2"),
    ("shop2", {"labels": {"proxy.kots.io/app": "shop"}}, "shop"),
    (LISTED, {}, "shop2"),
    (LISTED, {"labels": {"kots.io/app-slug": "shop"}}, "shop"),
]


@pytest.mark.parametrize(("namespace", "marks", "slug"), CHOICES)
def test_nearest_or_named_license_decides(cluster: Cluster, namespace: str, marks: Json, slug: str) -> None:
    """The Pod's word, the namespace's own License, the one that lists it: its name is written, its credential there."""
    assert admitted(cluster, a_pod(namespace, marks)) == (proxied(slug), [SECRET])
    assert first_password(cluster, namespace, proxied(slug)) == license_id(slug)


@pytest.mark.parametrize("namespace", [SHARED, LABELLED])
def test_ambiguous_pod_is_left_alone_with_a_warning(cluster: Cluster, namespace: str) -> None:
    """Where two Licenses have only `"*"`, an unmarked Pod stays: claims and a namespace's label choose none."""
    for image in (IMAGE, CLAIMED):
        assert admitted(cluster, a_pod(namespace, image=image)) == (image, [])
        with pytest.raises(RigError, match=r"label the Pod proxy\.kots\.io/app=<slug> to choose"):
            admitted(cluster, a_pod(namespace, image=image), "--warnings-as-errors")


def test_pod_of_a_missing_application_is_given_to_no_other(cluster: Cluster) -> None:
    """A Pod that names an application without a License stays as it is, also in another application's namespace."""
    marks = {"labels": {"proxy.kots.io/app": "sho"}}

    assert admitted(cluster, a_pod(SHARED, marks)) == (IMAGE, [])
    assert admitted(cluster, a_pod("shop", marks)) == (IMAGE, [])


def test_remaining_license_decides_once_the_other_is_deleted(cluster: Cluster) -> None:
    """Without the other License nothing is ambiguous: claims count, and the other's Pods are given to nobody."""
    cluster.kubectl("delete", "license", "my-app", "-n", "shop2")
    await_image(cluster, LABELLED, proxied("shop"))

    assert admitted(cluster, a_pod(SHARED, image=CLAIMED))[0] == f"proxy.replicated.com/proxy/shop/{CLAIMED}"
    assert admitted(cluster, a_pod(SHARED)) == (IMAGE, [])
    assert admitted(cluster, a_pod(SHARED, {"labels": {"proxy.kots.io/app": "shop2"}})) == (IMAGE, [])
    assert first_password(cluster, SHARED, proxied("shop")) == license_id("shop")

    cluster.apply(*a_vendor("shop2", "*", LISTED))
    await_image(cluster, LISTED, proxied("shop2"))
    wait_until(
        lambda: first_password(cluster, LISTED, proxied("shop2")) == license_id("shop2"), what="its entries", seconds=20
    )

    assert admitted(cluster, a_pod(SHARED, image=CLAIMED)) == (CLAIMED, [])  # Ambiguous again.
