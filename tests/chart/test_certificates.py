"""Who makes the certificate: what the chart renders in each mode, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Rendered

_HOME = "operator-home"
_NAME = "proxy-replicated-proxy-operator"
_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_INJECT = "cert-manager.io/inject-ca-from"
_OTHERS = ["CertManager", "ExistingSecret"]


def _mode(mode: str, **certificates: Any) -> dict[str, Any]:
    """Write values of a mode."""
    return {"settings": {"certificates": {"mode": mode, **certificates}}}


def _configuration(objects: Rendered) -> tuple[dict[str, str], dict[str, Any]]:
    """Return annotations and client configuration of the webhook configuration."""
    found = objects.only("MutatingWebhookConfiguration")
    (hook,) = found["webhooks"]
    return found["metadata"].get("annotations", {}), hook["clientConfig"]


def _rules(objects: Rendered, kind: str, name: str) -> list[dict[str, Any]]:
    """Return the rules of a role."""
    rules: list[dict[str, Any]] = objects.of_kind(kind)[name]["rules"]
    return rules


def test_cert_manager_has_an_authority_of_our_own(chart: Chart) -> None:
    """Without an issuer named, a self-signed one makes the authority, whose key stays, and that one signs the leaf."""
    objects = chart.objects(_mode("CertManager", extraNames=["hook.example.com", "10.0.0.1", "fd00::1"]))
    issuers = {name: issuer["spec"] for name, issuer in objects.of_kind("Issuer").items()}
    assert issuers == {
        f"{_NAME}-selfsigned": {"selfSigned": {}},
        f"{_NAME}-ca": {"ca": {"secretName": "replicated-proxy-ca"}},
    }
    certificates = objects.of_kind("Certificate")
    authority, leaf = (certificates[f"{_NAME}-{word}"]["spec"] for word in ("ca", "webhook"))
    assert (authority["isCA"], authority["duration"], leaf["duration"]) == (True, "87600h", "8760h")
    assert authority["issuerRef"]["name"] == f"{_NAME}-selfsigned"
    assert authority["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"}
    assert leaf["issuerRef"] == {"group": "cert-manager.io", "kind": "Issuer", "name": f"{_NAME}-ca"}
    assert f"{_NAME}-webhook.{_HOME}.svc" in leaf["dnsNames"]
    assert (leaf["dnsNames"][-1], leaf["ipAddresses"]) == ("hook.example.com", ["10.0.0.1", "fd00::1"])
    assert leaf["secretName"] == "replicated-proxy-serving"


def test_cert_manager_takes_an_issuer_of_others(chart: Chart) -> None:
    """With an issuer named, the chart renders the one Certificate and nothing that issues."""
    values = _mode("CertManager") | {"certManager": {"issuerRef": {"name": "company", "kind": "ClusterIssuer"}}}
    objects = chart.objects(values)
    assert objects.of_kind("Issuer") == {}
    (leaf,) = objects.of_kind("Certificate").values()
    assert leaf["spec"]["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "company"}


def test_injector_is_told_where_the_bundle_is(chart: Chart) -> None:
    """In cert-manager's mode the annotation names our Certificate, beside the administrator's own."""
    values = {"webhook": {"annotations": {"team": "platform"}}}
    annotations, client = _configuration(chart.objects(_mode("CertManager") | values))
    assert annotations == {"team": "platform", _INJECT: f"{_HOME}/{_NAME}-webhook"}
    assert "caBundle" not in client
    for mode in ("SelfManaged", "ExistingSecret"):
        annotations, client = _configuration(chart.objects(_mode(mode) | values))
        assert (annotations, "caBundle" in client) == ({"team": "platform"}, False)


def test_given_bundle_is_rendered(chart: Chart) -> None:
    """A bundle that the administrator gives is the configuration's, in base64 once."""
    _, client = _configuration(chart.objects(_mode("ExistingSecret") | {"webhook": {"caBundle": _PEM}}))
    assert client["caBundle"] == "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="


@pytest.mark.parametrize("mode", _OTHERS)
def test_controller_may_only_read_what_others_make(chart: Chart, mode: str) -> None:
    """It has no right on webhook configurations, none on the authority's Secret, and reads the serving one by name."""
    objects = chart.objects(_mode(mode))
    cluster = _rules(objects, "ClusterRole", f"{_NAME}.{_HOME}-controller")
    assert not [rule for rule in cluster if "mutatingwebhookconfigurations" in rule["resources"]]
    home = _rules(objects, "Role", f"{_NAME}-controller")
    secrets = [rule for rule in home if "secrets" in rule["resources"]]
    read = {"verbs": ["get", "list", "watch"], "resourceNames": ["replicated-proxy-serving"]}
    assert secrets == [{"apiGroups": [""], "resources": ["secrets"]} | read]


@pytest.mark.parametrize("mode", ["SelfManaged", "ExistingSecret"])
def test_kinds_of_cert_manager_appear_in_its_mode_only(chart: Chart, mode: str) -> None:
    """A cluster without cert-manager is never asked for its kinds."""
    assert "cert-manager.io" not in chart.template(_mode(mode))


_WRONG: list[tuple[dict[str, Any], list[str]]] = [
    (_mode("certManager"), ["/settings/certificates/mode", "'SelfManaged'", "'CertManager'", "'ExistingSecret'"]),
    (_mode("SelfManaged", caLifetime="10y"), ["caLifetime", "10y", "8760h, 1h30m or 20s"]),
    (_mode("SelfManaged", leafLifetime="87601h"), ["leafLifetime", "87601h", "cannot outlive"]),
    (_mode("SelfManaged", leafLifetime="7m"), ["propagationDelay is 2m", "a quarter of leafLifetime (7m)"]),
    (_mode("CertManager", leafLifetime="29201h"), ["leafLifetime is 29201h", "a third of caLifetime (87600h)"]),
    ({"webhook": {"caBundle": _PEM}}, ["webhook.caBundle", "SelfManaged", "ExistingSecret"]),
    (_mode("ExistingSecret") | {"webhook": {"caBundle": "LS0t"}}, ["webhook.caBundle", "no PEM"]),
    ({"certManager": {"issuerRef": {"name": "company"}}}, ["certManager.issuerRef", "SelfManaged", "CertManager"]),
]


@pytest.mark.parametrize(("values", "words"), _WRONG, ids=[words[0] for _, words in _WRONG])
def test_values_that_do_not_go_together_are_refused(chart: Chart, values: dict[str, Any], words: list[str]) -> None:
    """The message names the value and the way out."""
    said = " ".join(chart.refusal(values).split())
    assert [word for word in words if word not in said] == []
