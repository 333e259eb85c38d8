"""The comparison on kopf: its own webhook server and admission engine, with one mutating handler.

What kopf finds out in a cluster, that there are Pods, is told to it by hand; everything between the socket and the
handler is kopf's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path
from typing import Any

import kopf
from kopf._cogs.structs import ephemera, references
from kopf._core.engines import admission, indexing
from kopf._core.reactor import inventory

from bench.certificate import CERTIFICATE_FILE, KEY_FILE
from bench.webhook.plain import ANNOTATION, originals, rewritten
from bench.webhook.rules import Rules, read_rules
from rig.ports import free_port


async def serve(folder: Path) -> int:
    """Start it; returns the port."""
    logging.getLogger("kopf").setLevel(logging.WARNING)  # At INFO it writes a line for each review.
    port = free_port()
    server = kopf.WebhookServer(
        addr="127.0.0.1", port=port, certfile=folder / CERTIFICATE_FILE, pkeyfile=folder / KEY_FILE
    )
    listening = asyncio.Event()
    running = asyncio.ensure_future(_run(server, _engine(read_rules(folder)), listening))
    _kept.add(running)
    await listening.wait()
    return port


_kept: set[asyncio.Future[None]] = set()
"""The loop itself keeps no hold of what runs on it."""


async def _run(server: kopf.WebhookServer, engine: Any, listening: asyncio.Event) -> None:
    """Serve for ever: it listens from its first word on."""
    async for _ in server(engine):
        listening.set()


def _engine(rules: Rules) -> Any:
    """Return kopf's function for a review, put together as its operator does it."""
    registry = kopf.OperatorRegistry()
    kopf.on.mutate("", "v1", "pods", id="mutate", registry=registry)(_handler(rules))
    insights = references.Insights()
    insights.webhook_resources.add(
        references.Resource("", "v1", "pods", kind="Pod", singular="pod", namespaced=True, preferred=True)
    )
    return functools.partial(
        admission.serve_admission_request,
        settings=kopf.OperatorSettings(),
        memories=inventory.ResourceMemories(),
        memobase=ephemera.AnyMemo(ephemera.Memo()),
        registry=registry,
        insights=insights,
        indices=indexing.OperatorIndexers().indices,
    )


def _handler(rules: Rules) -> Any:
    """Return the handler: the rewrite as a merge patch, in which lists are whole."""

    def mutate(body: kopf.Body, namespace: str, patch: kopf.Patch, **_: Any) -> None:
        """Rewrite one Pod."""
        prefix = rules.prefixes.get(namespace)
        spec: Any = body["spec"]
        found = list(rewritten({"spec": spec}, prefix, rules.proxy)) if prefix else []
        if not found:
            return
        for name in {name for name, *_ in found}:
            images = {index: image for owner, index, _, image in found if owner == name}
            patch.spec[name] = [
                {**container, "image": images.get(index, container["image"])}
                for index, container in enumerate(spec[name])
            ]
        secrets, secret = list(spec.get("imagePullSecrets", ())), {"name": rules.secret}
        if secret not in secrets:
            patch.spec["imagePullSecrets"] = [*secrets, secret]
        patch.metadata.annotations[ANNOTATION] = originals(found)

    return mutate
