"""A registry that runs as a Pod of the cluster, as companies have them: reachable at a Service's address only."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig.archives import pack
from rig.authority import Authority

if TYPE_CHECKING:
    from node.conftest import Installed

_IMAGE = "rig.local/registry:1"
_LABELS = {"app": "registry"}
Json = dict[str, Any]


def run_registry(installed: Installed, namespace: str) -> str:
    """Run it, wait until it is ready, and return its name, under which everything in the cluster reaches it."""
    node, host = installed.node, f"registry.{namespace}.svc.cluster.local"
    with tempfile.TemporaryDirectory(dir=node.workdir) as folder:
        node.load_image(pack(node.binaries["registry"], _IMAGE, Path(folder) / "registry.tar"))
    pair = Authority.load(node.certificate_authority.parent).server(host, [host])
    files = {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text(), "config.yaml": _configuration()}
    metadata = {"name": "registry", "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": files}
    ports = [{"port": 443, "targetPort": 443}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": _LABELS, "ports": ports},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"labels": _LABELS}, "spec": _pod()}
    installed.apply(secret, service, pod)
    installed.await_pod(namespace, "app=registry")
    return host


def _configuration() -> str:
    configuration = {
        "version": "0.1",
        "storage": {"inmemory": {}},
        "http": {
            "addr": ":443",
            "tls": {"certificate": "/etc/registry/tls.crt", "key": "/etc/registry/tls.key"},
        },
    }
    return json.dumps(configuration)


def _pod() -> Json:
    container = {
        "name": "registry",
        "image": _IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve", "/etc/registry/config.yaml"],
        "env": [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}],
        "volumeMounts": [{"name": "files", "mountPath": "/etc/registry", "readOnly": True}],
        "readinessProbe": {"tcpSocket": {"port": 443}, "periodSeconds": 1},
    }
    volume = {"name": "files", "secret": {"secretName": "registry"}}
    return {"enableServiceLinks": False, "containers": [container], "volumes": [volume]}
