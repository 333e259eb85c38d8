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
    {"webhook": {"hostNetwork": True, "namespaceSelector": {"matchLabels": {"tier": "apps"}}}},
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"imgae": {}}, ["imgae", "not allowed"]),
        ({"image": {"name": "x"}}, ["/image", "name", "not allowed"]),
        ({"settings": {"rewrite": {"modes": "all"}}}, ["/settings/rewrite", "modes"]),
        (
            {"settings": {"rewrite": {"mode": "some"}}},
            ["/settings/rewrite/mode", "'private'", "'all'", "'listed'", "'off'"],
        ),
        ({"settings": {"secret": {"name": "Not_A_Name"}}}, ["/settings/secret/name", "Not_A_Name"]),
        ({"webhook": {"replicas": "two"}}, ["/webhook/replicas", "integer"]),
        ({"webhook": {"timeoutSeconds": 31}}, ["/webhook/timeoutSeconds", "30"]),
        ({"webhook": {"failurePolicy": "ignore"}}, ["/webhook/failurePolicy", "'Ignore'", "'Fail'"]),
        ({"settings": {"webhook": {"port": 8080}}}, ["settings.webhook.port", "different ports"]),
        ({"terminationGracePeriodSeconds": 20}, ["terminationGracePeriodSeconds", "drainSeconds"]),
        ({"settings": {"license": {"signature": "warn"}}}, ["/settings/license/signature", "'Warn'", "'Enforce'"]),
        ({"settings": {"license": {"onExpiry": "Delete"}}}, ["/settings/license/onExpiry", "'Retain'", "'Revoke'"]),
        ({"settings": {"license": {"trustedKeys": {"k": "x"}}}}, ["/settings/license/trustedKeys/k", "PUBLIC KEY"]),
        ({"settings": {"license": {"expiringSoonDays": -1}}}, ["/settings/license/expiringSoonDays", "0"]),
        ({"settings": {"proxy": {"allowedHosts": ["https://x.example"]}}}, ["/settings/proxy/allowedHosts/0", "https"]),
        ({"settings": {"controller": {"leaseName": ""}}}, ["/settings/controller/leaseName"]),
        ({"settings": {"controller": {"leaseSeconds": 10}}}, ["renewSeconds 10", "less than the next"]),
        ({"settings": {"controller": {"retrySeconds": 10}}}, ["retrySeconds 10", "less than the next"]),
        ({"fullnameOverride": "one", "settings": {"routesConfigMap": "one"}}, ["routesConfigMap", "another name"]),
        ({"settings": {"certificates": {"caSecret": "one", "servingSecret": "one"}}}, ["caSecret", "different names"]),
        ({"settings": {"sources": {"secrets": [{"namespace": "a", "name": "b"}]}}}, ["/secrets/0", "'key'"]),
        ({"settings": {"sources": {"secrets": [{**_SOURCE, "slug": "x"}]}}}, ["/secrets/0", "slug", "not allowed"]),
        ({"settings": {"sources": {"secrets": [{**_SOURCE, "namespace": "A_b"}]}}}, ["/secrets/0/namespace", "A_b"]),
        ({"settings": {"sources": {"secrets": [{**_SOURCE, "namespaces": ["a-*"]}]}}}, ["/secrets/0/namespaces/0"]),
        ({"settings": {"sources": {"secrets": [{**_SOURCE, "proxyHost": "a/b"}]}}}, ["/secrets/0/proxyHost"]),
        ({"injectedLicense": {"appSlug": "My App"}}, ["/injectedLicense/appSlug", "My App"]),
        ({"controller": {"replicas": -1}}, ["/controller/replicas", "0"]),
        ({"cleanup": {"timeoutSeconds": 0}}, ["/cleanup/timeoutSeconds", "1"]),
        ({"detectionCa": {"configMap": "a", "secret": "b"}}, ["configMap a", "secret b", "leave one of them empty"]),
        (
            {"detectionCa": {"secret": "a"}, "settings": {"detection": {"caFile": "/etc/ca.pem"}}},
            ["settings.detection.caFile", "/etc/ca.pem", "leave caFile empty"],
        ),
        ({"detectionCa": {"configMap": "A_b"}}, ["/detectionCa/configMap", "A_b"]),
        ({"detectionCa": {"configMap": "a", "key": "../x"}}, ["/detectionCa/key", "../x"]),
        ({"policies": {"reach": {"enable": True}}}, ["/policies/reach", "enable", "not allowed"]),
    ],
)
def test_refuses_wrong_values(chart: Chart, values: dict[str, Any], words: list[str]) -> None:
    """A wrong key or value is named, with what would be right."""
    refusal = chart.refusal(values)
    assert all(word in refusal for word in words), refusal


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_refuses_the_systems_namespaces(chart: Chart, namespace: str) -> None:
    """The operator's own namespace is never served, so it must not be one of the system's."""
    assert "namespace of its own" in chart.refusal(namespace=namespace)


def test_the_operator_reads_the_settings_file(chart: Chart, tmp_path: Path) -> None:
    """With default values the settings file says what the operator's defaults say, and the release's names."""
    settings = _load(chart, {}, tmp_path)
    webhook = "proxy-replicated-proxy-operator-webhook"
    assert settings.installation == "operator-home/proxy"
    assert settings.webhook.service_name == webhook
    assert settings.webhook.configuration_name == "proxy-replicated-proxy-operator"
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


def test_every_value_is_explained(chart: Chart) -> None:
    """Each value stands under a comment, and each is a row of the README's table."""
    text = (chart.folder / "values.yaml").read_text(encoding="utf-8").splitlines()
    leaves = [number for number, line in enumerate(text) if re.fullmatch(r" *[A-Za-z]+: +[^#\s].*", line)]
    nested = ("dnsConfig", "resources", "SecurityContext", "securityContext", "matchConditions", "objectSelector")
    bare = [
        text[number]
        for number in leaves
        if not text[number - 1].lstrip().startswith("#") and not _inside(text, number, nested)
    ]
    assert not bare
    readme = (chart.folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Za-z.]+)` \|", readme, re.MULTILINE)
    assert rows == list(_keys(chart.values()))


def _inside(text: list[str], number: int, sections: tuple[str, ...]) -> bool:
    """Tell whether a line stands below a key that is explained as a whole."""
    indent = len(text[number]) - len(text[number].lstrip())
    for line in reversed(text[:number]):
        depth = len(line) - len(line.lstrip())
        if line.strip() and not line.lstrip().startswith("#") and depth < indent:
            if line.strip().removesuffix(":").endswith(sections):
                return True
            indent = depth
    return False


_WHOLE = {"resources", "podSecurityContext", "securityContext", "objectSelector", "global", "assume", "dnsConfig"}


def _keys(values: dict[str, Any], above: str = "") -> list[str]:
    """List the values that a table explains, in the order of the file."""
    found = []
    for name, value in values.items():
        key = f"{above}{name}"
        found += _keys(value, f"{key}.") if isinstance(value, dict) and value and name not in _WHOLE else [key]
    return found
