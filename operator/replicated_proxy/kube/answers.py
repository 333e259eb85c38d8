"""Reading what the API server, or a proxy before it, sends; whatever it is, the outcome is a value or an `ApiError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from kubernetes.aio.config import ConfigException

from replicated_proxy.core.objects import mapping_at, text_at
from replicated_proxy.kube.errors import ApiError, Unreachable, error_from_status

_LONGEST_EVENT: Final = 16 * 1024 * 1024  # etcd takes 1.5 MiB of an object; as JSON it is a few times as much at most.


@contextmanager
def unreachable() -> Iterator[None]:
    """Turn what a connection can fail with into our error; a token that cannot be read anew is part of it."""
    try:
        yield
    except HttpProcessingError as error:
        # Its text quotes what was sent, which may be a Secret.
        raise Unreachable(type(error).__name__) from None
    except (aiohttp.ClientError, ConfigException, OSError, TimeoutError, ValueError) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


async def read_error(response: aiohttp.ClientResponse) -> ApiError:
    """Read the error in an answer."""
    with unreachable():
        body = _decode(await response.read())
    return error_from_status(response.status, body, response.reason or "", response.headers.get("Retry-After", ""))


async def read_object(response: aiohttp.ClientResponse, request: str) -> dict[str, Any]:
    """Read the object that a request was answered with.

    One that is no object is never taken for an empty one: an empty listing would prove that everything is gone.
    """
    with unreachable():
        body = _decode(await response.read())
    if not isinstance(body, dict):
        raise Unreachable(f"the answer to {request} is no object")
    return body


async def read_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield a watch's events until its end; aiohttp's own lines end at 128 KiB, and a ConfigMap at 1 MiB does not."""
    begun = b""
    while chunk := await _read_chunk(response):
        *lines, begun = (begun + chunk).split(b"\n")
        for line in lines:
            yield _read_event(line)
        if len(begun) > _LONGEST_EVENT:
            raise Unreachable(f"an event of the watch has more than {_LONGEST_EVENT} bytes")
    if begun:
        raise Unreachable("an event of the watch is cut off")


async def _read_chunk(response: aiohttp.ClientResponse) -> bytes:
    """Read what has come, or wait for more; nothing at the end."""
    with unreachable():
        return await response.content.readany()


def _read_event(line: bytes) -> tuple[str, dict[str, Any]]:
    """Read one event; whoever goes on from it needs its resourceVersion."""
    event = _decode(line)
    kind, body = text_at(event, "type"), mapping_at(event, "object")
    if kind == "ERROR":
        code = body.get("code")
        raise error_from_status(code if isinstance(code, int) else 500, body, "watch error")
    if not kind or not text_at(body, "metadata", "resourceVersion"):
        raise Unreachable("an event of the watch is cut off, or is none")
    return kind, dict(body)


def read_items(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a page; `null` stands for none, and anything else is no page to conclude from."""
    items = page.get("items", "")
    items = [] if items is None else items
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unreachable("the answer to a listing is no list")
    return items


def _decode(raw: bytes) -> object:
    """Decode JSON; an answer that is none (a proxy's error page, a line cut off) decodes to nothing."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def can_read_depth(depth: int) -> bool:
    """Tell whether this Python decodes objects nested so deep; early 3.12 has a limit that cannot be raised."""
    return isinstance(_decode(b"[" * depth + b"]" * depth), list)
