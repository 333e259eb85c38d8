"""Values for known platforms (`ci/`): each is linted, rendered alike twice, and does what its comment says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from rig.roles import CHART

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Json, Rendered

_NAME = "proxy-replicated-proxy-operator"
PLATFORMS = sorted(CHART.glob("ci/*-values.yaml"))


def _values(platform: str) -> Json:
    """Read the values of a platform."""
    values: Json = yaml.safe_load((CHART / f"ci/{platform}-values.yaml").read_text(encoding="utf-8"))
    return values


def _deployment(rendered: Rendered, role: str) -> Json:
    """Return the spec of a role's Deployment."""
    spec: Json = rendered.of_kind("Deployment")[f"{_NAME}-{role}"]["spec"]
    return spec


@pytest.mark.parametrize("path", PLATFORMS, ids=lambda path: path.stem)
def test_lint_finds_nothing_and_renders_are_equal(chart: Chart, path: Path) -> None:
    """Helm's strict lint is content, and two renders, hooks and tests included, are equal byte for byte."""
    values: Json = yaml.safe_load(path.read_text(encoding="utf-8"))
    done = chart.run("lint", "--strict", str(chart.folder), values=values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert chart.template(values, "--include-crds") == chart.template(values, "--include-crds")


@pytest.mark.parametrize("path", PLATFORMS, ids=lambda path: path.stem)
def test_each_says_what_it_is_for(path: Path) -> None:
    """Whoever copies a file reads at its top what it does and why."""
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_each_is_named_in_the_pages(chart: Chart) -> None:
    """The page about platforms links every file."""
    del chart
    page = (CHART.parents[1] / "docs/chart.md").read_text(encoding="utf-8")
    assert [path.name for path in PLATFORMS if f"ci/{path.name}" not in page] == []


def test_in_the_nodes_network_a_rollout_can_go_on(chart: Chart) -> None:
    """Two replicas cannot have one port of one node, so one may leave before its successor came."""
    spec = _deployment(chart.objects(_values("eks-hostnetwork")), "webhook")
    pod = spec["template"]["spec"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert {port["containerPort"] for port in pod["containers"][0]["ports"]} == {10260, 10261}
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 1}
    assert "hostNetwork" not in _deployment(chart.objects(_values("eks-hostnetwork")), "controller")["template"]["spec"]


@pytest.mark.parametrize(("platform", "port"), [("gke-private", 10250), ("eks-fargate", 10260)])
def test_the_port_is_one_that_the_control_plane_reaches(chart: Chart, platform: str, port: int) -> None:
    """Service and container agree on it."""
    rendered = chart.objects(_values(platform))
    (container,) = _deployment(rendered, "webhook")["template"]["spec"]["containers"]
    assert {each["containerPort"] for each in container["ports"] if each["name"] == "https"} == {port}


def test_openshift_chooses_the_users(chart: Chart) -> None:
    """No user is demanded, and name servers are reached on their port there."""
    rendered = chart.objects(_values("openshift"))
    context = _deployment(rendered, "webhook")["template"]["spec"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_air_gapped_clusters_pull_a_pinned_image_from_a_mirror(chart: Chart) -> None:
    """Registry and pull secret are those that all charts share; the digest says which image."""
    pod = _deployment(chart.objects(_values("air-gapped")), "controller")["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    image = pod["containers"][0]["image"]
    assert image == f"mirror.example.com:5000/replicated-proxy-operator@sha256:{'0' * 64}"
