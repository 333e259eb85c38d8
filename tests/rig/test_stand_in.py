"""The stand-in for Replicated's service: what a customer's pulls can see of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rig.errors import RigError
from rig.stand_in import AnsweredRequest, StandIn, log_line, parse_log_line
from rig.stand_in_server import ImageRoute, LicenseBook, Service, UpstreamRegistry, license_id_of, parse_route

_MANIFEST = b'{"schemaVersion": 2}'
_REGISTRY = "registry.replicated.com"
_API = "/v2/proxy/my-kots-app/quay.io/my-org/api"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"{_API}/manifests/v1.0.1", ImageRoute("my-kots-app", "quay.io", "my-org/api", "manifests/v1.0.1")),
        (f"{_API}/blobs/sha256:ab", ImageRoute("my-kots-app", "quay.io", "my-org/api", "blobs/sha256:ab")),
        (f"{_API}/tags/list", ImageRoute("my-kots-app", "quay.io", "my-org/api", "tags/list")),
        ("/v2/proxy/a/localhost:5000/b/manifests/1", ImageRoute("a", "localhost:5000", "b", "manifests/1")),
        ("/v2/proxy/a/nginx/manifests/1", ImageRoute("a", "docker.io", "library/nginx", "manifests/1")),
        ("/v2/proxy/a/org/app/manifests/1", ImageRoute("a", "docker.io", "org/app", "manifests/1")),
        # A repository may hold a component of that name: the last one counts.
        ("/v2/proxy/a/quay.io/x/manifests/y/manifests/1", ImageRoute("a", "quay.io", "x/manifests/y", "manifests/1")),
        ("/v2/proxy/a/manifests/1", None),
        ("/v2/proxy/a/registry.replicated.com/b/image/manifests/1", None),
        ("/v2/other/a/quay.io/b/manifests/1", None),
        (f"{_API}/uploads/1", None),
    ],
)
def test_routes_are_read(path: str, route: ImageRoute | None) -> None:
    """Slug, host, repository and what is asked of it."""
    assert parse_route("proxy.replicated.com", path) == route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/a/image/manifests/1", ImageRoute("a", _REGISTRY, "a/image", "manifests/1")),
        ("/v2/a/deep/image/blobs/sha256:ab", ImageRoute("a", _REGISTRY, "a/deep/image", "blobs/sha256:ab")),
        # Here it is an application's name like any other.
        ("/v2/proxy/b/image/manifests/1", ImageRoute("proxy", _REGISTRY, "proxy/b/image", "manifests/1")),
        ("/v2/a/manifests/1", None),
        ("/v2/", None),
    ],
)
def test_routes_of_replicateds_own_registry_are_read(path: str, route: ImageRoute | None) -> None:
    """The application's slug is part of the repository's name."""
    assert parse_route(_REGISTRY, path) == route


@pytest.mark.parametrize(
    ("header", "license_id"),
    [
        (aiohttp.encode_basic_auth("LICENSE_ID", "abc"), "abc"),
        (aiohttp.encode_basic_auth("somebody", "abc"), None),
        ("Bearer abc", None),
        ("Basic ???", None),
        ("", None),
    ],
)
def test_license_is_the_password_of_one_user(header: str, license_id: str | None) -> None:
    """Nothing else is a license."""
    assert license_id_of(header) == license_id


def test_log_lines_are_read_back() -> None:
    """The demo shows who pulled what; other output of the process is no request."""
    request = AnsweredRequest("GET", f"{_API}/manifests/1", 200, "my-kots-app")
    assert parse_log_line(log_line(request)) == request
    assert parse_log_line("Traceback (most recent call last):") is None


@dataclass(frozen=True)
class Proxy:
    """A running stand-in with a fake upstream behind it."""

    client: TestClient[web.Request, web.Application]
    stand_in: StandIn
    upstream_requests: list[web.Request]

    async def get(
        self, path: str, license_id: str = "abc", method: str = "GET", name: str = "proxy.replicated.com"
    ) -> aiohttp.ClientResponse:
        """Ask as a container runtime with a pull secret does."""
        headers = {"Authorization": aiohttp.encode_basic_auth("LICENSE_ID", license_id), "Host": name}
        return await self.client.request(method, path, headers=headers)


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """A stand-in that knows one license, before an upstream that wants a password."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        if request.headers.get("Authorization") != aiohttp.encode_basic_auth("robot", "s3cret"):
            return web.Response(status=401, text="robot needed")
        if not request.path.startswith(("/v2/my-org/api/", "/v2/my-kots-app/tool/", "/v2/other-app/tool/")):
            return web.Response(status=404, text="internal detail")
        headers = {"Docker-Content-Digest": "sha256:ab", "X-Internal": "detail"}
        return web.Response(body=_MANIFEST, headers=headers, content_type="application/vnd.oci.image.manifest.v1+json")

    upstream = web.Application()
    upstream.router.add_get("/{path:.*}", answer)
    stand_in = StandIn(tmp_path / "licenses.json", tmp_path / "log")
    stand_in.issue("abc", "my-kots-app")
    async with TestServer(upstream) as server:
        url = str(server.make_url("")).rstrip("/")
        registries = {
            "quay.io": UpstreamRegistry(url, "robot", "s3cret"),
            "ghcr.io": UpstreamRegistry(url, "robot", "wrong"),
            _REGISTRY: UpstreamRegistry(url, "robot", "s3cret"),
        }
        service = Service(LicenseBook(stand_in.licenses_file), registries, trust=True)
        async with TestClient(TestServer(service.application())) as client:
            yield Proxy(client, stand_in, seen)


async def test_known_license_pulls(proxy: Proxy) -> None:
    """The bytes arrive as they are, with the headers that a runtime needs and no others."""
    response = await proxy.get(f"{_API}/manifests/v1.0.1")
    assert (response.status, await response.read()) == (200, _MANIFEST)
    assert response.headers["Docker-Content-Digest"] == "sha256:ab"
    assert "X-Internal" not in response.headers


async def test_head_has_the_length_and_no_body(proxy: Proxy) -> None:
    """A runtime asks with HEAD first."""
    response = await proxy.get(f"{_API}/manifests/v1.0.1", method="HEAD")
    assert (response.status, response.headers["Content-Length"]) == (200, str(len(_MANIFEST)))


async def test_customers_password_never_reaches_the_upstream(proxy: Proxy) -> None:
    """The upstream sees the proxy's own credentials only."""
    await proxy.get(f"{_API}/manifests/v1.0.1")
    sent = [request.headers["Authorization"] for request in proxy.upstream_requests]
    assert sent == [aiohttp.encode_basic_auth("robot", "s3cret")]


@pytest.mark.parametrize("path", ["/v2/", f"{_API}/manifests/v1.0.1", "/v2/unknown"])
async def test_without_a_license_everything_is_challenged(proxy: Proxy, path: str) -> None:
    """Basic, as containerd understands it, and an error body in the form of the specification."""
    response = await proxy.client.get(path)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic ")
    assert (await response.json())["errors"][0]["code"] == "UNAUTHORIZED"
    assert proxy.upstream_requests == []


async def test_revoked_license_is_refused_until_restored(proxy: Proxy) -> None:
    """The change takes effect with the next request."""
    assert (await proxy.get("/v2/")).status == 200
    proxy.stand_in.revoke("abc")
    assert (await proxy.get("/v2/")).status == 401
    proxy.stand_in.restore("abc")
    assert (await proxy.get("/v2/")).status == 200
    with pytest.raises(RigError, match="knows no license"):
        proxy.stand_in.revoke("unknown")


APPLICATIONS = {"abc": "my-kots-app", "second": "my-kots-app", "xyz": "other-app"}


@pytest.mark.parametrize("slug", ["my-kots-app", "other-app"])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("proxy.replicated.com", "/v2/proxy/{slug}/quay.io/my-org/api/manifests/v1"),
        (_REGISTRY, "/v2/{slug}/tool/manifests/v1"),
    ],
)
async def test_license_is_good_for_its_own_application_only(proxy: Proxy, name: str, path: str, slug: str) -> None:
    """Every license of an application pulls its images by both names, and every other's license is refused."""
    for license_id, application in APPLICATIONS.items():
        proxy.stand_in.issue(license_id, application)

    statuses = {one: (await proxy.get(path.format(slug=slug), one, name=name)).status for one in APPLICATIONS}

    assert statuses == {one: 200 if application == slug else 403 for one, application in APPLICATIONS.items()}


async def test_revoking_a_license_leaves_the_others(proxy: Proxy) -> None:
    """Also another license of the same application goes on."""
    for license_id, application in APPLICATIONS.items():
        proxy.stand_in.issue(license_id, application)
    proxy.stand_in.revoke("abc")

    statuses = {one: (await proxy.get("/v2/", one)).status for one in APPLICATIONS}

    assert statuses == {"abc": 401, "second": 200, "xyz": 200}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/proxy/other-app/quay.io/my-org/api/manifests/1", 403, "DENIED"),
        ("/v2/proxy/my-kots-app/quay.io/my-org/other/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/proxy/my-kots-app/gcr.io/my-org/api/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/proxy/my-kots-app/ghcr.io/my-org/api/manifests/1", 403, "DENIED"),
        ("/v2/my-kots-app/image/manifests/1", 404, "NAME_UNKNOWN"),
    ],
)
async def test_refusals_say_nothing_of_the_inside(proxy: Proxy, path: str, status: int, code: str) -> None:
    """Our words and codes, never the upstream's."""
    response = await proxy.get(path)
    assert (response.status, (await response.json())["errors"][0]["code"]) == (status, code)
    assert "WWW-Authenticate" not in response.headers
    text = await response.text()
    assert not any(word in text for word in ("robot", "internal"))


async def test_requests_are_logged_without_the_password(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: method, path, status, slug."""
    await proxy.get(f"{_API}/manifests/v1.0.1")
    await proxy.get("/v2/", license_id="unknown")
    printed = capsys.readouterr().out
    assert printed.splitlines() == [f"GET {_API}/manifests/v1.0.1 200 my-kots-app", "GET /v2/ 401 -"]
    assert "abc" not in printed
