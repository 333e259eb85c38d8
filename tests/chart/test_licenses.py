"""Licenses that stand in Secrets: who may read them, and the one that Replicated's registry injects."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Json

_NAME = "proxy-replicated-proxy-operator"
_HOME = "operator-home"
_READ = {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["secrets"]}
_PLANTED = "planted-license-id-for-tests"
_CONFIG = json.dumps({"auths": {"proxy.replicated.com": {"auth": base64.b64encode(_PLANTED.encode()).decode()}}})
_INJECTED = base64.b64encode(_CONFIG.encode()).decode()


def _source(namespace: str, name: str, key: str = "license.yaml") -> dict[str, str]:
    """Write a source."""
    return {"namespace": namespace, "name": name, "key": key}


def _reading(chart: Chart, values: Json) -> dict[str, Json]:
    """Return the Roles that let the controller read licenses, by name."""
    roles = chart.objects(values).of_kind("Role")
    return {name: role for name, role in roles.items() if name.startswith(f"{_NAME}-source-")}


def _sources(*sources: dict[str, str]) -> Json:
    """Write values with these sources."""
    return {"settings": {"sources": {"secrets": list(sources)}}}


def test_each_secret_is_readable_by_a_role_of_its_own(chart: Chart) -> None:
    """The controller reads exactly these Secrets, each by a Role in its namespace; two keys of one need one Role."""
    values = _sources(_source("a", "x"), _source("a", "x", "other"), _source("a", "y"), _source("b", "x"))
    objects = chart.objects(values)
    roles = _reading(chart, values)
    found = [(role["metadata"]["namespace"], rule) for role in roles.values() for rule in role["rules"]]
    secrets = sorted((namespace, *rule.pop("resourceNames")) for namespace, rule in found)
    assert secrets == [("a", "x"), ("a", "y"), ("b", "x")]
    assert all(rule == _READ for _, rule in found)
    for name, role in roles.items():
        binding = objects.of_kind("RoleBinding")[name]
        assert binding["metadata"]["namespace"] == role["metadata"]["namespace"]
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        account = {"kind": "ServiceAccount", "name": f"{_NAME}-controller", "namespace": _HOME}
        assert binding["subjects"] == [account]


def test_names_of_roles_cannot_clash(chart: Chart) -> None:
    """Neither Secrets whose names run together nor releases that share a Secret get one name; each stays the same."""
    values = _sources(_source("a", "b-c"), _source("a-b", "c"), _source("a", "b.c"), _source("a", "x" * 253))
    names = set(_reading(chart, values))
    assert len(names) == 4
    assert names == set(_reading(chart, values))
    assert all(len(name) <= 253 for name in names)
    elsewhere = chart.template(values, namespace="another-home")
    assert not [name for name in names if name in elsewhere]


def test_permissions_may_be_left_to_others(chart: Chart) -> None:
    """Without `rbac.create` nobody gets a Role."""
    assert not _reading(chart, {**_sources(_source("a", "x")), "rbac": {"create": False}})


def _injected(config: object = _INJECTED, **license_: Any) -> Json:
    """Write values as Replicated's registry does, with what the user adds."""
    return {
        "global": {"replicated": {"dockerconfigjson": config, "licenseID": "x"}, "other": [1]},
        "injectedLicense": {"appSlug": "my-app", **license_},
    }


def test_the_injected_license_becomes_a_source(chart: Chart) -> None:
    """The chart makes a Secret of it, lets the controller read that, and adds it to the sources of the settings."""
    values = _injected(proxyHost="images.acme.example", namespaces=["workers"])
    values["settings"] = {"sources": {"secrets": [_source("a", "x")]}}
    objects = chart.objects(values)
    secret = objects.only("Secret")
    assert secret["metadata"]["name"] == f"{_NAME}-license"
    assert secret["metadata"]["namespace"] == _HOME
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert base64.b64decode(secret["data"][".dockerconfigjson"]).decode() == _CONFIG
    settings = yaml.safe_load(objects.only("ConfigMap")["data"]["settings.yaml"])
    own = {"appSlug": "my-app", "proxyHost": "images.acme.example", "namespaces": ["workers"]}
    source = _source(_HOME, f"{_NAME}-license", ".dockerconfigjson") | own
    assert settings["sources"]["secrets"] == [_source("a", "x"), source]
    found = {
        (role["metadata"]["namespace"], *role["rules"][0]["resourceNames"]) for role in _reading(chart, values).values()
    }
    assert found == {("a", "x"), (_HOME, f"{_NAME}-license")}


@pytest.mark.parametrize("values", [{}, {"global": {}}, {"global": {"replicated": {"dockerconfigjson": ""}}}])
def test_without_an_injected_license_there_is_no_secret(chart: Chart, values: Json) -> None:
    """Installed from elsewhere, nothing is made; other global values are nobody's business."""
    assert not chart.objects({**values, "injectedLicense": {"appSlug": "my-app"}}).of_kind("Secret")
    assert not chart.objects({"global": {"replicated": "text"}}).of_kind("Secret")


def test_the_injected_license_is_in_its_secret_alone(chart: Chart) -> None:
    """Neither the settings nor any annotation shows it, encoded or not; lines of it may be broken."""
    broken = "\n".join(_INJECTED[index : index + 20] for index in range(0, len(_INJECTED), 20)) + "\n"
    for document in chart.objects(_injected(broken, namespaces=["*"])):
        text = json.dumps(document)
        holds = _INJECTED in text
        assert holds is (document["kind"] == "Secret"), document["kind"]
        assert _PLANTED not in text
        assert _CONFIG not in text


def test_a_changed_license_restarts_the_pods(chart: Chart) -> None:
    """The checksum of the settings changes with it, and tells nothing of it."""
    other = base64.b64encode(_CONFIG.replace("proxy.", "images.").encode()).decode()
    sums = [
        {
            deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for deployment in chart.objects(values).of_kind("Deployment").values()
        }
        for values in ({}, _injected(), _injected(other))
    ]
    assert len(set.union(*sums)) == len(sums)
    assert all(len(found) == 64 for each in sums for found in each)


def test_an_injected_license_needs_its_application(chart: Chart) -> None:
    """A docker config does not say which application it is for, so the user has to; the message says how."""
    refusal = chart.refusal(_injected(appSlug=""))
    assert "--set injectedLicense.appSlug=my-app" in refusal
    assert _PLANTED not in refusal
    assert _INJECTED not in refusal


@pytest.mark.parametrize("config", ["%%%", "bm90IGpzb24=", base64.b64encode(b'{"a":1}').decode(), _CONFIG, 5, ["x"]])
def test_what_is_no_docker_config_is_refused(chart: Chart, config: object) -> None:
    """Something else in that place is named and not shown."""
    refusal = chart.refusal(_injected(config))
    assert "global.replicated.dockerconfigjson is not the base64 text of a docker config" in refusal
    assert _PLANTED not in refusal
