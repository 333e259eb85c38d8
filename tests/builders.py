"""Values for tests: each builder makes a working one, and a test states only what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from replicated_proxy.core.applications import Application, parse_application
from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.images import ImageSelector, RepositoryPattern, parse_pattern, parse_selector
from replicated_proxy.core.licenses import License, parse_license
from replicated_proxy.core.pods import Carrier, ImageSlot, Pod
from replicated_proxy.core.routes import NamespaceRules, Route, RoutingTable

DEFAULT_HOSTS = Hosts(proxy="proxy.replicated.com", registry="registry.replicated.com")
CUSTOM_HOSTS = Hosts(proxy="proxy.acme.com", registry="reg.acme.com")
SECRET_NAME = "replicated-proxy-registry"
DIGEST = "sha256:" + "0123456789abcdef" * 4

Json = dict[str, Any]


def a_license_body(slug: str = "my-app", *, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    """Return a License object as `kubectl` would read it from a vendor portal's file."""
    return {
        "apiVersion": "kots.io/v1beta1",
        "kind": "License",
        "metadata": _metadata(slug, metadata),
        "spec": {"appSlug": slug, "licenseID": f"{slug}-id", **spec},
    }


def a_license(slug: str = "my-app", *, metadata: Mapping[str, Any] | None = None, **spec: Any) -> License:
    """Return a License in the namespace `app`."""
    return parse_license(a_license_body(slug, metadata=metadata, **spec))


def versioned(body: Json, version: int, **metadata: Any) -> Json:
    """Return an object in the state of a resourceVersion; `metadata` differs."""
    return body | {"metadata": body["metadata"] | {"resourceVersion": str(version)} | metadata}


def an_application_body(*namespaces: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    """Return an Application object that lists these namespaces."""
    return {
        "apiVersion": "kots.io/v1beta1",
        "kind": "Application",
        "metadata": _metadata("my-application", metadata),
        "spec": {"title": "My application", "additionalNamespaces": list(namespaces), **spec},
    }


def an_application(*namespaces: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Application:
    """Return an Application in the namespace `app` that lists these namespaces."""
    return parse_application(an_application_body(*namespaces, metadata=metadata, **spec))


def _metadata(name: str, differs: Mapping[str, Any] | None) -> Json:
    """Return metadata whose UID follows from namespace and name."""
    metadata: Json = {"namespace": "app", "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    metadata |= differs or {}
    return {"uid": f"uid-of-{metadata['namespace']}-{metadata['name']}", "generation": 1} | metadata


def a_route(slug: str = "my-app", namespace: str = "app", **differs: Any) -> Route:
    """Return the route of a License with default hosts, in the namespace `app`."""
    fields: Json = {"license": f"{namespace}/{slug}", "uid": f"uid-of-{namespace}-{slug}", "hosts": DEFAULT_HOSTS}
    return Route(namespace=namespace, app_slug=slug, **(fields | differs))


def a_table(*routes: Route, listed: Mapping[str, tuple[int, ...]] | None = None, **rules: Any) -> RoutingTable:
    """Return a routing table of these routes, or of one; `rules` differ from none but the system's."""
    return RoutingTable(
        secret_name=SECRET_NAME,
        routes=routes or (a_route(),),
        listed=listed or {},
        rules=NamespaceRules(**rules),
    )


def a_slot(image: str, carrier: Carrier = Carrier.CONTAINERS, **differs: Any) -> ImageSlot:
    """Return the first slot of a carrier."""
    fields: Json = {"carrier": carrier, "index": 0, "name": "main", "image": image}
    return ImageSlot(**(fields | differs))


def a_pod(*images: str | ImageSlot, **differs: Any) -> Pod:
    """Return a Pod; a plain image stands for a container `c0`, `c1`, … that uses it."""
    slots = tuple(
        image if isinstance(image, ImageSlot) else a_slot(image, index=index, name=f"c{index}")
        for index, image in enumerate(images)
    )
    return Pod(slots=slots, **differs)


def read_pod(body: Mapping[str, Any]) -> Pod:
    """Read a Pod's JSON slowly and plainly; tests compare with what the product makes of it."""
    metadata, spec = body["metadata"], body["spec"]
    secrets = spec.get("imagePullSecrets")
    return Pod(
        slots=tuple(
            slot
            for carrier in Carrier
            for index, item in enumerate(spec.get(carrier) or [])
            if (slot := _read_slot(carrier, index, item)) is not None
        ),
        pull_secrets=None if secrets is None else tuple(entry.get("name", "") for entry in secrets),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations"),
    )


def _read_slot(carrier: Carrier, index: int, item: Mapping[str, Any]) -> ImageSlot | None:
    """Read one container or volume; None where a volume is no image."""
    if carrier is not Carrier.VOLUMES:
        pull_never = item.get("imagePullPolicy") == "Never"
        return ImageSlot(carrier, index, item["name"], item.get("image", ""), pull_never)
    if item.get("image") is None:
        return None
    pull_never = item["image"].get("pullPolicy") == "Never"
    return ImageSlot(carrier, index, item["name"], item["image"].get("reference", ""), pull_never)


def patterns(*texts: str) -> tuple[RepositoryPattern, ...]:
    """Return repository patterns."""
    return tuple(map(parse_pattern, texts))


def selectors(*texts: str) -> tuple[ImageSelector, ...]:
    """Return image selectors."""
    return tuple(map(parse_selector, texts))


def ids(rows: Sequence[Any]) -> list[str]:
    """Return the first column of a table as test IDs, shortened."""
    return [str(row[0] if isinstance(row, tuple) else row)[:60] or "(empty)" for row in rows]
