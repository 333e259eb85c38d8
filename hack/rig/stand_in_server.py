"""The stand-in for Replicated's service: ``python -m rig.stand_in_server SETTINGS``.

It does what a customer's pulls can see of https://proxy.replicated.com: the user LICENSE_ID with a license as the
password, the application's slug in the path, and private images of other registries behind it, fetched with
credentials that the customer never sees. Under the name registry.replicated.com it has what vendors pushed to
Replicated itself, below the application's slug. A license is good for its own application's paths, and for no other's.
Nothing else of the real service is here.
"""

import asyncio
import base64
import binascii
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from rig.layout import REGISTRY_NAME
from rig.stand_in import AnsweredRequest, KnownLicense, log_line, read_licenses

USER = "LICENSE_ID"
_RESOURCE = r"/(?P<resource>(?:manifests|blobs|tags)/[^/]+)"
_PROXY_PATH = re.compile(r"/v2/proxy/(?P<slug>[^/]+)/(?P<image>.+)" + _RESOURCE)
_HOSTED_PATH = re.compile(r"/v2/(?P<slug>[^/]+)/(?P<image>.+)" + _RESOURCE)
_REQUEST_HEADERS = ("Accept", "Range", "If-None-Match")
_RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "ETag",
)
_CHUNK_BYTES = 1 << 16
_SLUG = web.RequestKey("slug", str)


@dataclass(frozen=True, slots=True)
class UpstreamRegistry:
    """A private registry and the credentials for it."""

    url: str
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class ImageRoute:
    """What a path asks for: something of an image, by which application, and where the image lies."""

    slug: str
    host: str
    repository: str
    resource: str


def parse_route(name: str, path: str) -> ImageRoute | None:
    """Read a path of one of the service's two names: the proxy or Replicated's own registry."""
    return _parse_hosted(path) if name == REGISTRY_NAME else _parse_proxied(path)


def _parse_hosted(path: str) -> ImageRoute | None:
    """Read ``/v2/<slug>/<image>/…``."""
    match = _HOSTED_PATH.fullmatch(path)
    return match and ImageRoute(match["slug"], REGISTRY_NAME, f"{match['slug']}/{match['image']}", match["resource"])


def _parse_proxied(path: str) -> ImageRoute | None:
    """Read ``/v2/proxy/<slug>/<host>/<repository>/…``; a path without a host means Docker Hub, as for Docker."""
    match = _PROXY_PATH.fullmatch(path)
    if match is None:
        return None
    first, _, rest = match["image"].partition("/")
    if rest and (first == "localhost" or any(mark in first for mark in ".:")):
        host, repository = first, rest
    else:
        host, repository = "docker.io", match["image"] if rest else f"library/{first}"
    if host == REGISTRY_NAME:
        return None  # Not an external registry: the license for it is asked for under its own name.
    return ImageRoute(match["slug"], host, repository, match["resource"])


def license_id_of(authorization: str) -> str | None:
    """Return the password of a Basic header whose user is LICENSE_ID."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if separator and user == USER else None


class LicenseBook:
    """The known licenses, read again when their file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._licenses: dict[str, KnownLicense] = {}

    def slug_of(self, license_id: str | None) -> str | None:
        """Return the application of a valid license."""
        stat = self._path.stat() if self._path.exists() else None
        # Every change makes a new file, so its inode tells as well where the clock is too coarse.
        stamp = (stat.st_ino, stat.st_mtime_ns) if stat else None
        if stamp != self._stamp:
            self._stamp, self._licenses = stamp, read_licenses(self._path)
        known = self._licenses.get(license_id or "")
        return known["slug"] if known and not known["revoked"] else None


class Service:
    """Answers the requests."""

    def __init__(
        self, licenses: LicenseBook, upstreams: Mapping[str, UpstreamRegistry], trust: ssl.SSLContext | bool
    ) -> None:
        self._licenses = licenses
        self._upstreams = upstreams
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[_logged])
        app.cleanup_ctx.append(self._with_session)
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _with_session(self, _app: web.Application) -> AsyncIterator[None]:
        # Bytes pass as they are: a layer is compressed already, and its digest is over what is sent.
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            yield

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        slug = self._licenses.slug_of(license_id_of(request.headers.get("Authorization", "")))
        if slug is None:
            challenge = {"WWW-Authenticate": 'Basic realm="Replicated"'}
            return _error(401, "UNAUTHORIZED", "authentication required", challenge)
        request[_SLUG] = slug
        if request.path in {"/v2", "/v2/"}:
            return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        route = parse_route(request.url.host or "", request.path)
        if route is None:
            return _error(404, "NAME_UNKNOWN", "no such repository")
        if route.slug != slug:
            return _error(403, "DENIED", "the license is for another application")
        if route.host not in self._upstreams:
            return _error(404, "NAME_UNKNOWN", f"no external registry {route.host} is linked")
        return await self._forward(request, route, self._upstreams[route.host])

    async def _forward(self, request: web.Request, route: ImageRoute, upstream: UpstreamRegistry) -> web.StreamResponse:
        if self._session is None:
            raise RuntimeError("the service was not started")
        url = f"{upstream.url}/v2/{route.repository}/{route.resource}"
        credentials = aiohttp.encode_basic_auth(upstream.user, upstream.password)
        headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
        headers["Authorization"] = credentials
        async with self._session.request(request.method, url, headers=headers, ssl=self._trust) as answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                return _refusal(answer.status)
            response = web.StreamResponse(status=answer.status)
            for name in _RESPONSE_HEADERS:
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            await response.prepare(request)
            if request.method != "HEAD":
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    await response.write(chunk)
            await response.write_eof()
            return response


def _refusal(status: int) -> web.Response:
    """Translate the upstream's refusal; its own words might name what the customer is not to know."""
    if status == HTTPStatus.NOT_FOUND:
        return _error(404, "MANIFEST_UNKNOWN", "not known to the external registry")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _error(403, "DENIED", "the external registry refused")
    return _error(502, "UNAVAILABLE", "the external registry failed")


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in the form that the distribution specification gives it."""
    body = {"errors": [{"code": code, "message": message}]}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def _logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    slug = request.get(_SLUG, "-")
    print(log_line(AnsweredRequest(request.method, request.path, response.status, slug)), flush=True)
    return response


async def _serve(settings: Mapping[str, object]) -> None:
    upstreams = {host: UpstreamRegistry(**each) for host, each in dict(settings["upstreams"]).items()}  # type: ignore[call-overload]
    trust = ssl.create_default_context(cafile=str(settings["certificate_authority"]))
    service = Service(LicenseBook(Path(str(settings["licenses"]))), upstreams, trust)
    runner = web.AppRunner(service.application(), access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(settings["certificate"]), str(settings["key"]))
    await web.TCPSite(runner, str(settings["address"]), 443, ssl_context=context).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text())))
