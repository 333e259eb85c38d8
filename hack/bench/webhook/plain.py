"""The rewrite and its patch in plain Python: what the comparisons answer, and what every answer is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bench.webhook.rules import Rules

ANNOTATION = "proxy.kots.io/original-images"
LISTS = ("containers", "initContainers")
_ANNOTATION_PATH = "/metadata/annotations/proxy.kots.io~1original-images"
Json = dict[str, Any]


def rewritten(pod: Json, prefix: str, proxy: str) -> Iterator[tuple[str, int, Json, str]]:
    """Yield list, position, container and new image of each that goes through the proxy."""
    for name in LISTS:
        for index, container in enumerate(pod["spec"].get(name, ())):
            host, slash, _ = container["image"].partition("/")
            named = slash and ("." in host or ":" in host)
            if not named or (host != proxy and ":" not in host and host == host.lower()):
                yield name, index, container, prefix + container["image"]


def patch_pod(pod: Json, namespace: str, rules: Rules) -> list[Json]:
    """Return the patch."""
    prefix = rules.prefixes.get(namespace)
    found = list(rewritten(pod, prefix, rules.proxy)) if prefix else []
    if not found:
        return []
    patch: list[Json] = [
        {"op": "replace", "path": f"/spec/{name}/{index}/image", "value": image} for name, index, _, image in found
    ]
    secret = {"name": rules.secret}
    secrets = pod["spec"].get("imagePullSecrets")
    if secrets is None:
        patch.append({"op": "add", "path": "/spec/imagePullSecrets", "value": [secret]})
    elif secret not in secrets:
        patch.append({"op": "add", "path": "/spec/imagePullSecrets/-", "value": secret})
    value = originals(found)
    if "annotations" in pod["metadata"]:
        patch.append({"op": "add", "path": _ANNOTATION_PATH, "value": value})
    else:
        patch.append({"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: value}})
    return patch


def originals(found: list[tuple[str, int, Json, str]]) -> str:
    """Write the annotation's value."""
    names = {f"{name}/{container['name']}": container["image"] for name, _, container, _ in found}
    return json.dumps(names, sort_keys=True, separators=(",", ":"))
