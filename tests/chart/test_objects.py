"""What the rendered objects allow, reach and need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.helm_chart import Chart

_NAME = "proxy-replicated-proxy-operator"
_CLUSTER = f"{_NAME}.operator-home"
_READ = ["get", "list", "watch"]
_KEEP = [*_READ, "update", "patch"]

Rule = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _rule(group: str, resources: list[str], verbs: list[str], names: list[str] | None = None) -> Rule:
    """Write a permission."""
    return group, tuple(sorted(resources)), tuple(sorted(verbs)), tuple(sorted(names or []))


def _rules(role: dict[str, Any]) -> list[Rule]:
    """Return the permissions of a role, each of one group."""
    return sorted(
        _rule(group, rule["resources"], rule["verbs"], rule.get("resourceNames"))
        for rule in role["rules"]
        for group in rule["apiGroups"]
    )


_CONTROLLER_CLUSTER = [
    _rule("kots.io", ["licenses", "applications"], _READ),
    _rule("kots.io", ["licenses/status", "applications/status"], ["patch"]),
    _rule("", ["secrets"], ["create"]),
    _rule("", ["secrets"], [*_KEEP, "delete"], ["replicated-proxy-registry"]),
    _rule("", ["events"], ["create", "patch"]),
    _rule("apiextensions.k8s.io", ["customresourcedefinitions"], _READ, ["licenses.kots.io", "applications.kots.io"]),
    _rule("admissionregistration.k8s.io", ["mutatingwebhookconfigurations"], [*_READ, "patch"], [_CLUSTER]),
]
_CONTROLLER_HOME = [
    _rule("", ["configmaps", "secrets"], ["create"]),
    _rule("", ["configmaps"], _KEEP, ["replicated-proxy-routes"]),
    _rule("", ["secrets"], _KEEP, ["replicated-proxy-ca", "replicated-proxy-serving"]),
    _rule("coordination.k8s.io", ["leases"], ["create"]),
    _rule("coordination.k8s.io", ["leases"], _KEEP, ["replicated-proxy-controller"]),
]
_WEBHOOK_HOME = [
    _rule("", ["configmaps"], _READ, ["replicated-proxy-routes"]),
    _rule("", ["secrets"], _READ, ["replicated-proxy-serving"]),
]


@pytest.mark.parametrize("creates", [False, True])
def test_permissions_are_the_listed_ones(chart: Chart, creates: bool) -> None:
    """The roles hold what section 10 of the specification lists, and nothing else."""
    objects = chart.objects({"settings": {"secret": {"createNamespaces": creates}}})
    namespaces = _rule("", ["namespaces"], [*_READ, "create"] if creates else _READ)
    cluster = objects.of_kind("ClusterRole")
    assert set(cluster) == {f"{_CLUSTER}-controller", f"{_CLUSTER}-distributor"}
    assert _rules(cluster[f"{_CLUSTER}-controller"]) == sorted([*_CONTROLLER_CLUSTER, namespaces])
    assert _rules(cluster[f"{_CLUSTER}-distributor"]) == [_rule("kots.io", ["applications"], ["distribute"])]
    roles = objects.of_kind("Role")
    assert set(roles) == {f"{_NAME}-controller", f"{_NAME}-webhook"}
    assert _rules(roles[f"{_NAME}-controller"]) == sorted(_CONTROLLER_HOME)
    assert _rules(roles[f"{_NAME}-webhook"]) == sorted(_WEBHOOK_HOME)


def test_permissions_follow_the_names_in_the_settings(chart: Chart) -> None:
    """A renamed Secret or ConfigMap is the one that the roles name."""
    names = {"secret": {"name": "pull"}, "certificates": {"servingSecret": "tls"}, "routesConfigMap": "table"}
    objects = chart.objects({"settings": {**names, "controller": {"leaseName": "lead"}}})
    controller = objects.of_kind("ClusterRole")[f"{_CLUSTER}-controller"]
    assert _rule("", ["secrets"], [*_KEEP, "delete"], ["pull"]) in _rules(controller)
    home = _rules(objects.of_kind("Role")[f"{_NAME}-controller"])
    assert _rule("coordination.k8s.io", ["leases"], _KEEP, ["lead"]) in home
    webhook = objects.of_kind("Role")[f"{_NAME}-webhook"]
    assert _rules(webhook) == [_rule("", ["configmaps"], _READ, ["table"]), _rule("", ["secrets"], _READ, ["tls"])]


def test_only_the_controller_has_cluster_wide_permissions(chart: Chart) -> None:
    """Each binding gives a role to the account of the same part, in the release's namespace."""
    objects = chart.objects()
    cluster = objects.only("ClusterRoleBinding")
    assert [subject["name"] for subject in cluster["subjects"]] == [f"{_NAME}-controller"]
    for binding in [cluster, *objects.of_kind("RoleBinding").values()]:
        (subject,) = binding["subjects"]
        name = binding["metadata"]["name"]
        account = name.replace(_CLUSTER, _NAME)
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "operator-home"}
        assert binding["roleRef"]["name"] == name


def test_the_bundle_is_nobodys_but_the_controllers(chart: Chart) -> None:
    """`caBundle` is no key of the chart, so that no upgrade takes it back."""
    assert not [line for line in chart.template().splitlines() if "caBundle:" in line]


def test_the_webhook_is_registered_as_specified(chart: Chart) -> None:
    """The registration holds the policies and rules of section 8."""
    (hook,) = chart.objects().only("MutatingWebhookConfiguration")["webhooks"]
    policies = {key: hook[key] for key in ("failurePolicy", "reinvocationPolicy", "matchPolicy", "sideEffects")}
    assert policies == {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
    }
    assert hook["timeoutSeconds"] == 5
    assert hook["admissionReviewVersions"] == ["v1"]
    rules = [(rule["operations"], rule["apiGroups"], rule["apiVersions"], rule["resources"]) for rule in hook["rules"]]
    assert rules == [(["CREATE"], [""], ["v1"], ["pods"]), (["UPDATE"], [""], ["v1"], ["pods/ephemeralcontainers"])]
    assert hook["objectSelector"]["matchExpressions"] == [_opt_out("rewrite")]
    assert [condition["name"] for condition in hook["matchConditions"]] == ["not-from-a-node", "not-a-mirror-pod"]


def _opt_out(label: str) -> dict[str, Any]:
    """Write the condition that a label does not opt out."""
    return {"key": f"proxy.kots.io/{label}", "operator": "NotIn", "values": ["disabled"]}


def test_excluded_namespaces_are_not_even_asked_about(chart: Chart) -> None:
    """The system's namespaces, the release's own, the plainly excluded and the opted-out ones are kept out."""
    values = {"settings": {"secret": {"excludedNamespaces": ["payroll", "dev-*", "kube-system"]}}}
    (hook,) = chart.objects(values).only("MutatingWebhookConfiguration")["webhooks"]
    names, *labels = hook["namespaceSelector"]["matchExpressions"]
    excluded = ["kube-system", "kube-public", "kube-node-lease", "operator-home", "payroll"]
    assert names == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": excluded}
    assert labels == [_opt_out("rewrite"), _opt_out("sync")]


def test_every_part_of_the_registration_is_a_value(chart: Chart) -> None:
    """Policies, timeout, selectors, conditions and annotations can be set."""
    extra = {"key": "tier", "operator": "In", "values": ["apps"]}
    webhook = {
        "failurePolicy": "Fail",
        "timeoutSeconds": 2,
        "reinvocationPolicy": "Never",
        "matchPolicy": "Exact",
        "annotations": {"admissions.enforcer/disabled": "true"},
        "namespaceSelector": {"matchLabels": {"on": "yes"}, "matchExpressions": [extra]},
        "objectSelector": {"matchExpressions": None, "matchLabels": {"mine": "yes"}},
        "matchConditions": [],
    }
    configuration = chart.objects({"webhook": webhook}).only("MutatingWebhookConfiguration")
    (hook,) = configuration["webhooks"]
    assert configuration["metadata"]["annotations"] == webhook["annotations"]
    for key in ("failurePolicy", "timeoutSeconds", "reinvocationPolicy", "matchPolicy"):
        assert hook[key] == webhook[key]
    assert hook["namespaceSelector"]["matchLabels"] == {"on": "yes"}
    assert hook["namespaceSelector"]["matchExpressions"][-1] == extra
    assert hook["objectSelector"] == {"matchLabels": {"mine": "yes"}}
    assert "matchConditions" not in hook


def test_the_service_leads_to_the_webhook(chart: Chart) -> None:
    """The API server's call ends at the webhook's Pods, on the port that the settings name."""
    objects = chart.objects({"settings": {"webhook": {"port": 10260}}})
    call = objects.only("MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["service"]
    assert call == {"name": f"{_NAME}-webhook", "namespace": "operator-home", "path": "/mutate", "port": 443}
    service = objects.of_kind("Service")[call["name"]]
    template = objects.of_kind("Deployment")[f"{_NAME}-webhook"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert ports[service["spec"]["ports"][0]["targetPort"]] == 10260


def test_each_replica_of_the_webhook_can_be_reached(chart: Chart) -> None:
    """A headless Service names the replicas' own addresses, at the name that the controller is told, on their port."""
    objects = chart.objects({"settings": {"webhook": {"port": 10260}}})
    detection = yaml.safe_load(objects.only("ConfigMap")["data"]["settings.yaml"])["detection"]
    service = objects.of_kind("Service")[detection["replicasService"].partition(".")[0]]
    assert detection["replicasService"] == f"{service['metadata']['name']}.operator-home.svc"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["ports"][0]["port"] == 10260
    template = objects.of_kind("Deployment")[f"{_NAME}-webhook"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("role", ["controller", "webhook"])
def test_pods_are_restricted(chart: Chart, role: str) -> None:
    """The Pods meet the restricted Pod Security level and mount nothing that can be written to but memory."""
    pod = chart.objects().of_kind("Deployment")[f"{_NAME}-{role}"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["enableServiceLinks"] is False
    assert "hostNetwork" not in pod
    assert [set(volume) - {"name"} for volume in pod["volumes"]] == [{"configMap"}, {"emptyDir"}]
    assert container["args"] == [role, "--settings", "/etc/replicated-proxy/settings.yaml"]


def test_accounts_give_their_token_to_nobody_by_themselves(chart: Chart) -> None:
    """Only our own Pods get a token, and each role has an account of its own."""
    objects = chart.objects()
    accounts = objects.of_kind("ServiceAccount")
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    pods = [deployment["spec"]["template"]["spec"] for deployment in objects.of_kind("Deployment").values()]
    assert {pod["serviceAccountName"] for pod in pods} == set(accounts)
    assert all(pod["automountServiceAccountToken"] for pod in pods)


def test_rollouts_leave_no_gap(chart: Chart) -> None:
    """A replica of either role leaves after its successor came."""
    deployments = chart.objects().of_kind("Deployment")
    webhook, controller = deployments[f"{_NAME}-webhook"]["spec"], deployments[f"{_NAME}-controller"]["spec"]
    assert (webhook["replicas"], controller["replicas"]) == (2, 1)
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert webhook["strategy"] == controller["strategy"] == surge
    grace = webhook["template"]["spec"]["terminationGracePeriodSeconds"]
    settings = chart.values()["settings"]["webhook"]
    assert grace >= settings["drainSeconds"] + settings["shutdownSeconds"] + 5


@pytest.mark.parametrize("role", ["controller", "webhook"])
@pytest.mark.parametrize(
    ("own", "count"), [({"replicas": 2}, 1), ({"replicas": 1}, 0), ({"replicas": 2, "podDisruptionBudget": False}, 0)]
)
def test_a_budget_needs_two_replicas(chart: Chart, role: str, own: dict[str, Any], count: int) -> None:
    """A single replica gets no budget, which would block the drain of its node for ever."""
    objects = chart.objects({role: own})
    budgets = [budget for name, budget in objects.of_kind("PodDisruptionBudget").items() if name.endswith(role)]
    assert len(budgets) == count
    labels = objects.of_kind("Deployment")[f"{_NAME}-{role}"]["spec"]["template"]["metadata"]["labels"]
    for budget in budgets:
        assert budget["spec"]["minAvailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("role", ["controller", "webhook"])
def test_replicas_are_spread(chart: Chart, role: str) -> None:
    """Two replicas go softly to different nodes and zones, or wherever the values say."""
    name, own = f"{_NAME}-{role}", [{"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]
    spread, chosen = (
        chart.objects({role: values}).of_kind("Deployment")[name]["spec"]["template"]["spec"][
            "topologySpreadConstraints"
        ]
        for values in ({"replicas": 2}, {"replicas": 2, "topologySpreadConstraints": own})
    )
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {each["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in spread} == {role}
    assert chosen == own


def test_replicas_know_their_names(chart: Chart) -> None:
    """The controller writes its Pod's name into the Lease, so it has to know it; the webhook needs none."""
    deployments = chart.objects().of_kind("Deployment").values()
    names = [
        {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in container["env"]}
        for deployment in deployments
        for container in deployment["spec"]["template"]["spec"]["containers"]
    ]
    space = {"POD_NAMESPACE": "metadata.namespace"}
    assert names == [{**space, "POD_NAME": "metadata.name"}, space]


def test_changed_settings_restart_the_pods(chart: Chart) -> None:
    """The Pods carry a checksum of the settings they read at start."""
    changed = {"settings": {"logLevel": "DEBUG"}}
    before, after = (chart.objects(values).of_kind("Deployment") for values in ({}, changed))
    sums = [
        {deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for deployment in each.values()}
        for each in (before, after)
    ]
    assert len(sums[0]) == len(sums[1]) == 1
    assert sums[0] != sums[1]


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ({}, "replicated-proxy-operator:0.1.0"),
        ({"registry": "registry.example.com", "tag": "dev"}, "registry.example.com/replicated-proxy-operator:dev"),
        ({"repository": "a/b", "tag": "dev", "digest": f"sha256:{'0' * 64}"}, f"a/b@sha256:{'0' * 64}"),
    ],
)
def test_the_image_is_put_together(chart: Chart, image: dict[str, str], text: str) -> None:
    """Registry, repository, tag and digest make the image's name; the digest beats the tag."""
    deployments = chart.objects({"image": image}).of_kind("Deployment").values()
    assert {deployment["spec"]["template"]["spec"]["containers"][0]["image"] for deployment in deployments} == {text}


def test_everything_is_labelled(chart: Chart) -> None:
    """Every object carries the recommended labels and the common ones, which cannot replace them."""
    common = {"team": "platform", "app.kubernetes.io/name": "mine"}
    for document in chart.objects({"commonLabels": common}):
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "replicated-proxy-operator", document["kind"]
        assert labels["app.kubernetes.io/instance"] == "proxy"
        assert labels["team"] == "platform"
