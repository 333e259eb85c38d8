"""The conversation with a registry, against servers that speak HTTPS on the loopback interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pytest

from probing import MISSING, PRIVATE, PUBLIC, Surroundings, failed, targets
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from rig.scripted_server import Behaviour, answer, hang_up, in_turn, say

_DIGEST = "sha256:" + "ab" * 32
_MANIFEST = "/v2/my-org/api/manifests/v1"
_GRANTED = answer(200, "Content-Type: application/json", body=b'{"token": "abc"}')
_REALM = "https://auth.test/token?keep=this"
_BEARER = "WWW-Authenticate: Bearer realm"


def bearer(*parameters: str) -> Behaviour:
    """Refuse with a challenge that a token answers."""
    return answer(401, ",".join([f'{_BEARER}="{_REALM}"', *parameters]))


@dataclass(frozen=True)
class Case:
    """A registry, a token server, and what a probe makes of them."""

    registry: Sequence[Behaviour]
    expected: ProbeResult
    asked: Sequence[str] = (f"HEAD {_MANIFEST}",)
    token: Behaviour = _GRANTED


def challenged(*after: Behaviour) -> Sequence[Behaviour]:
    """Ask for a token first."""
    return [bearer(), *after]


_TWICE = (f"HEAD {_MANIFEST}", f"HEAD {_MANIFEST}")
_PINGED = (f"HEAD {_MANIFEST}", "GET /v2/")
_MODERN = "Content-Type: application/vnd.oci.image.index.v1+json"

_CASES = {
    "anybody may fetch it": Case([answer(200, _MODERN)], PUBLIC),
    "anybody may, with a type that says nothing": Case([answer(200, "Content-Type: application/octet-stream")], PUBLIC),
    "a page to log in is no manifest": Case([answer(200, "Content-Type: text/HTML; charset=utf-8")], failed("answer")),
    "forbidden at once": Case([answer(403)], PRIVATE),
    "Basic alone": Case([answer(401, 'WWW-Authenticate: Basic realm="x"')], PRIVATE),
    "Basic with a realm that is a URL": Case(
        [answer(401, 'WWW-Authenticate: Basic realm="https://ecr.test/",service="ecr.amazonaws.com"')], PRIVATE
    ),
    "Negotiate alone": Case([answer(401, "WWW-Authenticate: Negotiate")], PRIVATE),
    "no such manifest": Case([answer(404)], MISSING),
    "too many requests": Case([answer(429)], ProbeResult(ProbeOutcome.LIMITED)),
    "too many requests, seconds": Case(
        [answer(429, "Retry-After: 90")], ProbeResult(ProbeOutcome.LIMITED, retry_after=90)
    ),
    "too many requests, a year": Case(
        [answer(429, "Retry-After: 31536000")], ProbeResult(ProbeOutcome.LIMITED, retry_after=21_600)
    ),
    "too many requests, a date": Case(
        [answer(429, "Date: Sat, 21 Nov 2026 14:00:00 GMT", "Retry-After: Sat, 21 Nov 2026 14:02:00 GMT")],
        ProbeResult(ProbeOutcome.LIMITED, retry_after=120),
    ),
    "too many requests, a date that is over": Case(
        [answer(429, "Date: Sat, 21 Nov 2026 14:00:00 GMT", "Retry-After: Fri, 20 Nov 2026 14:02:00 GMT")],
        ProbeResult(ProbeOutcome.LIMITED),
    ),
    "too many requests, nonsense": Case([answer(429, "Retry-After: soon")], ProbeResult(ProbeOutcome.LIMITED)),
    "broken inside": Case([answer(500)], failed("answer")),
    "away for a moment": Case([answer(503, "Retry-After: 5")], failed("answer")),
    "nothing but a status that nobody knows": Case([answer(299)], failed("answer")),
    "no HEAD": Case([answer(405), answer(200)], PUBLIC, (f"HEAD {_MANIFEST}", f"GET {_MANIFEST}")),
    "HEAD not implemented": Case([answer(501), answer(404)], MISSING, (f"HEAD {_MANIFEST}", f"GET {_MANIFEST}")),
    "no GET either": Case([answer(405)], failed("answer"), (f"HEAD {_MANIFEST}", f"GET {_MANIFEST}")),
    "no HEAD, and a token": Case(
        [answer(405), *challenged(answer(200))],
        PUBLIC,
        (f"HEAD {_MANIFEST}", f"GET {_MANIFEST}", f"GET {_MANIFEST}"),
    ),
    "public with a token": Case(challenged(answer(200)), PUBLIC, _TWICE),
    "token that grants nothing": Case(challenged(bearer('error="insufficient_scope"')), PRIVATE, _TWICE),
    "forbidden with a token": Case(challenged(answer(403)), PRIVATE, _TWICE),
    "missing with a token": Case(challenged(answer(404)), MISSING, _TWICE),
    "limited with a token": Case(challenged(answer(429)), ProbeResult(ProbeOutcome.LIMITED), _TWICE),
    "token taken for expired (ECR Public)": Case(challenged(answer(400)), failed("answer"), _TWICE),
    "token server refuses with 401": Case(challenged(), PRIVATE, token=answer(401)),
    "token server refuses with 403": Case(challenged(), PRIVATE, token=answer(403)),
    "token server has too many requests": Case(
        challenged(), ProbeResult(ProbeOutcome.LIMITED, retry_after=7), token=answer(429, "Retry-After: 7")
    ),
    "token server knows nothing": Case(challenged(), failed("answer"), token=answer(404)),
    "token server is broken": Case(challenged(), failed("answer"), token=answer(500)),
    "token by its other name": Case(
        challenged(answer(200)), PUBLIC, _TWICE, token=answer(200, body=b'{"access_token": "abc", "expires_in": 300}')
    ),
    "token by both names": Case(
        challenged(answer(200)), PUBLIC, _TWICE, token=answer(200, body=b'{"token": "abc", "access_token": "def"}')
    ),
    "empty token": Case(challenged(), failed("answer"), token=answer(200, body=b'{"token": ""}')),
    "no token": Case(challenged(), failed("answer"), token=answer(200, body=b"{}")),
    "token that is a number": Case(challenged(), failed("answer"), token=answer(200, body=b'{"token": 1}')),
    "token that would end its header": Case(
        challenged(), failed("answer"), token=answer(200, body=b'{"token": "a\\r\\nX-Evil: 1"}')
    ),
    "no JSON": Case(challenged(), failed("answer"), token=answer(200, body=b"<html>")),
    "JSON that is no object": Case(challenged(), failed("answer"), token=answer(200, body=b'["abc"]')),
    "no UTF-8": Case(challenged(), failed("answer"), token=answer(200, body=b'{"token": "\xff"}')),
    "deep JSON": Case(challenged(), failed("answer"), token=answer(200, body=b'{"x":' + b"[" * 100_000)),
    "malformed challenge": Case([answer(401, f"{_BEARER}=https://auth.test/token")], failed("answer")),
    "Bearer without a realm": Case([answer(401, "WWW-Authenticate: Bearer")], failed("answer")),
    "Bearer after Basic": Case(
        [answer(401, f'WWW-Authenticate: Basic realm="x", Bearer realm="{_REALM}"'), answer(200)], PUBLIC, _TWICE
    ),
    "Bearer in a line of its own": Case(
        [answer(401, "WWW-Authenticate: Negotiate", f'{_BEARER}="{_REALM}"'), answer(200)], PUBLIC, _TWICE
    ),
    "no challenge, and the ping has one": Case(
        [answer(401), *challenged(answer(200))], PUBLIC, (*_PINGED, f"HEAD {_MANIFEST}")
    ),
    "no challenge, and the ping has none": Case([answer(401), answer(401)], PRIVATE, _PINGED),
    "no challenge, and the ping is fine": Case([answer(401), answer(200)], PRIVATE, _PINGED),
    "dropped once": Case([hang_up, answer(200)], PUBLIC, _TWICE),
    "dropped twice": Case([hang_up], failed("connection"), _TWICE),
    "no HTTP": Case([say("SSH-2.0-OpenSSH_9.6\r\n\r\n")], failed("answer")),
    "upgraded": Case([say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")], failed("answer")),
}


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
async def test_answers_are_understood(surroundings: Surroundings, case: Case) -> None:
    """Each answer means what the reference says, after the requests that it takes and no others."""
    async with (
        surroundings.serve("auth.test", 2, case.token) as token_server,
        surroundings.serve("quay.test", 1, in_turn(*case.registry)) as registry,
    ):
        result = await surroundings.probe("quay.test/my-org/api:v1")

    assert (result, list(targets(registry))) == (case.expected, list(case.asked))
    assert len(token_server.heard) <= 1


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ("quay.test/my-org/api:v1", "/v2/my-org/api/manifests/v1"),
        ("quay.test/my-org/api", "/v2/my-org/api/manifests/latest"),
        (f"quay.test/api@{_DIGEST}", f"/v2/api/manifests/{_DIGEST}"),
        (f"quay.test/api:v1@{_DIGEST}", f"/v2/api/manifests/{_DIGEST}"),
        ("quay.test/a/b__c/d-e.f:V1.0_x-Y", "/v2/a/b__c/d-e.f/manifests/V1.0_x-Y"),
        ("quay.test:443/api", "/v2/api/manifests/latest"),
    ],
)
async def test_manifest_is_asked_for_as_a_runtime_does(surroundings: Surroundings, image: str, target: str) -> None:
    """By digest, else by tag, else by `latest`; with every type that a manifest may have, and nothing of ours."""
    async with surroundings.serve("quay.test", 1, answer(200)) as registry:
        assert await surroundings.probe(image) == PUBLIC

    (heard,) = registry.heard
    assert (heard.method, heard.target) == ("HEAD", target)
    assert set(heard.headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert heard.headers["accept"].split(", ") == [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]


@pytest.mark.parametrize("image", ["nginx", "docker.io/nginx:latest", "index.docker.io/library/nginx"])
async def test_docker_hub_is_asked_where_its_api_is(surroundings: Surroundings, image: str) -> None:
    """Its registry has another name than its images."""
    async with surroundings.serve("registry-1.docker.io", 1, answer(200)) as registry:
        assert await surroundings.probe(image) == PUBLIC

    assert targets(registry) == ["HEAD /v2/library/nginx/manifests/latest"]


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ([], [("scope", "repository:my-org/api:pull")]),
        (['service="r.test"'], [("service", "r.test"), ("scope", "repository:my-org/api:pull")]),
        (['scope=""'], [("scope", "repository:my-org/api:pull")]),
        (['scope="aws"', "service=public.ecr.aws"], [("service", "public.ecr.aws"), ("scope", "aws")]),
        (
            ['scope="repository:my-org/api:pull  repository:other:pull,push"'],
            [("scope", "repository:my-org/api:pull"), ("scope", "repository:other:pull,push")],
        ),
        (['service="a b&c=d#e"'], [("service", "a b&c=d#e"), ("scope", "repository:my-org/api:pull")]),
    ],
)
async def test_token_is_asked_for_as_challenged(
    surroundings: Surroundings, parameters: list[str], query: list[tuple[str, str]]
) -> None:
    """The challenge's scopes, one by one, or one made from the repository; what the realm had stays, no secret goes."""
    async with (
        surroundings.serve("auth.test", 2, _GRANTED) as token_server,
        surroundings.serve("quay.test", 1, in_turn(bearer(*parameters), answer(200))) as registry,
    ):
        assert await surroundings.probe("quay.test/my-org/api:v1") == PUBLIC

    (heard,) = token_server.heard
    assert heard.method == "GET"
    assert parse_qsl(heard.target.partition("?")[2], keep_blank_values=True) == [("keep", "this"), *query]
    assert "authorization" not in heard.headers
    assert [each.headers.get("authorization") for each in registry.heard] == [None, "Bearer abc"]


async def test_first_of_two_tokens_is_sent(surroundings: Surroundings) -> None:
    """`token` goes before `access_token`."""
    token = answer(200, body=b'{"access_token": "second", "token": "first"}')
    async with (
        surroundings.serve("auth.test", 2, token),
        surroundings.serve("quay.test", 1, in_turn(bearer(), answer(200))) as registry,
    ):
        await surroundings.probe("quay.test/my-org/api:v1")

    assert registry.heard[-1].headers["authorization"] == "Bearer first"


async def test_connection_is_used_again(surroundings: Surroundings) -> None:
    """A registry is asked twice and over, for one TLS handshake."""
    behave = in_turn(bearer(), answer(200))
    async with (
        surroundings.serve("auth.test", 2, _GRANTED),
        surroundings.serve("quay.test", 1, behave) as registry,
        surroundings.prober() as prober,
    ):
        for image in ("quay.test/my-org/api:v1", "quay.test/my-org/worker"):
            assert await prober.probe(parse_image(image)) == PUBLIC

    assert (len(registry.heard), registry.connections) == (3, 1)


async def test_connection_that_was_dropped_while_idle_costs_nothing(surroundings: Surroundings) -> None:
    """A registry that closes after each answer is asked on new connections."""
    closing = say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    async with surroundings.serve("quay.test", 1, closing) as registry, surroundings.prober() as prober:
        for _ in range(3):
            assert await prober.probe(parse_image("quay.test/my-org/api:v1")) == PUBLIC

    assert registry.connections == 3


@pytest.mark.parametrize(
    "image",
    ["quay.test:5000/api", "quay.test:80/api", "quay.test:99999/api", f"{'a.' * 130}test/api", "my_host.test/api"],
)
async def test_reference_that_names_no_registry_is_not_asked(surroundings: Surroundings, image: str) -> None:
    """One port, and names that DNS can have."""
    async with surroundings.serve("quay.test", 1, answer(200)) as registry:
        assert await surroundings.probe(image) == failed("name")

    assert (registry.connections, surroundings.asked) == (0, [])
