"""Everything that a cluster shows of the operator's work, place by place, less where a license has to be."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from rig.errors import RigError

Json = dict[str, Any]
Kubectl = Callable[..., str]
PULL_SECRET: Final = "kubernetes.io/dockerconfigjson"
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_RELEASE: Final = "helm.sh/release.v1"


def places_of(kubectl: Kubectl, home: str, secret_name: str) -> dict[str, str]:
    """Return every object of the cluster, the roles' logs and their metrics, as text by name."""
    return dict([*_objects(kubectl, secret_name), *_logs(kubectl, home), *_metrics(kubectl, home)])


def _objects(kubectl: Kubectl, secret_name: str) -> Iterator[tuple[str, str]]:
    """Yield every object of every kind that can be listed; of a pull secret all but its data, of a License likewise."""
    for kind in kubectl("api-resources", "--verbs=list", "-o", "name").split():
        for item in json.loads(kubectl("get", kind, "--all-namespaces", "-o", "json"))["items"]:
            metadata = item["metadata"]
            name = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            yield name, json.dumps(without_license(item, secret_name))
            if item.get("type") == _RELEASE:
                packed = base64.b64decode(base64.b64decode(item["data"]["release"]))
                yield f"{name} (unpacked)", gzip.decompress(packed).decode()


def without_license(item: Json, secret_name: str) -> Json:
    """Return an object without what it is there to hold: the data of a pull secret, the spec of a License."""
    shown = copy.deepcopy(item)
    if item["kind"] == "Secret" and item.get("type") == PULL_SECRET and item["metadata"]["name"] == secret_name:
        del shown["data"]
    if item["kind"] == "License":
        del shown["spec"]
        # What kubectl keeps of what its user applied.
        shown["metadata"].get("annotations", {}).pop(_APPLIED, None)
    return shown


def _pods(kubectl: Kubectl, home: str) -> list[Json]:
    """Return the operator's Pods."""
    items: list[Json] = json.loads(kubectl("get", "pods", "-n", home, "-o", "json"))["items"]
    return items


def _logs(kubectl: Kubectl, home: str) -> Iterator[tuple[str, str]]:
    """Yield what each container of the operator's Pods wrote, and what the one before it did where there was one."""
    for pod in _pods(kubectl, home):
        name = pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses", []):
            container = status["name"]
            yield f"log {name}/{container}", kubectl("logs", name, "-n", home, "-c", container)
            if status["restartCount"]:
                try:
                    before = kubectl("logs", name, "-n", home, "-c", container, "--previous")
                except RigError:
                    continue  # The kubelet keeps it for some time only.
                yield f"log {name}/{container} before", before


def _metrics(kubectl: Kubectl, home: str) -> Iterator[tuple[str, str]]:
    """Yield the metrics and the probes' words of every replica that serves them."""
    for pod in _pods(kubectl, home):
        if pod["status"]["phase"] != "Running":
            continue
        for path in ("metrics", "readyz", "livez"):
            where = f"/api/v1/namespaces/{home}/pods/{pod['metadata']['name']}:8080/proxy/{path}"
            yield f"{path} {pod['metadata']['name']}", kubectl("get", "--raw", where)
