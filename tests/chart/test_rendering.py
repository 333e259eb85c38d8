"""What the chart renders, and what it refuses to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from replicated_proxy.settings import SecretSource, Settings, load_settings

if TYPE_CHECKING:
    from chart.helm_chart import Chart

_HOME = "operator-home"
_SOURCE = {"namespace": "vault", "name": "acme", "key": "license.yaml"}
_OVERRIDES: list[dict[str, Any]] = [
    {},
    {"webhook": {"replicas": 1}, "crds": {"install": False}, "rbac": {"create": False}},
    {"settings": {"secret": {"excludedNamespaces": ["payroll", "dev-*"], "createNamespaces": True}}},
    {"commonLabels": {"team": "platform"}, "podLabels": {"team": "other"}, "podAnnotations": {"note": "yes"}},
    {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"disk": "ssd"}, "affinity": {"podAffinity": {}}},
    {
        "webhook": {"hostNetwork": True, "namespaceSelector": {"matchLabels": {"tier": "apps"}}},
        "settings": {"webhook": {"port": 10260}},
    },
    {"controller": {"replicas": 2}, "policies": {"reach": {"enabled": False}}, "cleanup": {"onUninstall": True}},
    {
        "global": {"replicated": {"dockerconfigjson": "eyJhdXRocyI6e319"}},
        "injectedLicense": {"appSlug": "my-app", "proxyHost": "images.acme.example", "namespaces": ["*"]},
        "settings": {"sources": {"secrets": [{"namespace": "vault", "name": "a.b", "key": "license.yaml"}]}},
    },
    {"detectionCa": {"secret": "authorities", "key": "bundle.pem"}},
    {"global": {"anything": 1}, "imagePullSecrets": [{"name": "mine"}], "extraEnv": [{"name": "A", "value": "b"}]},
]


@pytest.mark.parametrize("values", _OVERRIDES)
def test_lint_finds_nothing(chart: Chart, values: dict[str, Any]) -> None:
    """Helm's strict lint is content with the chart under every set of values."""
    done = chart.run("lint", "--strict", str(chart.folder), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", _OVERRIDES)
def test_renders_the_same_twice(chart: Chart, values: dict[str, Any]) -> None:
    """Two renders are equal byte for byte, so that GitOps tools see no drift."""
    assert chart.template(values) == chart.template(values)


def test_looks_nothing_up_and_draws_no_lots(chart: Chart) -> None:
    """No template asks the cluster, the clock or chance."""
    functions = re.compile(r"\b(lookup|rand\w+|gen(CA|Signed\w+|SelfSigned\w+|PrivateKey)|uuidv4|now|getHostByName)\b")
    templates = [path for path in (chart.folder / "templates").iterdir() if path.suffix in {".yaml", ".tpl"}]
    found = {path.name: functions.findall("".join(_actions(path))) for path in templates}
    assert found
    assert not any(found.values()), found


def _actions(path: Path) -> list[str]:
    """Return what stands between braces in a template, comments left out."""
    return [
        text for text in re.findall(r"{{-?(.*?)}}", path.read_text(encoding="utf-8"), re.DOTALL) if "/*" not in text
    ]


def test_the_operator_reads_the_settings_file(chart: Chart, tmp_path: Path) -> None:
    """With default values the settings file says what the operator's defaults say, and the release's names."""
    settings = _load(chart, {}, tmp_path)
    webhook = "proxy-replicated-proxy-operator-webhook"
    assert settings.installation == "operator-home/proxy"
    assert settings.webhook.service_name == webhook
    assert settings.webhook.configuration_name == "proxy-replicated-proxy-operator.operator-home"
    assert settings.namespace == _HOME
    defaults = Settings()
    assert settings.rewrite == defaults.rewrite
    assert replace(settings.detection, replicas_service="") == replace(defaults.detection, replicas_service="")
    assert settings.secret == defaults.secret
    assert settings.sources == defaults.sources
    assert settings.license == defaults.license
    assert settings.proxy == defaults.proxy
    assert settings.controller == defaults.controller
    assert settings.certificates == defaults.certificates
    assert settings.webhook.port == defaults.webhook.port


def test_off_needs_no_quotes(chart: Chart, tmp_path: Path) -> None:
    """An unquoted `off`, which YAML reads as false, means the mode and the policy of that name."""
    settings = _load(chart, {"settings": {"rewrite": {"mode": False}, "license": {"signature": False}}}, tmp_path)
    assert (settings.rewrite.mode.value, settings.license.signature.value) == ("off", "Off")


def test_every_setting_of_licenses_arrives(chart: Chart, tmp_path: Path) -> None:
    """What the values say of licenses, their sources and the Lease is what the operator reads."""
    key = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
    full = {**_SOURCE, "appSlug": "my-app", "proxyHost": "images.acme.example", "namespaces": ["*"]}
    values: dict[str, Any] = {
        "sources": {"secrets": [_SOURCE, {**full, "key": "config"}], "missingSeconds": 60},
        "license": {"signature": "Enforce", "trustedKeys": {"k": key}, "onExpiry": "Revoke", "expiringSoonDays": 3},
        "controller": {"leaseName": "lead", "leaseSeconds": 30, "renewSeconds": 20, "retrySeconds": 5},
    }
    settings = _load(chart, {"settings": values}, tmp_path)
    assert settings.sources.missing_seconds == 60
    assert settings.sources.secrets == (
        SecretSource("vault", "acme", "license.yaml"),
        SecretSource("vault", "acme", "config", "my-app", "images.acme.example", ("*",)),
    )
    assert (settings.license.signature.value, settings.license.on_expiry.value) == ("Enforce", "Revoke")
    assert (dict(settings.license.trusted_keys), settings.license.expiring_soon_days) == ({"k": key}, 3)
    controller = settings.controller
    assert (controller.lease_name, controller.lease_seconds, controller.renew_seconds) == ("lead", 30, 20)


def test_allowed_hosts_are_the_policys_alone(chart: Chart, tmp_path: Path) -> None:
    """The operator does not know this setting, so it is not in its file."""
    values = {"settings": {"proxy": {"allowedHosts": ["images.acme.example"]}}}
    assert _load(chart, values, tmp_path) == _load(chart, {}, tmp_path)


def _load(chart: Chart, values: dict[str, Any], folder: Path) -> Settings:
    """Read the rendered settings file as the operator does."""
    path = folder / "settings.yaml"
    path.write_text(chart.objects(values).only("ConfigMap")["data"]["settings.yaml"], encoding="utf-8")
    return load_settings(path, {"POD_NAMESPACE": _HOME})


def test_crds_are_those_of_the_files(chart: Chart) -> None:
    """The rendered definitions are the plain files with labels and the order to keep them."""
    rendered = chart.objects().of_kind("CustomResourceDefinition")
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (chart.folder / "files/crds").iterdir()]
    assert set(rendered) == {"licenses.kots.io", "applications.kots.io"} == {file["metadata"]["name"] for file in files}
    for file in files:
        document = rendered[file["metadata"]["name"]]
        assert document.pop("metadata")["annotations"] == {"helm.sh/resource-policy": "keep"}
        file.pop("metadata")
        assert document == file


@pytest.mark.parametrize(("crds", "count"), [({"install": False}, 0), ({"keep": False}, 2)])
def test_crds_may_be_left_out_or_left_to_helm(chart: Chart, crds: dict[str, bool], count: int) -> None:
    """`crds.install: false` renders none, and `crds.keep: false` lets an uninstallation remove them."""
    definitions = chart.objects({"crds": crds}).of_kind("CustomResourceDefinition")
    assert len(definitions) == count
    assert not any("annotations" in definition["metadata"] for definition in definitions.values())
