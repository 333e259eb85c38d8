"""Who may ask the webhook, and what the controller's account may write: what the chart renders of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Rendered

_NAME = "proxy-replicated-proxy-operator"
_FILE = "/etc/replicated-proxy-client-ca/ca.crt"


def _pod(rendered: Rendered, role: str) -> dict[str, Any]:
    """Return the Pod of a role."""
    spec: dict[str, Any] = rendered.of_kind("Deployment")[f"{_NAME}-{role}"]["spec"]["template"]["spec"]
    return spec


def _webhook_settings(rendered: Rendered) -> dict[str, Any]:
    """Return the webhook's part of the settings file."""
    settings: dict[str, Any] = yaml.safe_load(rendered.of_kind("ConfigMap")[_NAME]["data"]["settings.yaml"])["webhook"]
    return settings


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"configMap": "mine"}, {"configMap": {"name": "mine"}}),
        ({"secret": "mine", "key": "bundle.pem"}, {"secret": {"secretName": "mine"}}),
    ],
)
def test_authority_of_callers_is_where_the_settings_say(
    chart: Chart, values: dict[str, str], source: dict[str, Any]
) -> None:
    """The webhook alone mounts it, as a folder that the kubelet updates, and its settings name the file."""
    rendered = chart.objects({"clientCa": values, "settings": {"webhook": {"clientNames": ["api-server"]}}})
    webhook, controller = (_pod(rendered, role) for role in ("webhook", "controller"))
    (volume,) = [each for each in webhook["volumes"] if each["name"] == "client-ca"]
    (mount,) = [each for each in webhook["containers"][0]["volumeMounts"] if each["name"] == "client-ca"]

    ((kind, expected),) = source.items()
    assert volume[kind] == expected | {"items": [{"key": values.get("key", "ca.crt"), "path": "ca.crt"}]}
    assert (mount["readOnly"], mount["mountPath"]) == (True, _FILE.removesuffix("/ca.crt"))
    assert _webhook_settings(rendered)["clientCaFile"] == _FILE
    assert _webhook_settings(rendered)["clientNames"] == ["api-server"]
    assert "client-ca" not in {each["name"] for each in controller["volumes"]}


def test_without_it_everybody_may_ask(chart: Chart) -> None:
    """Managed control planes show no certificate, so none is asked for by default."""
    rendered = chart.objects()

    assert _webhook_settings(rendered)["clientCaFile"] == ""
    assert "client-ca" not in {each["name"] for each in _pod(rendered, "webhook")["volumes"]}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"clientCa": {"configMap": "a", "secret": "b"}}, "leave one of them empty"),
        ({"clientCa": {"configMap": "a"}, "settings": {"webhook": {"clientCaFile": "/x"}}}, "leave clientCaFile empty"),
        ({"settings": {"webhook": {"clientNames": ["api-server"]}}}, "set clientCa.configMap or clientCa.secret"),
    ],
    ids=["two sources", "two files", "names that nobody vouches for"],
)
def test_what_does_not_go_together_is_refused(chart: Chart, values: dict[str, Any], words: str) -> None:
    """Helm says what to change, and renders nothing."""
    assert words in chart.refusal(values)


def test_policy_names_the_account_and_what_it_writes(chart: Chart) -> None:
    """The policy of the controller's account follows the names in the values, and can be left out."""
    names = {"secret": {"name": "pull"}, "certificates": {"caSecret": "ca", "servingSecret": "tls"}}
    values = {"settings": names, "controller": {"serviceAccount": {"name": "mine"}}}
    policies = chart.objects(values).of_kind("ValidatingAdmissionPolicy")
    (spec,) = [item["spec"] for name, item in policies.items() if name.endswith("-controller-secrets")]
    written = {each["name"]: each["expression"] for each in spec["variables"]}

    assert [each["expression"] for each in spec["matchConditions"]] == [
        'request.userInfo.username == "system:serviceaccount:operator-home:mine"'
    ]
    assert (spec["failurePolicy"], written["names"]) == ("Fail", 'variables.home ? ["ca","tls"] : ["pull"]')
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        left = chart.objects({"policies": {"controller": {"enabled": False}}}).of_kind(kind)
        assert not [name for name in left if name.endswith("-controller-secrets")]
