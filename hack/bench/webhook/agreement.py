"""Whether all servers do the same to a Pod, so that none is fast because it does less."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Iterable
from typing import Any

import jsonpatch

from bench.asking import PATH
from bench.certificate import SERVER_NAME, bundle
from bench.review import PODS, review_body
from bench.webhook.plain import patch_pod
from bench.webhook.rules import read_rules
from bench.webhook.serving import Server
from rig.errors import RigError

UNCHANGING = frozenset({"bare", "ours-off"})
"""Servers that leave Pods as they are, and say so by their names."""


def check_agreement(servers: Iterable[Server]) -> None:
    """Ask each about one Pod of each kind and hold the Pod that comes of it against what is expected.

    Raises:
        RigError: one does something else.
    """
    for server in servers:
        for make in PODS.values():
            _check(server, review_body(make(7)))


def _check(server: Server, body: bytes) -> None:
    """Check one answer."""
    request = json.loads(body)["request"]
    expected = jsonpatch.apply_patch(
        request["object"], patch_pod(request["object"], request["namespace"], read_rules(server.folder))
    )
    response = _ask(server, body)["response"]
    patch = json.loads(base64.b64decode(response["patch"])) if response.get("patch") else []
    found = jsonpatch.apply_patch(request["object"], patch)
    if server.name in UNCHANGING:
        expected = request["object"]
    if not response["allowed"] or response["uid"] != request["uid"] or _plain(found) != _plain(expected):
        raise RigError(f"the server {server.name} does not do what the others do: {json.dumps(patch)}")


def _plain(value: Any) -> Any:
    """Leave out what means nothing in Kubernetes' JSON: null, and empty objects (Go writes types back in full)."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := _plain(item)) not in (None, {})}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _ask(server: Server, body: bytes) -> Any:
    """Send one review."""
    context = ssl.create_default_context(cafile=str(bundle(server.folder)))
    context.check_hostname = False  # The name is the Service's, and the address is loopback's.
    request = urllib.request.Request(
        f"https://127.0.0.1:{server.port}{PATH}", body, {"Content-Type": "application/json", "Host": SERVER_NAME}
    )
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310 - likewise.
        return json.loads(answer.read())
