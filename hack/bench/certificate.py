"""A certificate for the servers under test, in the form in which the product reads its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replicated_proxy.certificates.documents import serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names, webhook_name

SERVICE = "webhook"
NAMESPACE = "bench"
SERVER_NAME = webhook_name(SERVICE, NAMESPACE)


def write_secret(folder: Path) -> None:
    """Make a certificate and leave it in `folder`: the Secret for servers, the bundle for clients."""
    now = datetime.now(UTC)
    authority = make_authority(now, 1)
    leaf = make_leaf(authority, service_names(SERVICE, NAMESPACE), now, 1)
    bundle(folder).write_bytes(authority.certificate_pem)
    path = folder / "secret.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"data": dict(serving_data(leaf, authority.certificate_pem))}), encoding="utf-8")


def read_secret(folder: Path) -> dict[str, Any]:
    """Return the Secret."""
    secret: dict[str, Any] = json.loads((folder / "secret.json").read_text(encoding="utf-8"))
    return secret


def bundle(folder: Path) -> Path:
    """Return where the bundle is."""
    return folder / "ca.crt"
