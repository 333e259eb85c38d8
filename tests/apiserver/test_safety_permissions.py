"""What the accounts may do, found out by trying everything that the API server serves.

The golden list is compared with what kubectl lists, and with the answer to every verb on every resource: in the whole
cluster, at home and in a namespace of somebody else. What every account may (discovery, reviews of oneself) is taken
from one that was given nothing.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from operating import SECRET, Cluster
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.processes import run
from rig.roles import NAMESPACE

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
OTHER: Final = "other"
NOBODY: Final = "nobody"
READ: Final = "get list watch"
KEEP: Final = f"{READ} patch update"
# Verbs that authorization knows beside those that resources are served with.
VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
ONE_OF_EACH: Final = {"get", "patch"}  # For reading and for writing; kubectl's list has all of them.
SPECIAL: Final = {
    "serviceaccounts": ("impersonate",),
    "users": ("impersonate",),
    "groups": ("impersonate",),
    "roles": ("bind", "escalate"),
    "clusterroles": ("bind", "escalate"),
    "applications": ("distribute",),
    "signers": ("approve", "sign", "attest"),
    "certificatesigningrequests/approval": ("update",),
}
# As `kubectl auth can-i --list` shows them: resource, names, verbs.
CLUSTER_WIDE: Final = {
    ("applications.kots.io", "", READ),
    ("licenses.kots.io", "", READ),
    ("applications.kots.io/status", "", "patch"),
    ("licenses.kots.io/status", "", "patch"),
    ("namespaces", "", READ),
    ("events", "", "create patch"),
    ("secrets", "", "create"),
    ("secrets", SECRET, f"delete {KEEP}"),
    ("customresourcedefinitions.apiextensions.k8s.io", "licenses.kots.io", READ),
    ("customresourcedefinitions.apiextensions.k8s.io", "applications.kots.io", READ),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", NAMESPACE, f"{READ} patch"),
}
AT_HOME: Final = {
    ("configmaps", "", "create"),
    ("leases.coordination.k8s.io", "", "create"),
    ("configmaps", "replicated-proxy-routes", KEEP),
    ("secrets", "replicated-proxy-ca", KEEP),
    ("secrets", "replicated-proxy-serving", KEEP),
    ("leases.coordination.k8s.io", "replicated-proxy-controller", KEEP),
}
OF_THE_WEBHOOK: Final = {
    ("configmaps", "replicated-proxy-routes", READ),
    ("secrets", "replicated-proxy-serving", READ),
}
GOLDEN: Final = {
    ("controller", OTHER): CLUSTER_WIDE,
    ("controller", NAMESPACE): CLUSTER_WIDE | AT_HOME,
    ("webhook", OTHER): set[tuple[str, str, str]](),
    ("webhook", NAMESPACE): OF_THE_WEBHOOK,
}


@dataclass(frozen=True)
class Accounts:
    """Accounts of the release, and one that was given nothing, in a cluster where they can be tried."""

    cluster: Cluster
    tokens: dict[str, str]

    def listed(self, account: str, namespace: str) -> set[tuple[str, str, str]]:
        """Return what kubectl lists for an account in a namespace: one row for each resource and name."""
        plane = self.cluster.plane
        config = plane.kubeconfig_with_token(self.tokens[account], account)
        command = [str(plane.binaries["kubectl"]), f"--kubeconfig={config}", "auth", "can-i", "--list", "--no-headers"]
        return set(rows(run([*command, "-n", namespace])))

    def allowed(self, account: str, asked: list[Json]) -> list[Json]:
        """Return which of these an account may, by the API server's own word."""
        url = urlsplit(self.cluster.plane.url)
        context = ssl.create_default_context(cafile=str(self.cluster.plane.certificate_authority))
        headers = {"Authorization": f"Bearer {self.tokens[account]}", "Content-Type": "application/json"}

        def try_all(share: list[Json]) -> list[Json]:
            """Ask about a part of them, on one connection."""
            connection = http.client.HTTPSConnection(str(url.hostname), url.port, context=context, timeout=60)
            found = []
            for attributes in share:
                body = {"spec": {"resourceAttributes": attributes}}
                path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                connection.request("POST", path, json.dumps(body), headers)
                answer = json.loads(connection.getresponse().read())
                if answer["status"]["allowed"]:
                    found.append(attributes)
            connection.close()
            return found

        with ThreadPoolExecutor(4) as pool:
            return [each for part in pool.map(try_all, (asked[n::4] for n in range(4))) for each in part]


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Read kubectl's table: resources, paths, names and verbs, the last three in brackets; a row for each name."""
    for line in text.splitlines():
        found = re.fullmatch(r"(\S*?)\s*\[([^]]*)\]\s+\[([^]]*)\]\s+\[([^]]*)\]", line.strip())
        assert found is not None, line
        resource, paths, names, verbs = found.groups()
        for name in names.split() or [""]:
            yield resource or paths, name, " ".join(sorted(verbs.split()))


@pytest.fixture(scope="module")
def accounts() -> Iterator[Accounts]:
    """A control plane with the release, and tokens that it issued."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        cluster.kubectl("create", "namespace", OTHER)
        cluster.kubectl("create", "serviceaccount", NOBODY, "-n", NAMESPACE)
        names = {"controller": f"{NAMESPACE}-controller", "webhook": f"{NAMESPACE}-webhook", NOBODY: NOBODY}
        tokens = {
            word: cluster.kubectl("create", "token", name, "-n", NAMESPACE).strip() for word, name in names.items()
        }
        yield Accounts(cluster, tokens)


@pytest.fixture(scope="module")
def everything(accounts: Accounts) -> list[Json]:
    """Every verb on every resource and subresource that is served: in the whole cluster, at home and elsewhere."""
    kubectl = accounts.cluster.kubectl
    versions = {("", "v1"): "/api/v1"}
    for group in json.loads(kubectl("get", "--raw", "/apis"))["groups"]:
        for version in group["versions"]:
            versions[group["name"], version["version"]] = f"/apis/{version['groupVersion']}"
    served = {
        (group, resource["name"])
        for (group, _), path in versions.items()
        for resource in json.loads(kubectl("get", "--raw", path))["resources"]
    }
    served |= {("", "users"), ("", "groups"), ("certificates.k8s.io", "signers"), ("*", "*")}
    return [
        attributes_of(group, resource, verb) | where
        for group, resource in sorted(served)
        for verb in dict.fromkeys((*VERBS, *SPECIAL.get(resource, ())))
        for where in ({}, {"namespace": NAMESPACE}, {"namespace": OTHER})
    ]


def attributes_of(group: str, resource: str, verb: str) -> Json:
    """Write what is asked about."""
    kind, _, subresource = resource.partition("/")
    return {"group": group, "resource": kind, "subresource": subresource, "verb": verb}


def shown(attributes: Json) -> tuple[str, str, str]:
    """Return where something may be done, to what, and the verb."""
    resource = ".".join(filter(None, (attributes["resource"], attributes["group"])))
    return (
        attributes.get("namespace", ""),
        resource + (f"/{attributes['subresource']}" if attributes["subresource"] else ""),
        attributes["verb"],
    )


@pytest.mark.parametrize(("account", "namespace"), GOLDEN)
def test_kubectl_lists_the_golden_list(accounts: Accounts, account: str, namespace: str) -> None:
    """`kubectl auth can-i --list` shows what the specification lists, and nothing else."""
    own = accounts.listed(account, namespace) - accounts.listed(NOBODY, namespace)
    golden = {(resource, name, " ".join(sorted(verbs.split()))) for resource, name, verbs in GOLDEN[account, namespace]}

    assert own == golden


@pytest.mark.parametrize("account", ["controller", "webhook"])
def test_nothing_else_is_allowed(accounts: Accounts, everything: list[Json], account: str) -> None:
    """Of every verb on every resource in every place those are allowed that the golden list has without names."""
    common = set(map(shown, accounts.allowed(NOBODY, everything)))
    own = set(map(shown, accounts.allowed(account, everything))) - common
    wide = {(resource, verb) for resource, name, verbs in GOLDEN[account, OTHER] if not name for verb in verbs.split()}
    home = {
        (resource, verb) for resource, name, verbs in GOLDEN[account, NAMESPACE] if not name for verb in verbs.split()
    }

    assert len(everything) > 2000
    assert own == {
        (place, *each) for place, granted in (("", wide), (OTHER, wide), (NAMESPACE, home)) for each in granted
    }


@pytest.mark.parametrize("account", ["controller", "webhook"])
def test_named_objects_are_the_golden_ones(accounts: Accounts, everything: list[Json], account: str) -> None:
    """The names of the golden list open the resource that they stand beside, and no other resource of that name."""
    golden = GOLDEN[account, NAMESPACE]
    names = sorted({name for _, name, _ in golden if name})
    asked = [
        attributes | {"name": name}
        for attributes in everything
        if attributes.get("namespace") == NAMESPACE and attributes["verb"] in ONE_OF_EACH
        for name in names
    ]
    common = {(*shown(each), each["name"]) for each in accounts.allowed(NOBODY, asked)}
    own = {(*shown(each), each["name"]) for each in accounts.allowed(account, asked)} - common
    expected = {
        (NAMESPACE, resource, verb, name)
        for resource, named, verbs in golden
        for verb in set(verbs.split()) & ONE_OF_EACH
        for name in ([named] if named else names)
    }

    assert own == expected
