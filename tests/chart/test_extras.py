"""What an administrator adds to every object, Pod or release, and names that never clash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chart.helm_chart import Rendered
from rig.manifests import read_manifests

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Json

_NAME = "proxy-replicated-proxy-operator"
_EVERYTHING: Json = {
    "cleanup": {"onUninstall": True},
    "controller": {"replicas": 2},
    "networkPolicy": {"enabled": True},
    "priorityClassName": "system-cluster-critical",
    "global": {"replicated": {"dockerconfigjson": "eyJhdXRocyI6e319"}},
    "injectedLicense": {"appSlug": "my-app"},
}
_CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def _every_object(chart: Chart, values: Json, **where: str) -> list[Json]:
    """Render everything, hooks and tests included, but for the definitions."""
    documents = read_manifests(chart.template({**_EVERYTHING, **values}, "--include-crds", **where))
    return [each for each in documents if each["kind"] != "CustomResourceDefinition"]


def _pods(documents: list[Json]) -> list[Json]:
    """Return the spec of every Pod that the objects make."""
    found = [
        each["spec"] if each["kind"] == "Pod" else each["spec"].get("template", {}).get("spec")
        for each in documents
        if each["kind"] in {"Pod", "Deployment", "Job"}
    ]
    return [spec for spec in found if spec]


def test_common_annotations_and_labels_are_on_every_object(chart: Chart) -> None:
    """Nothing is left out, hooks, tests and definitions included; annotations that make hooks cannot be replaced."""
    mine = {"example.com/owner": "platform", "helm.sh/hook-weight": "99"}
    values = {"commonAnnotations": mine, "commonLabels": {"team": "platform"}, **_EVERYTHING}
    documents = read_manifests(chart.template(values, "--include-crds"))
    assert len(documents) > 30
    for each in documents:
        metadata = each["metadata"]
        assert metadata.get("annotations", {}).get("example.com/owner") == "platform", (each["kind"], metadata["name"])
        assert metadata["labels"]["team"] == "platform", (each["kind"], metadata["name"])
        if "helm.sh/hook" in metadata["annotations"]:
            assert metadata["annotations"]["helm.sh/hook-weight"] != "99"


def test_common_annotations_are_not_on_pods(chart: Chart) -> None:
    """Pods have values of their own: what orders a deployment (waves, hooks) must not restart anything."""
    deployment = chart.objects({"commonAnnotations": {"a": "b"}, "podAnnotations": {"c": "d"}}).of_kind("Deployment")
    for each in deployment.values():
        annotations = each["spec"]["template"]["metadata"]["annotations"]
        assert "a" not in annotations
        assert annotations["c"] == "d"


def test_every_pod_gets_the_extras(chart: Chart) -> None:
    """Environment, volumes, mounts, pull secrets, priority and security hold for roles, clean-up and test alike."""
    values: Json = {
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "imagePullSecrets": [{"name": "mine"}],
        "global": {"imagePullSecrets": ["shared", {"name": "mine"}]},
    }
    pods = _pods(_every_object(chart, values))
    assert len(pods) == 4
    for pod in pods:
        (container,) = pod["containers"]
        assert {"name": "A", "value": "b"} in container["env"]
        assert {"name": "scratch", "emptyDir": {}} in pod["volumes"]
        assert {"name": "scratch", "mountPath": "/scratch"} in container["volumeMounts"]
        assert pod["imagePullSecrets"] == [{"name": "mine"}, {"name": "shared"}]
        # The clean-up has no priority: the quota for it is gone with the release by then.
        wanted = None if container["name"] == "cleanup" else "system-cluster-critical"
        assert pod.get("priorityClassName") == wanted
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("role", ["controller", "webhook"])
def test_arguments_are_added_to_one_role(chart: Chart, role: str) -> None:
    """They come last, so that they win."""
    deployments = chart.objects({role: {"extraArgs": ["--more=1"]}}).of_kind("Deployment")
    arguments = {name: each["spec"]["template"]["spec"]["containers"][0]["args"] for name, each in deployments.items()}
    assert {name.rpartition("-")[2]: found[-1] == "--more=1" for name, found in arguments.items()} == {
        "controller": role == "controller",
        "webhook": role == "webhook",
    }


@pytest.mark.parametrize("role", ["controller", "webhook"])
def test_probes_can_be_changed(chart: Chart, role: str) -> None:
    """What is asked stays; how often, how long and how many times are values of each role."""
    probes = {"startup": {"failureThreshold": 300}, "readiness": {"periodSeconds": 7}}
    pods = chart.objects({role: {"probes": probes}}).of_kind("Deployment")
    (container,) = pods[f"{_NAME}-{role}"]["spec"]["template"]["spec"]["containers"]
    assert container["startupProbe"]["httpGet"] == container["livenessProbe"]["httpGet"]
    assert container["startupProbe"] == {
        "httpGet": {"path": "/livez", "port": "health"},
        "periodSeconds": 2,
        "failureThreshold": 300,
    }
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["periodSeconds"] == 7


def test_a_shared_registry_takes_the_place_of_the_charts_own(chart: Chart) -> None:
    """`global.imageRegistry` is what a parent chart sets for all of its parts."""
    values: Json = {"global": {"imageRegistry": "mirror.example.com"}, "image": {"registry": "registry.example.com"}}
    images = {pod["containers"][0]["image"] for pod in _pods(_every_object(chart, values))}
    assert images == {"mirror.example.com/replicated-proxy-operator:0.1.0"}


def test_further_objects_are_templates(chart: Chart) -> None:
    """Written as YAML or as text, they know the release."""
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}-text\n"
    as_yaml = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "{{ .Release.Name }}-yaml"}}
    assert set(chart.objects({"extraObjects": [text, as_yaml]}).of_kind("Secret")) == {"proxy-text", "proxy-yaml"}


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 0),
        ({"priorityClassName": "system-cluster-critical"}, 1),
        ({"priorityClassName": "ours"}, 0),
        ({"priorityClassName": "system-node-critical", "priorityQuota": {"enabled": False}}, 0),
    ],
)
def test_the_systems_priorities_come_with_a_quota(chart: Chart, values: Json, count: int) -> None:
    """Some clusters take such Pods only where a quota speaks of the class; it limits that class alone."""
    quotas = list(chart.objects(values).of_kind("ResourceQuota").values())
    assert len(quotas) == count
    for quota in quotas:
        assert quota["spec"]["hard"] == {"pods": "50"}
        (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
        assert scope == {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}


_RELEASES = [
    ("proxy", "one"),
    ("proxy", "two"),
    ("other", "one"),
    ("proxy-one", "two"),
    ("replicated-proxy-operator", "replicated-proxy-operator"),
    ("replicated-proxy-operator", "one"),
    ("one", "replicated-proxy-operator"),
]


def test_no_two_releases_share_a_name_in_the_cluster(chart: Chart) -> None:
    """One release name in several namespaces, and several releases in one: every object of the cluster is its own."""
    names: list[tuple[Any, ...]] = []
    for release, namespace in _RELEASES:
        for each in _every_object(chart, {}, release=release, namespace=namespace):
            home = each["metadata"].get("namespace", "")
            assert (home == "") == (each["kind"] in {*_CLUSTER_WIDE, "Namespace"}), each["kind"]
            names.append((each["kind"], home, each["metadata"]["name"]))
    assert len(names) == len(set(names))


def test_a_release_of_its_namespaces_name_has_short_names(chart: Chart) -> None:
    """Installed as documented, the configuration is called what people type at night."""
    where = {"release": "replicated-proxy-operator", "namespace": "replicated-proxy-operator"}
    found = Rendered(read_manifests(chart.template({}, "--skip-tests", **where)))
    assert found.only("MutatingWebhookConfiguration")["metadata"]["name"] == "replicated-proxy-operator"


def test_long_names_stay_names(chart: Chart) -> None:
    """The longest that helm and the schema take give Services and namespaces that the API server takes."""
    documents = _every_object(chart, {}, release="r" * 53) + _every_object(chart, {"fullnameOverride": "f" * 63})
    labels = {"Deployment", "Job", "Namespace", "Pod", "Service"}
    names = [each["metadata"]["name"] for each in documents if each["kind"] in labels]
    assert all(len(name) <= 63 for name in names), names


def test_a_release_name_may_have_dots(chart: Chart) -> None:
    """Helm takes them, names of Services do not."""
    documents = read_manifests(chart.template({}, "--skip-tests", release="my.proxy"))
    assert "my-proxy-replicated-proxy-operator-webhook" in Rendered(documents).of_kind("Service")
