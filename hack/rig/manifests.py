"""Reading rendered manifests by libyaml: PyYAML's own reader takes a second for the chart with its definitions."""

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_manifests(text: str) -> list[dict[str, Any]]:
    """Return the objects of a text of YAML documents; empty documents are none."""
    return [document for document in yaml.load_all(text, _LOADER) if document]
