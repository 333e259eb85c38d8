"""One certificate for all servers under test, in the forms in which they read it."""

from __future__ import annotations

import base64
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from replicated_proxy.certificates.documents import serving_data
from replicated_proxy.certificates.issuing import make_authority, make_leaf, service_names, webhook_name

SERVICE = "webhook"
NAMESPACE = "bench"
SERVER_NAME = webhook_name(SERVICE, NAMESPACE)
CERTIFICATE_FILE, KEY_FILE = "tls.crt", "tls.key"


def write_secret(folder: Path) -> None:
    """Make one and leave it in `folder`: the Secret for our server, files for others, the bundle for clients."""
    now = datetime.now(UTC)
    authority = make_authority(now, timedelta(days=1))
    leaf = make_leaf(authority, service_names(SERVICE, NAMESPACE), now, timedelta(days=1))
    bundle(folder).write_bytes(authority.certificate_pem)
    data = dict(serving_data(leaf, authority.certificate_pem))
    _write(folder / "secret.json", json.dumps({"data": data}).encode())
    for name in (CERTIFICATE_FILE, KEY_FILE):
        _write(folder / name, base64.b64decode(data[name]))


def _write(path: Path, content: bytes) -> None:
    """Write a file that only we read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def read_secret(folder: Path) -> dict[str, Any]:
    """Return the Secret."""
    secret: dict[str, Any] = json.loads((folder / "secret.json").read_text(encoding="utf-8"))
    return secret


def bundle(folder: Path) -> Path:
    """Return where the bundle is."""
    return folder / "ca.crt"


def certificate_context(folder: Path) -> ssl.SSLContext:
    """Return how a server listens with it, as ours does: TLS 1.3 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE)
    return context
