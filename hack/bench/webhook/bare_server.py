"""The floor under every webhook on aiohttp: its low-level server with a handler that decides nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
from aiohttp import web

from bench.certificate import certificate_context
from replicated_proxy.webhook.answers import encode_unchanged


async def serve(folder: Path) -> int:
    """Start it; returns the port."""
    decode = msgspec.json.decode

    async def handle(request: web.BaseRequest) -> web.Response:
        """Decode everything, and answer with fixed bytes."""
        review = decode(await request.read())
        return web.Response(body=encode_unchanged(review["request"]["uid"]), content_type="application/json")

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate_context(folder)).start()
    return int(runner.addresses[0][1])
