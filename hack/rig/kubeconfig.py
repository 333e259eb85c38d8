"""Writes kubeconfig files: for a client certificate or for a token."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from rig.authority import KeyPair


@dataclass(frozen=True, slots=True)
class Server:
    """Where an API server answers and which authority vouches for it."""

    url: str
    certificate_authority: Path


def write_kubeconfig(path: Path, server: Server, credentials: KeyPair | str) -> Path:
    """Write a self-contained kubeconfig; ``credentials`` are a client certificate or a bearer token."""
    user = {"token": credentials} if isinstance(credentials, str) else _certificate_user(credentials)
    cluster = {"server": server.url, "certificate-authority-data": _encoded(server.certificate_authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rig", "cluster": cluster}],
        "users": [{"name": "rig", "user": user}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
        "current-context": "rig",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    # JSON is YAML: no dependency, and nothing to quote.
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def redirect_kubeconfig(original: Path, url: str, path: Path) -> Path:
    """Write a kubeconfig that leads to another server, without TLS, with the credentials of the original."""
    document = json.loads(original.read_text())
    document["clusters"][0]["cluster"] = {"server": url}
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def _certificate_user(pair: KeyPair) -> dict[str, str]:
    return {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)}


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
