"""Somebody else's mutating webhook, as a process: each path is one way of changing Pods after us.

`python second_webhook.py <port> <certificate> <key>`; the tests of reinvocation register its paths.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

Json = dict[str, Any]
SIDECAR: Final = "quay.io/mesh/agent:v1"
OVERWRITTEN: Final = "ghcr.io/other/image:v9"


def inject_sidecar(pod: Json) -> list[Json]:
    """Append a sidecar unless it is there, as injectors of a service mesh do."""
    if any(item["name"] == "agent" for item in pod["spec"]["containers"]):
        return []
    return [{"op": "add", "path": "/spec/containers/-", "value": {"name": "agent", "image": SIDECAR}}]


def prepend_init_container(pod: Json) -> list[Json]:
    """Put an init container before all others, so that every position in that list shifts."""
    inits = pod["spec"].get("initContainers", [])
    if any(item["name"] == "first" for item in inits):
        return []
    added = {"name": "first", "image": SIDECAR}
    if not inits:
        return [{"op": "add", "path": "/spec/initContainers", "value": [added]}]
    return [{"op": "add", "path": "/spec/initContainers/0", "value": added}]


def touch(pod: Json) -> list[Json]:
    """Change something that has nothing to do with images."""
    if pod["spec"].get("terminationGracePeriodSeconds") == 7:
        return []
    return [{"op": "add", "path": "/spec/terminationGracePeriodSeconds", "value": 7}]


def grow(pod: Json) -> list[Json]:
    """Append one more container each time that it is asked, which is not idempotent."""
    name = f"extra{len(pod['spec']['containers'])}"
    return [{"op": "add", "path": "/spec/containers/-", "value": {"name": name, "image": SIDECAR}}]


def overwrite(_pod: Json) -> list[Json]:
    """Replace the first image whatever it is, and the list of pull secrets with its own."""
    return [
        {"op": "replace", "path": "/spec/containers/0/image", "value": OVERWRITTEN},
        {"op": "add", "path": "/spec/imagePullSecrets", "value": [{"name": "of-the-other"}]},
    ]


WAYS: Final[dict[str, Callable[[Json], list[Json]]]] = {
    "sidecar": inject_sidecar,
    "first": prepend_init_container,
    "touch": touch,
    "grow": grow,
    "overwrite": overwrite,
}


async def answer(request: web.Request) -> web.Response:
    """Answer a review in the way that the path names."""
    review = await request.json()
    asked = review["request"]
    patch = WAYS[request.match_info["way"]](asked["object"])
    response: Json = {"uid": asked["uid"], "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return web.json_response(review | {"response": response})


def main(port: str, certificate: str, key: str) -> None:
    """Serve until told to end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(certificate), Path(key))
    app = web.Application()
    app.router.add_post("/{way}", answer)
    web.run_app(app, host="127.0.0.1", port=int(port), ssl_context=context, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
