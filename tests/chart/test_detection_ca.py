"""The authorities of private registries: mounted where the settings say, and only into the webhook."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Rendered

_NAME = "proxy-replicated-proxy-operator"


def _pod(rendered: Rendered, role: str) -> dict[str, Any]:
    spec: dict[str, Any] = rendered.of_kind("Deployment")[f"{_NAME}-{role}"]["spec"]["template"]["spec"]
    return spec


def _ca_file(rendered: Rendered) -> str:
    text = rendered.of_kind("ConfigMap")[_NAME]["data"]["settings.yaml"]
    return str(yaml.safe_load(text)["detection"]["caFile"])


def _mounts(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}


def _volumes(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {volume["name"]: volume for volume in pod["volumes"]}


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"configMap": "mine"}, {"configMap": {"name": "mine"}}),
        ({"secret": "mine"}, {"secret": {"secretName": "mine"}}),
        ({"configMap": "mine", "key": "bundle.pem"}, {"configMap": {"name": "mine"}}),
    ],
)
def test_authorities_are_where_the_settings_say(chart: Chart, values: dict[str, str], source: dict[str, Any]) -> None:
    """The webhook mounts the key, read-only and as a folder that the kubelet updates; its settings name it."""
    rendered = chart.objects({"detectionCa": values})
    pod = _pod(rendered, "webhook")
    mount, volume = _mounts(pod)["detection-ca"], _volumes(pod)["detection-ca"]

    ((kind, expected),) = source.items()
    (item,) = volume[kind]["items"]
    assert volume[kind] == expected | {"items": [item]}
    assert item["key"] == values.get("key", "ca.crt")
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    assert str(PurePosixPath(mount["mountPath"]) / item["path"]) == _ca_file(rendered)


def test_only_the_webhook_gets_them(chart: Chart) -> None:
    """The controller and the clean-up ask no registry and mount nothing."""
    rendered = chart.objects({"detectionCa": {"secret": "mine"}, "cleanup": {"onUninstall": True}})
    job = rendered.only("Job")["spec"]["template"]["spec"]

    for pod in (_pod(rendered, "controller"), job):
        assert "detection-ca" not in _mounts(pod)
        assert "detection-ca" not in _volumes(pod)


def test_without_them_nothing_is_mounted(chart: Chart) -> None:
    """By default the system's authorities count alone, and a file of one's own may be named."""
    rendered = chart.objects({"settings": {"detection": {"caFile": "/etc/mine/ca.pem"}}})

    assert "detection-ca" not in _volumes(_pod(rendered, "webhook"))
    assert _ca_file(rendered) == "/etc/mine/ca.pem"
    assert _ca_file(chart.objects()) == ""
