"""Who may reach beyond a namespace: the chart's admission policies on the real API server, with real accounts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from operating import Cluster, Namespaces, a_license, an_application
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.processes import run
from rig.roles import NAMESPACE
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
ALLOWED, BY_SLUG, FOREIGN = "images.acme.example", "proxy.acme.example:8443", "images.evil.example"
_VALUES: Json = {"settings": {"proxy": {"allowedHosts": [ALLOWED], "hosts": {"my-app": BY_SLUG}}}}
_DISTRIBUTOR = f"{NAMESPACE}-distributor"
_REMEDY = f"--clusterrole={_DISTRIBUTOR}"


@dataclass(frozen=True)
class Author:
    """Somebody with an account of a namespace and kubectl.

    Attributes:
        namespace: where the account is, and all that it may write to.
        user: how the API server calls it.
        kubectl: a kubectl that acts as this account.
    """

    namespace: str
    user: str
    kubectl: Callable[..., str]

    def create(self, document: Json, *arguments: str) -> str:
        """Run `kubectl create` in the own namespace."""
        return self.kubectl("create", "-n", self.namespace, "-f", "-", *arguments, stdin=json.dumps(document))

    def may(self, verb: str, kind: str) -> bool:
        """Tell whether the API server knows already that the account may do something; at first it does not."""
        try:
            return self.kubectl("auth", "can-i", verb, kind, "-n", self.namespace).strip() == "yes"
        except RigError:  # That is how kubectl says no.
            return False

    def refusal(self, *arguments: str, document: Json | None = None) -> str:
        """Return what kubectl says when a request must be refused."""
        with pytest.raises(RigError) as refused:
            self.kubectl(*arguments, "-n", self.namespace, stdin=json.dumps(document) if document else None)
        return str(refused.value)


class Authors:
    """Makes accounts of every kind."""

    def __init__(self, cluster: Cluster, namespaces: Namespaces) -> None:
        self._cluster = cluster
        self._namespaces = namespaces

    def tenant(self, word: str = "tenant") -> Author:
        """Make an account that may do everything in its own namespace and nothing elsewhere."""
        [namespace] = self._namespaces.create(word)
        kubectl = self._cluster.kubectl
        kubectl("create", "serviceaccount", "author", "-n", namespace)
        kubectl("create", "role", "everything", "-n", namespace, "--verb=*", "--resource=*.*")
        self.bind_in_namespace(namespace, "--role=everything")
        config = self._cluster.plane.kubeconfig_for_service_account(namespace, "author")
        program = str(self._cluster.plane.binaries["kubectl"])

        def act(*arguments: str, stdin: str | None = None) -> str:
            """Run kubectl as the account."""
            return run([program, f"--kubeconfig={config}", *arguments], stdin=stdin)

        author = Author(namespace, f"system:serviceaccount:{namespace}:author", act)
        wait_until(lambda: author.may("create", "licenses.kots.io"), what=f"the rights of {author.user}", seconds=20)
        return author

    def delegate(self) -> Author:
        """Make such an account that may distribute, too."""
        author = self.tenant("delegate")
        command = ("create", "clusterrolebinding", author.namespace, f"--clusterrole={_DISTRIBUTOR}")
        self._cluster.kubectl(*command, f"--user={author.user}")
        return author

    def bind_in_namespace(self, namespace: str, role: str) -> None:
        """Bind the account to a role in its namespace only."""
        name = role.replace("=", "-").strip("-")
        command = ("create", "rolebinding", name, "-n", namespace, role)
        self._cluster.kubectl(*command, f"--serviceaccount={namespace}:author")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own, with the release in it and its policies at work."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install(_VALUES)
        namespaces = Namespaces(cluster)
        probe = Authors(cluster, namespaces).tenant("probe")
        for document in (_application(additionalNamespaces=["*"]), _license(replicatedProxyDomain=FOREIGN)):
            wait_until(partial(_is_refused, probe, document), what="the policies", seconds=30)
        yield cluster


def _is_refused(author: Author, document: Json) -> bool:
    """Tell whether an object is refused by a policy, by a dry run."""
    try:
        author.create(document, "--dry-run=server")
    except RigError as error:
        return "ValidatingAdmissionPolicy" in str(error)
    return False


@pytest.fixture
def authors(cluster: Cluster, namespaces: Namespaces) -> Authors:
    """Accounts of every kind, in namespaces of the test."""
    return Authors(cluster, namespaces)


def _application(**spec: object) -> Json:
    """Write an Application without a namespace; `metadata` goes there."""
    return _bare(an_application("unused"), {"additionalNamespaces": None, **spec})


def _license(**spec: object) -> Json:
    """Write a License without a namespace."""
    return _bare(a_license("unused"), spec)


def _bare(document: Json, spec: Json) -> Json:
    """Leave the namespace to kubectl, change the spec, and leave out what is None."""
    document = copy.deepcopy(document)
    del document["metadata"]["namespace"]
    document["spec"] = {key: value for key, value in (document["spec"] | spec).items() if value is not None}
    return document


_REACHING = [
    (_application(additionalNamespaces=["*"]), "additionalNamespaces"),
    (_application(additionalNamespaces=["workers"]), "additionalNamespaces"),
    (_application(additionalNamespaces=["no name", ""]), "additionalNamespaces"),
    (_application(proxyRegistryDomain=FOREIGN), "proxyRegistryDomain"),
    (_application(replicatedRegistryDomain=ALLOWED), "replicatedRegistryDomain"),
    (_license(replicatedProxyDomain=FOREIGN), FOREIGN),
    (_license(replicatedProxyDomain=f"{ALLOWED}:8443"), ALLOWED),
    (_license(channels=[{"isDefault": False}, {"replicatedProxyDomain": FOREIGN}]), FOREIGN),
    (_license(replicatedRegistryDomain=FOREIGN), FOREIGN),
    # No schema knows this field, so it can be anything; what nobody can read is no host that is allowed.
    (_license(replicatedRegistryDomain=5), "5"),
    (_license(replicatedRegistryDomain=[ALLOWED]), "names a domain"),
    (_license(replicatedRegistryDomain={"host": ALLOWED}), "names a domain"),
    (_license(replicatedRegistryDomain=True), "true"),
    ({**_license(replicatedProxyDomain=FOREIGN), "apiVersion": "kots.io/v1beta2"}, FOREIGN),
]
_PLAIN = [
    _application(),
    {**_application(), "spec": None},
    {"apiVersion": "kots.io/v1beta1", "kind": "Application", "metadata": {"name": "bare"}},
    _application(additionalNamespaces=[], proxyRegistryDomain="", replicatedRegistryDomain=""),
    _application(additionalImages=["quay.io/acme/api:1"], excludedImages=["quay.io/acme/db:1"]),
    {**_application(), "metadata": {"generateName": "made-"}},
    {**_application(), "metadata": {"name": "labelled", "labels": {"kots.io/app-slug": "my-app"}}},
    _license(),
    {**_license(), "apiVersion": "kots.io/v1beta2"},
    _license(replicatedProxyDomain="", channels=[], replicatedRegistryDomain=""),
    _license(replicatedProxyDomain="proxy.replicated.com", replicatedRegistryDomain="registry.replicated.com"),
    _license(endpoint="https://staging.replicated.app", replicatedProxyDomain="proxy.staging.replicated.com"),
    _license(replicatedProxyDomain=ALLOWED, channels=[{"replicatedProxyDomain": BY_SLUG}, {"channelName": "Beta"}]),
]


@pytest.mark.parametrize(("document", "named"), _REACHING)
def test_an_account_of_a_namespace_is_refused_with_the_remedy(authors: Authors, document: Json, named: str) -> None:
    """A namespaced `*` Role does not let its holder reach beyond; the refusal says what, why and what to do."""
    tenant = authors.tenant()

    refusal = tenant.refusal("create", "-f", "-", document=document)

    assert "is forbidden" in refusal
    assert all(words in refusal for words in (named, "may not distribute", _REMEDY)), refusal
    assert not tenant.kubectl("get", "applications.kots.io,licenses.kots.io", "-n", tenant.namespace, "-o", "name")


def test_an_account_of_a_namespace_may_do_everything_at_home(authors: Authors) -> None:
    """What reaches nowhere, and names no domain but Replicated's and the allowed ones, is accepted from anybody."""
    tenant = authors.tenant()

    for document in _PLAIN:
        assert "created" in tenant.create(document, "--dry-run=server"), document


def test_nulls_are_no_reach(authors: Authors, cluster: Cluster) -> None:
    """Fields that are null count as left out; kubectl drops them, so they are sent as they are."""
    tenant = authors.tenant()
    spec: Json = {"additionalNamespaces": None, "proxyRegistryDomain": None, "title": "x"}
    application = {**_application(), "spec": spec}
    lic = _license()
    lic["spec"] |= {"channels": None, "replicatedProxyDomain": None}

    for plural, document in (("applications", application), ("licenses", lic)):
        path = f"/apis/kots.io/v1beta1/namespaces/{tenant.namespace}/{plural}"
        tenant.kubectl("create", f"--raw={path}", "-f", "-", stdin=json.dumps(document))
        assert cluster.exists(f"{plural}.kots.io/my-app", "-n", tenant.namespace)


def test_a_cluster_administrator_passes(cluster: Cluster, namespaces: Namespaces) -> None:
    """Whoever may do everything in the cluster may reach everywhere; `helm install` of a vendor's chart, say."""
    [namespace] = namespaces.create("admin")

    for document, _ in _REACHING:
        text = json.dumps(document)
        assert "created" in cluster.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", input=text)


def test_a_delegated_author_passes(authors: Authors) -> None:
    """The ClusterRole of the chart, bound in the whole cluster, is all that it takes beside the own namespace."""
    delegate = authors.delegate()

    wait_until(lambda: not _is_refused(delegate, _REACHING[0][0]), what="the binding", seconds=20)
    for document, _ in _REACHING:
        assert "created" in delegate.create(document, "--dry-run=server"), document


def test_a_binding_in_a_namespace_does_not_delegate(authors: Authors) -> None:
    """The same ClusterRole by a RoleBinding, which any administrator of a namespace could make, grants nothing."""
    tenant = authors.tenant()
    authors.bind_in_namespace(tenant.namespace, f"--clusterrole={_DISTRIBUTOR}")
    wait_until(lambda: tenant.may("distribute", "applications.kots.io"), what="the binding", seconds=20)

    for document, _ in (_REACHING[0], _REACHING[5]):
        assert _is_refused(tenant, document)


def _patch(kind: str, **changes: object) -> tuple[str, ...]:
    """Write a merge patch of the object `my-app`."""
    return ("patch", f"{kind}.kots.io/my-app", "--type=merge", "-p", json.dumps(changes))


_APPLICATION: Json = {
    **_application(additionalNamespaces=["*"], proxyRegistryDomain=ALLOWED, additionalImages=["busybox"]),
    "metadata": {"name": "my-app", "labels": {"kots.io/app-slug": "my-app"}},
}
_LICENSE = _license(replicatedProxyDomain=FOREIGN, channels=[{"replicatedProxyDomain": ALLOWED, "isDefault": True}])
_MAY_CHANGE = [
    _patch("application", metadata={"annotations": {"note": "x"}, "labels": {"team": "a"}}),
    _patch("application", metadata={"finalizers": ["acme.example/hold"]}),
    _patch("application", metadata={"finalizers": None}),
    _patch("application", spec={"title": "Another", "statusInformers": ["deployment/api"]}),
    _patch("license", metadata={"annotations": {"proxy.kots.io/paused": "true"}}),
    _patch("license", spec={"customerName": "ACME", "entitlements": {"seats": {"value": 5}}}),
    _patch("license", spec={"channels": [{"replicatedProxyDomain": BY_SLUG, "channelName": "Stable"}]}),
]
_MAY_NOT_CHANGE = [
    _patch("application", spec={"additionalNamespaces": ["*", "more"]}),
    _patch("application", spec={"additionalNamespaces": ["less"]}),
    _patch("application", spec={"additionalNamespaces": None}),
    _patch("application", spec={"proxyRegistryDomain": FOREIGN}),
    _patch("application", spec={"replicatedRegistryDomain": FOREIGN}),
    _patch("application", spec={"additionalImages": ["quay.io/others/db"]}),
    _patch("application", spec={"excludedImages": ["*"]}),
    _patch("application", metadata={"labels": {"kots.io/app-slug": "another"}}),
    _patch("application", metadata={"labels": None}),
    _patch("application", metadata={"annotations": {"proxy.kots.io/upstreams": "docker.io"}}),
    _patch("license", spec={"replicatedProxyDomain": "other.evil.example"}),
    _patch("license", spec={"replicatedRegistryDomain": FOREIGN}),
    _patch("license", spec={"channels": [{"replicatedProxyDomain": "other.evil.example"}]}),
]


def test_updates_that_leave_the_reach_alone_pass_for_everybody(authors: Authors, cluster: Cluster) -> None:
    """Finalizers, labels, annotations and the rest of the spec stay their owner's; so does taking the reach back."""
    tenant = authors.tenant()
    for document in (_APPLICATION, _LICENSE):
        cluster.kubectl("create", "-n", tenant.namespace, "-f", "-", input=json.dumps(document))

    for command in _MAY_CHANGE:
        assert "patched" in tenant.kubectl(*command, "-n", tenant.namespace)
    tenant.kubectl(*_patch("license", spec={"replicatedProxyDomain": None}), "-n", tenant.namespace)
    nothing = {"additionalNamespaces": None, "proxyRegistryDomain": None}
    tenant.kubectl(*_patch("application", spec=nothing), "-n", tenant.namespace)
    assert "may not distribute" in tenant.refusal(*_patch("application", spec={"additionalNamespaces": ["*"]}))
    assert "may not distribute" in tenant.refusal(*_patch("license", spec={"replicatedProxyDomain": FOREIGN}))
    tenant.kubectl("delete", "application.kots.io/my-app", "license.kots.io/my-app", "-n", tenant.namespace)


def test_updates_that_other_namespaces_feel_are_refused(authors: Authors, cluster: Cluster) -> None:
    """Where an Application reaches, for which License and which images, is changed only by who may distribute."""
    tenant = authors.tenant()
    for document in (_APPLICATION, _LICENSE):
        cluster.kubectl("create", "-n", tenant.namespace, "-f", "-", input=json.dumps(document))
    before = cluster.kubectl("get", "applications.kots.io,licenses.kots.io", "-n", tenant.namespace, "-o", "yaml")

    for command in _MAY_NOT_CHANGE:
        assert "may not distribute" in tenant.refusal(*command), command

    after = cluster.kubectl("get", "applications.kots.io,licenses.kots.io", "-n", tenant.namespace, "-o", "yaml")
    assert before == after


def test_the_largest_objects_are_within_the_cost(authors: Authors, cluster: Cluster) -> None:
    """CEL's budget holds for lists as long as the definitions allow, so that no policy errs and refuses everything."""
    tenant = authors.tenant()
    names = [f"{'x' * 240}{number}" for number in range(4_000)]  # More bytes than that do not fit into a request.
    application = _application(additionalNamespaces=names, additionalImages=[f"i{number}" for number in range(1_000)])
    channels = [{"replicatedProxyDomain": f"c{number}.evil.example"} for number in range(1_000)]
    lic = _license(channels=channels)
    for document in (application, lic):
        cluster.kubectl("create", "-n", tenant.namespace, "-f", "-", input=json.dumps(document))

    for kind in ("application", "license"):
        tenant.kubectl("annotate", f"{kind}.kots.io/my-app", "note=x", "-n", tenant.namespace)
    application["spec"]["additionalNamespaces"] = [*names, "more"]
    lic["spec"]["channels"] = [*channels[1:], {"replicatedProxyDomain": FOREIGN}]
    for document in (application, lic):
        assert "may not distribute" in tenant.refusal("replace", "-f", "-", document=document)


def _policy_status(cluster: Cluster, name: str) -> Json:
    """Read a policy's status; empty before the type check."""
    status: Json = cluster.get("validatingadmissionpolicy", name).get("status", {})
    return status


def test_the_api_server_finds_nothing_wrong_with_the_expressions(cluster: Cluster) -> None:
    """The type checker of the control plane, which knows both definitions, warns of nothing."""
    for name in (f"{NAMESPACE}-application-reach", f"{NAMESPACE}-license-hosts"):
        status = wait_until(
            partial(_policy_status, cluster, name),
            what=f"the type check of {name}",
            seconds=30,
        )
        assert status.get("typeChecking", {}).get("expressionWarnings", []) == []
