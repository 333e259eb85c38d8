"""Registries that send us elsewhere, and egress proxies that stand in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from probing import INTERNAL, MISSING, PRIVATE, PUBLIC, Surroundings, failed, targets
from replicated_proxy.core.probes import ProbeResult
from rig.egress_proxy import EgressProxy
from rig.ports import free_port
from rig.scripted_server import Behaviour, answer, by_path, in_turn

_IMAGE = "quay.test/my-org/api:v1"
_MANIFEST = "/v2/my-org/api/manifests/v1"
_GRANTED = answer(200, body=b'{"token": "abc"}')
_CHALLENGE = answer(401, 'WWW-Authenticate: Bearer realm="https://auth.test/token"')


def to(location: str, status: int = 307) -> Behaviour:
    """Redirect."""
    return answer(status, f"Location: {location}")


def hops(count: int) -> Behaviour:
    """Redirect so many times on the same host, and then answer."""
    return in_turn(*[to(f"/hop/{number}") for number in range(count)], answer(200))


@pytest.mark.parametrize(
    ("behave", "expected", "asked"),
    [
        pytest.param(
            by_path({"/v2/": to("/other"), "/other": answer(200)}),
            PUBLIC,
            [f"HEAD {_MANIFEST}", "HEAD /other"],
            id="a path",
        ),
        pytest.param(
            by_path({_MANIFEST: to("../tags/v1"), "/v2/my-org/api/tags/v1": answer(404)}),
            MISSING,
            [f"HEAD {_MANIFEST}", "HEAD /v2/my-org/api/tags/v1"],
            id="a relative path",
        ),
        pytest.param(
            by_path({"/v2/": to("https://quay.test:443/other", 301), "/other": answer(403)}),
            PRIVATE,
            [f"HEAD {_MANIFEST}", "HEAD /other"],
            id="the port written out",
        ),
        pytest.param(
            by_path({"/v2/": to("/login#start", 302), "/login": answer(200, "Content-Type: text/html")}),
            failed("answer"),
            [f"HEAD {_MANIFEST}", "HEAD /login"],
            id="a page to log in",
        ),
        pytest.param(
            by_path({"/v2/": to(_MANIFEST)}), failed("redirect"), [f"HEAD {_MANIFEST}"] * 6, id="round in a circle"
        ),
        pytest.param(answer(307), failed("redirect"), [f"HEAD {_MANIFEST}"], id="nowhere"),
        pytest.param(answer(304), failed("answer"), [f"HEAD {_MANIFEST}"], id="not modified, which was not asked"),
    ],
)
async def test_redirects_are_followed_on_the_same_host(
    surroundings: Surroundings, behave: Behaviour, expected: ProbeResult, asked: Sequence[str]
) -> None:
    """By the rules of URLs, and not for ever."""
    async with surroundings.serve("quay.test", 1, behave) as registry:
        assert await surroundings.probe(_IMAGE) == expected

    assert targets(registry) == asked


@pytest.mark.parametrize(("count", "expected"), [(5, PUBLIC), (6, failed("redirect"))])
async def test_five_redirects_are_followed(surroundings: Surroundings, count: int, expected: ProbeResult) -> None:
    """A sixth is one too many."""
    async with surroundings.serve("quay.test", 1, by_path({}, hops(count))) as registry:
        assert await surroundings.probe(_IMAGE) == expected

    assert len(registry.heard) == 6


async def test_redirects_of_a_whole_probe_are_counted_together(surroundings: Surroundings) -> None:
    """Not five for the manifest, five for the token and five for the manifest again."""
    behave = in_turn(to("/1"), to("/2"), _CHALLENGE, to("/3"), to("/4"), answer(200))
    token = in_turn(to("/5"), to("/6"), _GRANTED)
    async with (
        surroundings.serve("quay.test", 1, behave) as registry,
        surroundings.serve("auth.test", 2, token) as auth,
    ):
        assert await surroundings.probe(_IMAGE) == failed("redirect")

    assert (len(registry.heard), len(auth.heard)) == (5, 3)


async def test_redirect_to_another_registry_is_followed_and_its_challenge_answered(surroundings: Surroundings) -> None:
    """As registry.k8s.io does; the token is for the host that asked, and that host is asked again directly."""
    scope = 'WWW-Authenticate: Bearer realm="https://auth.test/token",scope="repository:mirror/api:pull"'
    async with (
        surroundings.serve("quay.test", 1, to("https://mirror.test/v2/mirror/api/manifests/v1")) as registry,
        surroundings.serve("mirror.test", 2, in_turn(answer(401, scope), answer(200))) as mirror,
        surroundings.serve("auth.test", 3, _GRANTED) as auth,
    ):
        assert await surroundings.probe(_IMAGE) == PUBLIC

    assert targets(registry) == [f"HEAD {_MANIFEST}"]
    assert targets(mirror) == ["HEAD /v2/mirror/api/manifests/v1"] * 2
    assert [heard.target for heard in auth.heard] == ["/token?scope=repository:mirror/api:pull"]
    assert [heard.headers.get("authorization") for heard in mirror.heard] == [None, "Bearer abc"]


async def test_token_server_may_redirect(surroundings: Surroundings) -> None:
    """By the same rules, and the query is in the place that it names."""
    token = by_path({"/token": to("/v3/token?a=b"), "/v3/token": _GRANTED})
    async with (
        surroundings.serve("quay.test", 1, in_turn(_CHALLENGE, answer(200))),
        surroundings.serve("auth.test", 2, token) as auth,
    ):
        assert await surroundings.probe(_IMAGE) == PUBLIC

    assert [heard.target for heard in auth.heard][1] == "/v3/token?a=b"


async def test_host_that_a_redirect_names_may_not_exist(surroundings: Surroundings) -> None:
    """That says nothing about the image."""
    async with surroundings.serve("quay.test", 1, to("https://nowhere.test/")):
        assert await surroundings.probe(_IMAGE) == failed("name")


async def test_egress_proxy_looks_names_up_and_carries_the_connection(
    surroundings: Surroundings, connected: list[str]
) -> None:
    """We ask it for a name, look nothing but its own name up, and check the registry's certificate all the same."""
    port = free_port()
    routes = {
        f"{name}:{surroundings.loopback.port}": (surroundings.loopback.address(number), surroundings.loopback.port)
        for number, name in ((1, "quay.example.com"), (2, "auth.example.com"))
    }
    challenge = answer(401, 'WWW-Authenticate: Bearer realm="https://auth.example.com/token"')
    async with (
        surroundings.serve("quay.example.com", 1, in_turn(challenge, answer(200))),
        surroundings.serve("auth.example.com", 2, _GRANTED),
        EgressProxy("127.0.0.1", port, routes) as proxy,
    ):
        surroundings.names = {"proxy.internal": ["127.0.0.1"]}
        result = await surroundings.probe(
            "quay.example.com/my-org/api:v1", http_proxy=f"http://proxy.internal:{port}", allowed_networks=()
        )

    assert result == PUBLIC
    assert set(proxy.targets) == set(routes)
    assert set(surroundings.asked) == {"proxy.internal"}
    assert set(connected) == {"127.0.0.1", *(address for address, _ in routes.values())}  # The latter by the proxy.
    assert not any("authorization" in head.lower() for head in proxy.heads)


@pytest.mark.parametrize(
    "image",
    [
        "localhost/api",
        "registry.default.svc/api",
        "registry.default.svc.cluster.local/api",
        "nas.local/api",
        "10.0.0.1/api",
        "127.1/api",
        "169.254.169.254/api",
    ],
)
async def test_egress_proxy_is_not_asked_for_what_is_inside(surroundings: Surroundings, image: str) -> None:
    """Names are judged where addresses cannot be."""
    port = free_port()
    async with EgressProxy("127.0.0.1", port, {}) as proxy:
        assert await surroundings.probe(image, http_proxy=f"http://127.0.0.1:{port}") == INTERNAL

    assert proxy.heads == []


@pytest.mark.parametrize("realm", ["https://vault.default.svc/token", "https://10.0.0.1/token", "https://metadata/"])
async def test_answers_lead_no_egress_proxy_inside(surroundings: Surroundings, realm: str) -> None:
    """Realms and redirects are held to the same rule."""
    port = free_port()
    route = (surroundings.loopback.address(1), surroundings.loopback.port)
    challenge = answer(401, f'WWW-Authenticate: Bearer realm="{realm}"')
    async with (
        surroundings.serve("quay.example.com", 1, challenge),
        EgressProxy("127.0.0.1", port, {f"quay.example.com:{surroundings.loopback.port}": route}) as proxy,
    ):
        result = await surroundings.probe("quay.example.com/api", http_proxy=f"http://127.0.0.1:{port}")

    assert (result, len(proxy.heads)) == (failed("answer"), 1)


async def test_egress_proxy_that_refuses_is_no_answer(surroundings: Surroundings) -> None:
    """Nor is one that is not there."""
    port = free_port()
    async with EgressProxy("127.0.0.1", port, {}) as proxy:
        assert await surroundings.probe("quay.example.com/api", http_proxy=f"http://127.0.0.1:{port}") == failed(
            "connection"
        )
    assert len(proxy.heads) == 1

    assert await surroundings.probe("quay.example.com/api", http_proxy=f"http://127.0.0.1:{port}") == failed(
        "connection"
    )
