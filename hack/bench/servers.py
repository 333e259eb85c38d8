"""The servers under test, each in a process of its own: `python -m bench.servers ours|bare FOLDER`.

Both speak TLS with the same certificate by the same libraries; `bare` decodes the review and answers with fixed bytes:
the floor under every webhook on aiohttp. The first line on standard output is the port.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from bench.certificate import NAMESPACE, SERVICE, read_secret
from bench.review import NAMESPACE as POD_NAMESPACE
from replicated_proxy.certificates.issuing import webhook_name
from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.routes import Route, RoutingTable
from replicated_proxy.core.routing_documents import DATA_KEY, encode_table
from replicated_proxy.settings import Settings, WebhookSettings
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.answers import encode_unchanged
from replicated_proxy.webhook.handler import ReviewHandler
from replicated_proxy.webhook.material import MaterialHolder
from replicated_proxy.webhook.server import ReviewServer
from replicated_proxy.webhook.tables import TableHolder


async def serve_ours(folder: Path) -> int:
    """Start the product's server with a table and a certificate given by hand; returns the port."""
    settings = Settings(webhook=WebhookSettings(port=0, bind="127.0.0.1"))
    metrics, tables = Metrics(), TableHolder()
    material = _material(folder, metrics)
    tables.update({"data": {DATA_KEY: encode_table(_table(settings))}})
    server = ReviewServer(settings.webhook, material.context, ReviewHandler(tables, settings.policy(), Known(), metrics).answer)
    await server.start()
    return server.port


async def serve_bare(folder: Path) -> int:
    """Start aiohttp's own low-level server with a handler that decides nothing; returns the port."""
    decode = msgspec.json.decode

    async def handle(request: web.BaseRequest) -> web.Response:
        review = decode(await request.read())
        return web.Response(body=encode_unchanged(review["request"]["uid"]), content_type="application/json")

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    context = _material(folder, Metrics()).context
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return int(runner.addresses[0][1])


def _material(folder: Path, metrics: Metrics) -> MaterialHolder:
    material = MaterialHolder(webhook_name(SERVICE, NAMESPACE), lambda: datetime.now(UTC), metrics)
    material.update(read_secret(folder))
    return material


def _table(settings: Settings) -> RoutingTable:
    """One License that covers the Pod's namespace by name, among twenty that cover others."""
    hosts = Hosts("proxy.replicated.com", "registry.replicated.com")
    routes = tuple(
        Route(f"team-{number}/license", f"uid-{number}", f"team-{number}", f"app-{number}", hosts)
        for number in range(20)
    )
    return RoutingTable(settings.secret.name, routes, {POD_NAMESPACE: (10,)})


async def _main(name: str, folder: Path) -> None:
    port = await (serve_ours if name == "ours" else serve_bare)(folder)
    print(port, flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {0})
    uvloop.run(_main(sys.argv[1], Path(sys.argv[2])))
