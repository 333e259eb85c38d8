"""What the chart renders, held against the real API server: every platform, several releases, and breaking the glass.

The API server takes Pods of the system's priorities only where a quota speaks of them, as GKE's does.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm_chart import Chart
from operating import a_license
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.manifests import read_manifests
from rig.processes import run
from rig.roles import CHART, KINDS
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
Make = Callable[..., str]
_PLATFORMS = sorted(path.name for path in CHART.glob("ci/*-values.yaml"))
_NO_DEFINITIONS = "--set=crds.install=false"
_NODES_NETWORK = "eks-hostnetwork-values.yaml"
_QUOTAS = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "ResourceQuotaConfiguration",
    "limitedResources": [
        {
            "resource": "pods",
            "matchScopes": [
                {
                    "scopeName": "PriorityClass",
                    "operator": "In",
                    "values": ["system-node-critical", "system-cluster-critical"],
                }
            ],
        }
    ],
}
_ADMISSION = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [{"name": "ResourceQuota", "configuration": _QUOTAS}],
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, since releases here own the definitions and refuse Pods."""
    admission = tmp_path_factory.mktemp("admission") / "admission.yaml"
    admission.write_text(yaml.safe_dump(_ADMISSION), encoding="utf-8")
    flags = (f"--admission-control-config-file={admission}",)
    with ControlPlane(options=ControlPlaneOptions(api_server_flags=flags)) as running:
        yield running


@pytest.fixture(scope="module")
def chart() -> Chart:
    """The chart of this repository."""
    return Chart(provide(["helm"])["helm"])


@pytest.fixture
def make(plane: ControlPlane) -> Iterator[Make]:
    """Create namespaces of the test's own."""
    made: list[str] = []

    def create(word: str) -> str:
        name = f"{word}-{secrets.token_hex(3)}"
        plane.kubectl("create", "namespace", name)
        plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=120s")
        made.append(name)
        return name

    yield create
    plane.kubectl("delete", "namespace", *made, "--wait=false")


@pytest.fixture
def helm(plane: ControlPlane) -> Iterator[Callable[..., str]]:
    """Run helm as the administrator; what is installed is uninstalled afterwards."""
    program, installed = str(provide(["helm"])["helm"]), list[tuple[str, str]]()

    def act(command: str, release: str, namespace: str, *arguments: str) -> str:
        if command == "install":
            installed.append((release, namespace))
        where = [f"--kubeconfig={plane.kubeconfig}", f"--namespace={namespace}"]
        return run([program, *command.split(), release, *arguments, *where])

    yield act
    for release, namespace in installed:
        act("uninstall", release, namespace, "--ignore-not-found")


def _platform(name: str, namespace: str) -> Json:
    """Read a platform's values; the test's Pod is tried in a namespace that is there."""
    values: Json = yaml.safe_load((CHART / "ci" / name).read_text(encoding="utf-8"))
    return values | {"test": {"namespace": namespace}}


@pytest.fixture(scope="module")
def strict(plane: ControlPlane, chart: Chart) -> str:
    """A namespace that enforces the restricted level, with the quota for the system's priorities."""
    plane.kubectl("create", "namespace", "strict")
    plane.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace=strict", "--timeout=120s")
    rendered = chart.template({"priorityClassName": "system-cluster-critical"}, namespace="strict")
    quota = next(each for each in read_manifests(rendered) if each["kind"] == "ResourceQuota")
    plane.kubectl("apply", "--filename=-", input=json.dumps(quota))
    return "strict"


@pytest.fixture
def no_definitions(plane: ControlPlane) -> Iterator[None]:
    """Take the definitions away afterwards: releases keep them, and no other release may own them then."""
    yield
    plane.kubectl("delete", "crd", "licenses.kots.io", "applications.kots.io", "--ignore-not-found")


@pytest.mark.parametrize("name", _PLATFORMS)
def test_the_api_server_finds_nothing_wrong(plane: ControlPlane, chart: Chart, strict: str, name: str) -> None:
    """Every object of every platform, hooks and tests included, passes the API server's strict validation."""
    text = chart.template(_platform(name, strict), "--include-crds", namespace=strict)
    documents = [_without_admission(each) for each in read_manifests(text)]
    manifests = yaml.safe_dump_all(documents)
    plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", input=manifests)


def _without_admission(document: Json) -> Json:
    """Make a template of a Pod: all of it is validated, and its account need not exist yet."""
    if document["kind"] != "Pod":
        return document
    template = {"metadata": {"labels": document["metadata"]["labels"]}, "spec": document["spec"]}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": document["metadata"], "template": template}


def _pods(documents: list[Json]) -> list[Json]:
    """Return every Pod that the objects make, ready to be created."""
    found = []
    for document in documents:
        if document["kind"] in {"Deployment", "Job", "Pod"}:
            template = document["spec"].get("template", document)
            metadata = {"name": document["metadata"]["name"], "labels": template["metadata"]["labels"]}
            # Accounts are made with the release; what is looked at here is the Pod.
            spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
            found.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return found


def test_pods_pass_the_restricted_level(plane: ControlPlane, chart: Chart, strict: str) -> None:
    """A namespace that enforces it takes every Pod of ours on every platform but in the nodes' network."""
    pods = [pod for name in _PLATFORMS if name != _NODES_NETWORK for pod in _platform_pods(chart, strict, name)]
    assert len(pods) >= 3 * (len(_PLATFORMS) - 1)
    assert _refusal(plane, pods, strict) == ""


def test_the_nodes_network_is_beyond_the_restricted_level(plane: ControlPlane, chart: Chart, strict: str) -> None:
    """The webhook's Pod is refused there, as documented; the others are not."""
    (webhook,), others = (
        [
            pod
            for pod in _platform_pods(chart, strict, _NODES_NETWORK)
            if pod["metadata"]["name"].endswith(ending) is are
        ]
        for ending, are in (("-webhook", True), ("-webhook", False))
    )
    assert "host namespaces (hostNetwork=true)" in _refusal(plane, [webhook], strict)
    assert _refusal(plane, others, strict) == ""


def _platform_pods(chart: Chart, namespace: str, name: str) -> list[Json]:
    """Return every Pod of a platform."""
    text = chart.template(_platform(name, namespace), "--include-crds", namespace=namespace)
    return _pods(read_manifests(text))


def _refusal(plane: ControlPlane, pods: list[Json], namespace: str) -> str:
    """Return what the API server says against Pods; nothing where it takes all. Quotas are looked at by and by."""
    said: list[str] = []

    def settled() -> bool:
        try:
            command = ("create", "--dry-run=server", f"--namespace={namespace}", "--filename=-")
            plane.kubectl(*command, input=yaml.safe_dump_all(pods))
        except RigError as error:
            said.append(str(error))
            return "quota" not in said[-1]
        said.clear()
        return True

    wait_until(settled, what="the quota", seconds=30)
    return said[-1] if said else ""


def test_the_systems_priority_needs_the_quota_that_comes_with_it(plane: ControlPlane, chart: Chart, make: Make) -> None:
    """On such a cluster Pods of the class are refused without it, and taken with it."""
    namespace = make("priority")
    rendered = chart.objects({"priorityClassName": "system-cluster-critical"})
    (pod, *_) = _pods(list(rendered))
    command = ("create", "--dry-run=server", f"--namespace={namespace}", "--filename=-")
    with pytest.raises(RigError, match="insufficient quota to match these scopes"):
        plane.kubectl(*command, input=json.dumps(pod))

    quota = rendered.only("ResourceQuota")
    quota["metadata"]["namespace"] = namespace
    plane.kubectl("apply", "--filename=-", input=json.dumps(quota))
    assert _refusal(plane, [pod], namespace) == ""


@pytest.mark.usefixtures("no_definitions")
def test_the_definitions_can_be_had_alone(plane: ControlPlane, make: Make, helm: Callable[..., str]) -> None:
    """The bundle is the two definitions; with them in place a release does without its own."""
    bundle = helm("template", "bundle", "anywhere", str(CHART), "--show-only=templates/crds.yaml")
    names = [each["metadata"]["name"] for each in read_manifests(bundle)]
    assert names == ["applications.kots.io", "licenses.kots.io"]
    plane.kubectl("apply", "--server-side", "--validate=strict", "--filename=-", input=bundle)
    helm("install", "proxy", make("bundle"), str(CHART), _NO_DEFINITIONS)


@pytest.mark.usefixtures("no_definitions")
def test_the_examples_of_the_chart_are_accepted(plane: ControlPlane, make: Make) -> None:
    """What Artifact Hub shows of both kinds passes strict validation."""
    plane.kubectl("apply", "--filename", str(CHART / "files/crds"))
    plane.await_kinds(*KINDS)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    examples = yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"])
    for example in examples:
        example["metadata"]["namespace"] = make("example")
        wait_until(partial(_accepted, plane, example), what=f"a {example['kind']}", seconds=30)


def _accepted(plane: ControlPlane, document: Json) -> bool:
    """Tell whether the API server takes an object; a kind that was just defined is served by and by."""
    try:
        plane.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", input=json.dumps(document))
    except RigError as error:
        if "no matches for kind" in str(error):
            return False
        raise
    return True


@pytest.mark.usefixtures("no_definitions")
def test_definitions_are_upgraded_and_kept(plane: ControlPlane, make: Make, helm: Callable[..., str]) -> None:
    """An upgrade puts them right; uninstalling leaves them with their Licenses, and installing takes them back."""
    namespace = make("keep")
    helm("install", "proxy", namespace, str(CHART))
    plane.await_kinds(*KINDS)
    patch = [{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]
    plane.kubectl("patch", "crd", "licenses.kots.io", "--type=json", f"--patch={json.dumps(patch)}")
    wait_until(lambda: _accepted(plane, a_license(namespace)), what="the kind License", seconds=30)
    plane.kubectl("apply", "--filename=-", input=json.dumps(a_license(namespace)))

    helm("upgrade", "proxy", namespace, str(CHART), "--force-conflicts")
    assert "additionalPrinterColumns" in _definition(plane)["spec"]["versions"][0]

    helm("uninstall", "proxy", namespace)
    assert plane.kubectl("get", "license.kots.io/my-app", f"--namespace={namespace}", "--output=name")
    helm("install", "proxy", namespace, str(CHART))


def _definition(plane: ControlPlane) -> Json:
    """Read the definition of License."""
    found: Json = json.loads(plane.kubectl("get", "crd", "licenses.kots.io", "--output=json"))
    return found


@pytest.mark.usefixtures("no_definitions")
def test_one_name_in_two_namespaces(plane: ControlPlane, make: Make, helm: Callable[..., str]) -> None:
    """Two releases of one name stand side by side; one owns the definitions, and each takes only its own along."""
    first, second = make("first"), make("second")
    helm("install", "proxy", first, str(CHART))
    with pytest.raises(RigError, match="cannot be imported into the current release"):
        helm("install", "proxy", second, str(CHART))
    helm("install", "proxy", second, str(CHART), _NO_DEFINITIONS)

    def configurations() -> set[str]:
        return set(plane.kubectl("get", "mutatingwebhookconfigurations", "--output=name").split())

    prefix = "mutatingwebhookconfiguration.admissionregistration.k8s.io/proxy-replicated-proxy-operator"
    assert configurations() == {f"{prefix}.{first}", f"{prefix}.{second}"}
    helm("uninstall", "proxy", second)
    assert configurations() == {f"{prefix}.{first}"}
    for kind in ("clusterrole", "clusterrolebinding", "validatingadmissionpolicy"):
        names = plane.kubectl("get", kind, "--output=name").split()
        assert [each for each in names if second in each] == []
        assert [each for each in names if first in each]


def _glass_breaker(notes: str) -> str:
    """Return the command that the notes name, as a user would copy it."""
    _, _, after = notes.partition("Break glass:")
    (command,) = (line.strip() for line in after.splitlines() if line.strip().startswith("kubectl"))
    return command


@pytest.mark.usefixtures("no_definitions")
def test_one_command_takes_it_out_of_the_way(
    plane: ControlPlane, make: Make, helm: Callable[..., str], tmp_path: Path
) -> None:
    """With `Fail` and no replica no Pod is created; after the command of the notes Pods are; an upgrade undoes it."""
    home, app = make("glass"), make("app")
    helm("install", "proxy", home, str(CHART), "--set=webhook.failurePolicy=Fail")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api", "namespace": app},
        "spec": {"containers": [{"name": "api", "image": "quay.io/my-org/api:v1"}]},
    }
    wait_until(lambda: "failed calling webhook" in _refused(plane, pod), what="the webhook to be asked", seconds=30)

    (tmp_path / "kubectl").symlink_to(plane.binaries["kubectl"])
    environment = {"KUBECONFIG": str(plane.kubeconfig), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run(["sh", "-c", _glass_breaker(helm("get notes", "proxy", home))], env=environment)

    wait_until(lambda: not _refused(plane, pod), what="a Pod to be created", seconds=30)
    helm("upgrade", "proxy", home, str(CHART), "--set=webhook.failurePolicy=Fail")
    wait_until(lambda: _refused(plane, pod), what="the webhook to be asked again", seconds=30)


def _refused(plane: ControlPlane, pod: Json) -> str:
    """Return what is said against a Pod by a dry run; nothing where it is taken."""
    try:
        plane.kubectl("create", "--dry-run=server", "--filename=-", input=json.dumps(pod))
    except RigError as error:
        return str(error)
    return ""
