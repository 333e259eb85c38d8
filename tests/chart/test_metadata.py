"""What the chart tells of itself (Artifact Hub's annotations) is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.helm_chart import Chart

_LISTS = ("images", "links", "crds", "crdsExamples", "changes")


@pytest.fixture(scope="module")
def metadata(chart: Chart) -> dict[str, Any]:
    """The chart's own description."""
    found: dict[str, Any] = yaml.safe_load((chart.folder / "Chart.yaml").read_text(encoding="utf-8"))
    return found


def _list(metadata: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Read an annotation that holds a list."""
    found: list[dict[str, Any]] = yaml.safe_load(metadata["annotations"][f"artifacthub.io/{name}"])
    return found


@pytest.mark.parametrize("name", _LISTS)
def test_lists_are_lists(metadata: dict[str, Any], name: str) -> None:
    """Each is YAML of the form that Artifact Hub reads."""
    assert all(isinstance(entry, dict) for entry in _list(metadata, name))
    assert _list(metadata, name)


def test_the_image_is_the_one_that_is_rendered(chart: Chart, metadata: dict[str, Any]) -> None:
    """Name and version are those of the Pods with default values."""
    deployments = chart.objects().of_kind("Deployment").values()
    rendered = {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in deployments}
    assert {entry["image"] for entry in _list(metadata, "images")} == rendered


def test_the_definitions_are_all_there(chart: Chart, metadata: dict[str, Any]) -> None:
    """Kind, name and the version that is stored are those of the definitions, and each has an example."""
    definitions = chart.objects().of_kind("CustomResourceDefinition").values()
    expected = {
        (each["spec"]["names"]["kind"], version["name"], each["metadata"]["name"])
        for each in definitions
        for version in each["spec"]["versions"]
        if version["storage"]
    }
    assert {(entry["kind"], entry["version"], entry["name"]) for entry in _list(metadata, "crds")} == expected
    examples = {(entry["kind"], entry["apiVersion"]) for entry in _list(metadata, "crdsExamples")}
    assert examples == {(kind, f"kots.io/{version}") for kind, version, _ in expected}
