"""The comparison that anybody would write in Python: an aiohttp application, `json`, and the same rewrite and patch."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from aiohttp import web

from bench.certificate import certificate_context
from bench.webhook.plain import Json, patch_pod
from bench.webhook.rules import read_rules


async def serve(folder: Path) -> int:
    """Start it; returns the port."""
    rules = read_rules(folder)

    async def handle(request: web.Request) -> web.Response:
        """Answer one review."""
        review = json.loads(await request.read())["request"]
        response: Json = {"uid": review["uid"], "allowed": True}
        patch = patch_pod(review["object"], review["namespace"], rules)
        if patch:
            response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
            response["patchType"] = "JSONPatch"
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    application = web.Application()
    application.router.add_post("/mutate", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate_context(folder)).start()
    return int(runner.addresses[0][1])
