"""The hook that cleans up, and the policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Json

_NAME = "proxy-replicated-proxy-operator"
_CLUSTER = f"{_NAME}.operator-home"
_CLEANUP = f"{_NAME}-cleanup"
_CLUSTER_CLEANUP = f"{_CLUSTER}-cleanup"
_ON: Json = {"cleanup": {"onUninstall": True}}


def _hooks(chart: Chart, values: Json) -> dict[str, Json]:
    """Return what belongs to a hook, by kind."""
    found = [document for document in chart.objects(values) if "helm.sh/hook" in _annotations(document)]
    return {document["kind"]: document for document in found}


def _annotations(document: Json) -> dict[str, str]:
    """Return an object's annotations."""
    annotations: dict[str, str] = document["metadata"].get("annotations", {})
    return annotations


def test_pull_secrets_stay_by_default(chart: Chart) -> None:
    """Unless asked for, there is no hook at all."""
    assert not _hooks(chart, {})


def test_the_hook_runs_last_and_leaves_nothing(chart: Chart) -> None:
    """After the release is gone, account, permissions and settings come first, then the Job; all of it goes with it."""
    hooks = _hooks(chart, _ON)
    roles = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert set(hooks) == {"ServiceAccount", "ConfigMap", "Job"} | roles
    assert {document["metadata"]["name"] for document in hooks.values()} == {_CLEANUP, _CLUSTER_CLEANUP}
    assert {_annotations(document)["helm.sh/hook"] for document in hooks.values()} == {"post-delete"}
    policies = {_annotations(document)["helm.sh/hook-delete-policy"] for document in hooks.values()}
    assert policies == {"before-hook-creation,hook-succeeded"}
    weights = {kind: int(_annotations(document)["helm.sh/hook-weight"]) for kind, document in hooks.items()}
    job = weights.pop("Job")
    assert all(weight < job for weight in weights.values())
    for binding, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
        assert weights[role] < weights[binding]


def _rules(role: Json) -> list[tuple[str, str, list[str], list[str]]]:
    """Return the permissions of a role, sorted, each of one group and one resource."""
    return sorted(
        (group, resource, sorted(rule["verbs"]), sorted(rule["resourceNames"]))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )


def test_the_hook_may_delete_and_do_nothing_else(chart: Chart) -> None:
    """Its account reads and deletes Secrets of one name, and four objects at home; it creates and changes nothing."""
    values: Json = {**_ON, "settings": {"secret": {"name": "pull"}, "controller": {"leaseName": "lead"}}}
    hooks = _hooks(chart, values)
    assert _rules(hooks["ClusterRole"]) == [("", "secrets", ["delete", "list"], ["pull"])]
    assert _rules(hooks["Role"]) == [
        ("", "configmaps", ["delete", "get"], ["replicated-proxy-routes"]),
        ("", "secrets", ["delete", "get"], ["replicated-proxy-ca", "replicated-proxy-serving"]),
        ("coordination.k8s.io", "leases", ["delete", "get"], ["lead"]),
    ]
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert hooks[kind]["roleRef"]["name"] == hooks[kind]["metadata"]["name"]
        assert [subject["name"] for subject in hooks[kind]["subjects"]] == [_CLEANUP]
    without = _hooks(chart, {**values, "rbac": {"create": False}})
    assert set(without) == {"ServiceAccount", "ConfigMap", "Job"}


def test_the_hook_works_by_the_settings_of_the_release(chart: Chart) -> None:
    """Name of the pull secret and installation are those that the controller worked by."""
    objects = chart.objects(_ON).of_kind("ConfigMap")
    assert objects[_CLEANUP]["data"] == objects[_NAME]["data"]


def _job_pod(chart: Chart, values: Json) -> tuple[Json, Json]:
    """Return the Job's spec and its Pod's."""
    spec: Json = _hooks(chart, values)["Job"]["spec"]
    return spec, spec["template"]["spec"]


def test_the_job_is_as_restricted_as_the_roles(chart: Chart) -> None:
    """Same image, same security context, its own account and settings."""
    values: dict[str, Any] = {**_ON, "tolerations": [{"operator": "Exists"}], "imagePullSecrets": [{"name": "mine"}]}
    job, pod = _job_pod(chart, values)
    (container,) = pod["containers"]
    model = chart.objects(values).of_kind("Deployment")[f"{_NAME}-controller"]["spec"]["template"]["spec"]
    for key in ("securityContext", "tolerations", "imagePullSecrets", "enableServiceLinks"):
        assert pod[key] == model[key]
    for key in ("image", "securityContext", "imagePullPolicy", "volumeMounts"):
        assert container[key] == model["containers"][0][key]
    assert pod["serviceAccountName"] == _CLEANUP
    assert pod["volumes"][0]["configMap"] == {"name": _CLEANUP}
    assert pod["restartPolicy"] == "Never"
    assert container["args"] == ["cleanup", "--settings", "/etc/replicated-proxy/settings.yaml", "--timeout", "240"]
    # Within the five minutes that helm waits for a hook.
    assert 240 < job["activeDeadlineSeconds"] < 300


def test_the_time_for_it_is_a_value(chart: Chart) -> None:
    """The command gives up first, and says why; then the Job."""
    job, pod = _job_pod(chart, {"cleanup": {"onUninstall": True, "timeoutSeconds": 900}})
    assert pod["containers"][0]["args"][-1] == "900"
    assert job["activeDeadlineSeconds"] > 900


def test_policies_can_be_left_out(chart: Chart) -> None:
    """With those of reach goes the ClusterRole for those who may pass."""
    objects = chart.objects({"policies": {"reach": {"enabled": False}, "controller": {"enabled": False}}})
    assert not objects.of_kind("ValidatingAdmissionPolicy")
    assert not objects.of_kind("ValidatingAdmissionPolicyBinding")
    assert set(objects.of_kind("ClusterRole")) == {f"{_CLUSTER}-controller"}


def test_policies_deny_what_they_cannot_judge(chart: Chart) -> None:
    """Each is bound, denies, and refuses what its expressions fail on; the status is not theirs to judge."""
    objects = chart.objects({"policies": {"controller": {"enabled": False}}})
    policies = objects.of_kind("ValidatingAdmissionPolicy")
    bindings = objects.of_kind("ValidatingAdmissionPolicyBinding")
    assert set(policies) == set(bindings) == {f"{_CLUSTER}-application-reach", f"{_CLUSTER}-license-hosts"}
    for name, binding in bindings.items():
        assert binding["spec"] == {"policyName": name, "validationActions": ["Deny"]}
    rules = []
    for policy in policies.values():
        assert policy["spec"]["failurePolicy"] == "Fail"
        (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
        rules.append((rule["apiGroups"], rule["apiVersions"], rule["resources"], rule["operations"]))
    each = (["kots.io"], ["*"])
    assert rules == [(*each, [plural], ["CREATE", "UPDATE"]) for plural in ("applications", "licenses")]


def test_the_policy_knows_the_hosts_of_the_settings(chart: Chart) -> None:
    """What an administrator set as an application's host needs not be allowed a second time."""
    proxy = {"allowedHosts": ["a.example"], "hosts": {"x": "b.example"}, "registryHosts": {"x": "c.example"}}
    policy = chart.objects({"settings": {"proxy": proxy}}).of_kind("ValidatingAdmissionPolicy")[
        f"{_CLUSTER}-license-hosts"
    ]
    (allowed,) = [each["expression"] for each in policy["spec"]["variables"] if each["name"] == "allowed"]
    for host in ("a.example", "b.example", "c.example", "proxy.replicated.com", "registry.replicated.com"):
        assert f'"{host}"' in allowed


def test_messages_name_a_role_only_where_there_is_one(chart: Chart) -> None:
    """Without `rbac.create` the remedy is the permission itself."""
    values = {"rbac": {"create": False}, "policies": {"controller": {"enabled": False}}}
    policies = chart.objects(values).of_kind("ValidatingAdmissionPolicy").values()
    for policy in policies:
        (validation,) = policy["spec"]["validations"]
        for text in (validation["message"], validation["messageExpression"]):
            assert "the verb distribute on applications.kots.io" in text
            assert "-distributor" not in text
