"""What the service accounts may do, asked of the API server itself with their own tokens.

Every row is a real request with its real verb (kubectl would read before it patches, and be refused for that);
writes are dry runs on the server, which authorizes them as any other.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import yaml

from operating import ROUTES, SECRET, Cluster, Json, a_license
from replicated_proxy.kube.client import MERGE_PATCH
from replicated_proxy.kube.resources import (
    APPLICATIONS,
    CONFIG_MAPS,
    CORE_EVENTS,
    DEFINITIONS,
    LEASES,
    LICENSES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    SECRETS,
    Resource,
)
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

OTHER: Final = "other"  # A namespace with objects of others, also of our names.
SERVING, AUTHORITY, LEASE = "replicated-proxy-serving", "replicated-proxy-ca", "replicated-proxy-controller"
SOURCE: Final = "license-of-acme"  # A Secret that holds a license, by the settings.
VALUES: Final[Json] = {
    "settings": {"sources": {"secrets": [{"namespace": OTHER, "name": SOURCE, "key": "license.yaml"}]}},
    "cleanup": {"onUninstall": True},
}
PODS, ACCOUNTS = Resource("", "v1", "pods"), Resource("", "v1", "serviceaccounts")
RBAC: Final = "rbac.authorization.k8s.io"
CLUSTER_ROLES, BINDINGS = Resource(RBAC, "v1", "clusterroles"), Resource(RBAC, "v1", "rolebindings")
CLUSTER_BINDINGS: Final = Resource(RBAC, "v1", "clusterrolebindings")
READING: Final = ("get", "list", "watch", "impersonate")
METHODS: Final = dict.fromkeys(READING, "GET") | {"create": "POST", "patch": "PATCH", "update": "PUT"}
LABEL: Final[Json] = {"metadata": {"labels": {"x": "y"}}}
# Beside a body, options in the query of a deletion do not count.
NO_DELETION: Final[Json] = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]}


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        verb: as authorization calls it.
        resource, name, namespace, subresource: of what.
        selected: list or watch the objects of this name only.
        body: what is sent; a label, or a deletion that is none, where it does not matter.
        user: who to pose as.
    """

    verb: str
    resource: Resource
    name: str = ""
    namespace: str = ""
    subresource: str = ""
    selected: str = ""
    body: Json | None = None
    user: str = ""

    def __str__(self) -> str:
        """Name the request in the list of tests."""
        where = f" in {self.namespace}" if self.namespace else ""
        parts = (self.resource.plural, self.subresource, self.name or self.selected)
        return f"{self.verb} {'/'.join(filter(None, parts))}{where}{' as another' if self.user else ''}"

    @property
    def content(self) -> bytes | None:
        """What is sent."""
        if self.verb in READING:
            return None
        usual = NO_DELETION if self.verb.startswith("delete") else LABEL
        return json.dumps(self.body or usual).encode()

    @property
    def query(self) -> dict[str, str]:
        """The query: writes are dry runs, watches end soon."""
        query = {} if self.verb in READING else {"dryRun": "All"}
        if self.selected:
            query["fieldSelector"] = f"metadata.name={self.selected}"
        if self.verb == "watch":
            query |= {"watch": "true", "timeoutSeconds": "1"}
        return query


def an_object(api_version: str, kind: str, name: str, **fields: Any) -> Json:
    """Write an object without a namespace, which the path names."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def a_pull_secret(name: str = SECRET) -> Json:
    """Write a pull secret as the controller does."""
    data = {".dockerconfigjson": "e30="}
    return an_object("v1", "Secret", name, type="kubernetes.io/dockerconfigjson", data=data)


EVENT: Final[Json] = {
    "metadata": {"generateName": "x-"},
    "involvedObject": {"kind": "License", "name": "my-app", "namespace": OTHER},
    "reason": "Usable",
}

CONTROLLER_MAY = [
    Ask("list", LICENSES),
    Ask("watch", LICENSES),
    Ask("list", APPLICATIONS),
    Ask("patch", LICENSES, "my-app", OTHER, "status", body={"status": {"secretName": "x"}}),
    Ask("list", NAMESPACES),
    Ask("watch", NAMESPACES),
    Ask("list", SECRETS, selected=SECRET),
    Ask("watch", SECRETS, selected=SECRET),
    Ask("get", SECRETS, SECRET, OTHER),
    Ask("create", SECRETS, namespace="default", body=a_pull_secret()),
    Ask("update", SECRETS, SECRET, OTHER, body=a_pull_secret()),
    Ask("patch", SECRETS, SECRET, OTHER),
    Ask("delete", SECRETS, SECRET, OTHER),
    Ask("get", SECRETS, SOURCE, OTHER),
    Ask("list", SECRETS, namespace=OTHER, selected=SOURCE),
    Ask("watch", SECRETS, namespace=OTHER, selected=SOURCE),
    Ask("create", CORE_EVENTS, namespace=OTHER, body=EVENT),
    Ask("get", DEFINITIONS, "licenses.kots.io"),
    Ask("watch", DEFINITIONS, selected="applications.kots.io"),
    Ask("get", MUTATING_WEBHOOKS, NAMESPACE),
    Ask("patch", MUTATING_WEBHOOKS, NAMESPACE),
    Ask("create", CONFIG_MAPS, namespace=NAMESPACE, body=an_object("v1", "ConfigMap", "made")),
    Ask("patch", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("watch", CONFIG_MAPS, namespace=NAMESPACE, selected=ROUTES),
    Ask("get", SECRETS, AUTHORITY, NAMESPACE),
    Ask("patch", SECRETS, SERVING, NAMESPACE),
    Ask("create", LEASES, namespace=NAMESPACE, body=an_object("coordination.k8s.io/v1", "Lease", "made")),
    Ask("patch", LEASES, LEASE, NAMESPACE),
]

CONTROLLER_MAY_NOT = [
    Ask("list", SECRETS),
    Ask("watch", SECRETS),
    Ask("list", SECRETS, namespace=NAMESPACE),
    Ask("list", SECRETS, selected="foreign"),
    Ask("get", SECRETS, "foreign", OTHER),
    Ask("get", SECRETS, "foreign", NAMESPACE),
    Ask("get", SECRETS, SERVING, OTHER),
    Ask("get", SECRETS, SOURCE, NAMESPACE),
    Ask("list", SECRETS, namespace=OTHER),
    Ask("patch", SECRETS, SOURCE, OTHER),
    Ask("delete", SECRETS, SOURCE, OTHER),
    Ask("patch", SECRETS, "foreign", OTHER),
    Ask("update", SECRETS, "foreign", OTHER),
    Ask("delete", SECRETS, "foreign", OTHER),
    Ask("delete", SECRETS, AUTHORITY, NAMESPACE),
    Ask("delete", SECRETS, SERVING, NAMESPACE),
    Ask("deletecollection", SECRETS, namespace=OTHER),
    Ask("create", NAMESPACES),
    Ask("patch", NAMESPACES, OTHER),
    Ask("delete", NAMESPACES, OTHER),
    Ask("list", PODS),
    Ask("get", PODS, "bystander", OTHER),
    Ask("create", PODS, namespace=OTHER),
    Ask("create", PODS, namespace=NAMESPACE),
    Ask("patch", PODS, "bystander", OTHER),
    Ask("delete", PODS, "bystander", OTHER),
    Ask("get", ACCOUNTS, "default", OTHER),
    Ask("create", ACCOUNTS, namespace=OTHER),
    Ask("patch", ACCOUNTS, "default", OTHER),
    Ask("create", ACCOUNTS, f"{NAMESPACE}-webhook", NAMESPACE, "token"),
    Ask("create", ACCOUNTS, "default", OTHER, "token"),
    Ask("impersonate", PODS, namespace=OTHER, user=f"system:serviceaccount:{NAMESPACE}:{NAMESPACE}-webhook"),
    Ask("create", LICENSES, namespace=OTHER),
    Ask("patch", LICENSES, "my-app", OTHER),
    Ask("update", LICENSES, "my-app", OTHER),
    Ask("update", LICENSES, "my-app", OTHER, "status"),
    Ask("delete", LICENSES, "my-app", OTHER),
    Ask("patch", APPLICATIONS, "my-app", OTHER),
    Ask("list", DEFINITIONS),
    Ask("patch", DEFINITIONS, "licenses.kots.io"),
    Ask("delete", DEFINITIONS, "licenses.kots.io"),
    Ask("list", MUTATING_WEBHOOKS),
    Ask("create", MUTATING_WEBHOOKS),
    Ask("delete", MUTATING_WEBHOOKS, NAMESPACE),
    Ask("create", CLUSTER_BINDINGS),
    Ask("create", BINDINGS, namespace=NAMESPACE),
    Ask("patch", CLUSTER_ROLES, f"{NAMESPACE}-controller"),
    Ask("get", CONFIG_MAPS, "foreign", NAMESPACE),
    Ask("patch", CONFIG_MAPS, "foreign", NAMESPACE),
    Ask("delete", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("get", CONFIG_MAPS, ROUTES, OTHER),
    Ask("create", CONFIG_MAPS, namespace=OTHER),
    Ask("get", LEASES, "foreign", NAMESPACE),
    Ask("get", LEASES, LEASE, OTHER),
    Ask("create", LEASES, namespace=OTHER),
]

WEBHOOK_MAY = [
    Ask("get", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("list", CONFIG_MAPS, namespace=NAMESPACE, selected=ROUTES),
    Ask("watch", CONFIG_MAPS, namespace=NAMESPACE, selected=ROUTES),
    Ask("get", SECRETS, SERVING, NAMESPACE),
    Ask("watch", SECRETS, namespace=NAMESPACE, selected=SERVING),
]

WEBHOOK_MAY_NOT = [
    Ask("get", SECRETS, AUTHORITY, NAMESPACE),
    Ask("list", SECRETS, namespace=NAMESPACE),
    Ask("list", SECRETS, selected=SECRET),
    Ask("get", SECRETS, SECRET, OTHER),
    Ask("get", SECRETS, SERVING, OTHER),
    Ask("create", SECRETS, namespace=OTHER),
    Ask("patch", SECRETS, SERVING, NAMESPACE),
    Ask("get", CONFIG_MAPS, "foreign", NAMESPACE),
    Ask("get", CONFIG_MAPS, ROUTES, OTHER),
    Ask("patch", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("create", CONFIG_MAPS, namespace=NAMESPACE),
    Ask("list", LICENSES),
    Ask("list", APPLICATIONS),
    Ask("list", NAMESPACES),
    Ask("list", PODS),
    Ask("create", PODS, namespace=NAMESPACE),
    Ask("get", DEFINITIONS, "licenses.kots.io"),
    Ask("patch", MUTATING_WEBHOOKS, NAMESPACE),
    Ask("get", LEASES, LEASE, NAMESPACE),
    Ask("create", CORE_EVENTS, namespace=NAMESPACE),
    Ask("create", ACCOUNTS, f"{NAMESPACE}-controller", NAMESPACE, "token"),
    Ask("create", CLUSTER_BINDINGS),
]

CLEANUP_MAY = [
    Ask("list", SECRETS, selected=SECRET),
    Ask("delete", SECRETS, SECRET, OTHER),
    Ask("get", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("delete", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("get", SECRETS, AUTHORITY, NAMESPACE),
    Ask("delete", SECRETS, AUTHORITY, NAMESPACE),
    Ask("delete", SECRETS, SERVING, NAMESPACE),
    Ask("get", LEASES, LEASE, NAMESPACE),
    Ask("delete", LEASES, LEASE, NAMESPACE),
]

CLEANUP_MAY_NOT = [
    Ask("list", SECRETS),
    Ask("list", SECRETS, namespace=NAMESPACE),
    Ask("watch", SECRETS, selected=SECRET),
    Ask("get", SECRETS, SECRET, OTHER),
    Ask("get", SECRETS, SOURCE, OTHER),
    Ask("create", SECRETS, namespace=OTHER),
    Ask("patch", SECRETS, SECRET, OTHER),
    Ask("delete", SECRETS, "foreign", OTHER),
    Ask("delete", SECRETS, "foreign", NAMESPACE),
    Ask("delete", SECRETS, SERVING, OTHER),
    Ask("deletecollection", SECRETS, namespace=OTHER),
    Ask("list", LICENSES),
    Ask("delete", LICENSES, "my-app", OTHER),
    Ask("list", NAMESPACES),
    Ask("delete", NAMESPACES, OTHER),
    Ask("list", PODS),
    Ask("get", CONFIG_MAPS, "foreign", NAMESPACE),
    Ask("delete", CONFIG_MAPS, "foreign", NAMESPACE),
    Ask("delete", CONFIG_MAPS, ROUTES, OTHER),
    Ask("patch", CONFIG_MAPS, ROUTES, NAMESPACE),
    Ask("patch", LEASES, LEASE, NAMESPACE),
    Ask("delete", LEASES, LEASE, OTHER),
    Ask("delete", DEFINITIONS, "licenses.kots.io"),
    Ask("delete", MUTATING_WEBHOOKS, NAMESPACE),
    Ask("create", ACCOUNTS, f"{NAMESPACE}-controller", NAMESPACE, "token"),
    Ask("create", CLUSTER_BINDINGS),
]


class Accounts:
    """The accounts with tokens that the API server issued for them."""

    def __init__(self, plane: ControlPlane) -> None:
        self._url = plane.url
        self._context = ssl.create_default_context(cafile=str(plane.certificate_authority))
        self._tokens = {
            role: plane.kubectl("create", "token", f"{NAMESPACE}-{role}", "-n", NAMESPACE).strip()
            for role in ("controller", "webhook", "cleanup")
        }

    def send(self, role: str, ask: Ask) -> tuple[int, str]:
        """Send a request; returns status and text of the answer."""
        path = ask.resource.path(ask.name, ask.namespace, ask.subresource)
        request = urllib.request.Request(  # noqa: S310 - the control plane's own address.
            f"{self._url}{path}?{urlencode(ask.query)}",
            method=METHODS.get(ask.verb, "DELETE"),
            data=ask.content,
            headers={"Authorization": f"Bearer {self._tokens[role]}", "Content-Type": "application/json"},
        )
        if ask.verb == "patch":
            request.add_header("Content-Type", MERGE_PATCH)
        if ask.user:
            request.add_header("Impersonate-User", ask.user)
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:  # noqa: S310 - likewise.
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def accounts() -> Iterator[Accounts]:
    """A control plane of its own with the release in it, and objects of ours and of others to ask for."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.kubectl("create", "namespace", OTHER)
        cluster.install({"settings": VALUES["settings"]})
        cluster.apply(*(document for document in cluster.render(VALUES) if is_cleanups(document)))
        cluster.apply(a_license(OTHER))
        for namespace in (NAMESPACE, OTHER):
            objects = [an_object("v1", "Secret", name) for name in (SERVING, AUTHORITY, SOURCE, "foreign")]
            objects += [an_object("v1", "ConfigMap", name) for name in (ROUTES, "foreign")]
            objects += [an_object("coordination.k8s.io/v1", "Lease", name) for name in (LEASE, "foreign")]
            objects.append(a_pull_secret())
            cluster.kubectl("apply", "-n", namespace, "-f", "-", input=yaml.safe_dump_all(objects))
        asking = Accounts(plane)
        # Established is said before the storage answers.
        kinds = [Ask("list", LICENSES), Ask("list", APPLICATIONS)]
        wait_until(
            lambda: all(asking.send("controller", ask)[0] == 200 for ask in kinds), what="both kinds", seconds=20
        )
        yield asking


def is_cleanups(document: Json) -> bool:
    """Tell whether an object is one of the hook that cleans up; its Job finds no node here."""
    return "helm.sh/hook" in document["metadata"].get("annotations", {}) and document["kind"] != "Job"


def rows(**tables: list[Ask]) -> list[Any]:
    """Return a row for each request, named by who asks for what."""
    return [pytest.param(role, ask, id=f"{role}: {ask}") for role, table in tables.items() for ask in table]


@pytest.mark.parametrize(("role", "ask"), rows(controller=CONTROLLER_MAY, webhook=WEBHOOK_MAY, cleanup=CLEANUP_MAY))
def test_listed_permission_is_there(accounts: Accounts, role: str, ask: Ask) -> None:
    """What the specification lists is granted, or a refusal would prove nothing."""
    status, text = accounts.send(role, ask)

    assert status in {200, 201}, text


@pytest.mark.parametrize(
    ("role", "ask"), rows(controller=CONTROLLER_MAY_NOT, webhook=WEBHOOK_MAY_NOT, cleanup=CLEANUP_MAY_NOT)
)
def test_everything_else_is_forbidden(accounts: Accounts, role: str, ask: Ask) -> None:
    """What the specification does not list is refused by the API server's authorization."""
    status, text = accounts.send(role, ask)

    assert status == 403, text
    assert f'User "system:serviceaccount:{NAMESPACE}:{NAMESPACE}-{role}" cannot {ask.verb}' in text.replace("\\", "")
