"""A hostile registry tries each way in: nothing inside is reached, nothing secret is sent or logged."""

from __future__ import annotations

import logging

import pytest

from probing import INTERNAL, PRIVATE, PUBLIC, Surroundings, failed, targets
from replicated_proxy.core.images import parse_image
from replicated_proxy.detection.asking import Prober
from replicated_proxy.detection.dialing import Lookups
from rig.scripted_server import answer, by_path, in_turn

_IMAGE = "evil.test/my-org/api:v1"
_GRANTED = answer(200, body=b'{"token": "s3cret-token"}')
_OK = answer(200)

# Where an attacker would like to be taken, each with the address or name behind it.
_INSIDE = [
    pytest.param("https://169.254.169.254/latest/meta-data/", id="metadata"),
    pytest.param("https://127.0.0.1/", id="loopback"),
    pytest.param("https://[::1]/", id="IPv6 loopback"),
    pytest.param("https://[::ffff:169.254.169.254]/", id="mapped metadata"),
    pytest.param("https://[64:ff9b::a9fe:a9fe]/", id="translated metadata"),
    pytest.param("https://2130706433/", id="loopback as a number"),
    pytest.param("https://0x7f.1/", id="loopback in hexadecimal"),
    pytest.param("https://127.1/", id="loopback with parts left out"),
    pytest.param("https://0177.0.0.1/", id="loopback in octal"),
    pytest.param("https://①②⑦.⓪.⓪.①/", id="loopback in circled digits"),
    pytest.param("https://127.0.0.1./", id="loopback with a final dot"),
    pytest.param("https://10.96.0.1/", id="a cluster's Service"),
    pytest.param("https://inside.test/", id="a name that leads inside"),
    pytest.param("https://INSIDE.test/", id="the same in upper case"),
]
_REFUSED = [
    pytest.param("http://auth.test/", id="no TLS"),
    pytest.param("http://169.254.169.254/latest/meta-data/", id="metadata without TLS"),
    pytest.param("file:///etc/passwd", id="a file"),
    pytest.param("gopher://auth.test/", id="another scheme"),
    pytest.param("https://auth.test:8443/", id="another port"),
    pytest.param("https://auth.test:22/", id="another service's port"),
    pytest.param("https://user:pass@auth.test/", id="a user and a password"),
    pytest.param("https://user@auth.test/", id="a user"),
    pytest.param("https://", id="no host"),
    pytest.param("https://auth.test:99999/", id="no port"),
    pytest.param("https://[::1/", id="no URL"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize("realm", [*_INSIDE, *_REFUSED, pytest.param("/token", id="no scheme")])
async def test_realm_leads_nowhere_inside(surroundings: Surroundings, connected: list[str], realm: str) -> None:
    """A challenge cannot send us to an address, port or scheme that an image could not; the image is not internal."""
    challenge = f'WWW-Authenticate: Bearer realm="{realm}",service="x"'.encode().decode("latin-1")
    async with (
        surroundings.serve("evil.test", 1, answer(401, challenge)),
        surroundings.serve("auth.test", 2, _GRANTED) as auth,
        surroundings.serve_forbidden("inside.test", 1, _GRANTED) as inside,
    ):
        result = await surroundings.probe(_IMAGE)

    assert result in {failed("answer"), failed("name")}
    assert (auth.connections, inside.connections) == (0, 0)
    assert set(connected) == {surroundings.loopback.address(1)}


@pytest.mark.parametrize("location", [*_INSIDE, *_REFUSED])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_leads_nowhere_inside(
    surroundings: Surroundings, connected: list[str], location: str, status: int
) -> None:
    """Neither does a redirect of the manifest."""
    header = f"Location: {location}".encode().decode("latin-1")
    async with (
        surroundings.serve("evil.test", 1, answer(status, header)) as evil,
        surroundings.serve("auth.test", 2, _OK) as auth,
        surroundings.serve_forbidden("inside.test", 1, _OK) as inside,
    ):
        result = await surroundings.probe(_IMAGE)

    assert result in {failed("redirect"), failed("name")}
    assert (len(evil.heard), auth.connections, inside.connections) == (1, 0, 0)
    assert set(connected) == {surroundings.loopback.address(1)}


@pytest.mark.parametrize("location", [*_INSIDE, *_REFUSED])
async def test_redirect_of_a_token_leads_nowhere_inside(
    surroundings: Surroundings, connected: list[str], location: str
) -> None:
    """Nor one of the token server."""
    header = f"Location: {location}".encode().decode("latin-1")
    challenge = answer(401, 'WWW-Authenticate: Bearer realm="https://auth.test/token"')
    async with (
        surroundings.serve("evil.test", 1, challenge),
        surroundings.serve("auth.test", 2, answer(307, header)) as auth,
        surroundings.serve_forbidden("inside.test", 1, _GRANTED) as inside,
    ):
        result = await surroundings.probe(_IMAGE)

    assert result in {failed("redirect"), failed("name")}
    assert (len(auth.heard), inside.connections) == (1, 0)
    assert set(connected) == {surroundings.loopback.address(1), surroundings.loopback.address(2)}


@pytest.mark.parametrize(
    "image",
    [
        "inside.test/api",
        "127.0.0.1/api",
        "127.1/api",
        "0x7f.1/api",
        "169.254.169.254/latest/meta-data",
        "10.96.0.1/api",
        "[::1]/api",
        "[::ffff:a9fe:a9fe]/api",
        "localhost/api",
    ],
)
async def test_registry_on_somebodys_own_network_is_internal(
    surroundings: Surroundings, connected: list[str], image: str
) -> None:
    """Named or numbered, it is not even connected to."""
    surroundings.names["localhost"] = ["127.0.0.1", "::1"]
    async with surroundings.serve_forbidden("inside.test", 1, _OK):
        assert await surroundings.probe(image) == INTERNAL

    assert connected == []


async def test_only_permitted_ones_of_several_addresses_are_connected_to(
    surroundings: Surroundings, connected: list[str]
) -> None:
    """A name with an address inside and one outside is asked outside, whatever comes first."""
    async with (
        surroundings.serve("evil.test", 1, _OK),
        surroundings.serve_forbidden("inside.test", 1, _OK),
    ):
        inside, outside = surroundings.loopback.other_address(1), surroundings.loopback.address(1)
        surroundings.names["evil.test"] = ["169.254.169.254", inside, outside, "10.0.0.1", "::1"]
        assert await surroundings.probe(_IMAGE) == PUBLIC

    assert connected == [outside]


async def test_name_with_hundreds_of_addresses_is_tried_at_a_few(
    surroundings: Surroundings, connected: list[str]
) -> None:
    """DNS does not make us knock at every door."""
    surroundings.names["evil.test"] = [surroundings.loopback.address(number) for number in range(1, 250)]

    assert await surroundings.probe(_IMAGE) == failed("connection")
    assert len(set(connected)) == 2


async def test_internal_network_of_public_addresses_is_not_asked(
    surroundings: Surroundings, connected: list[str]
) -> None:
    """What an administrator calls internal is, although anybody could reach it."""
    surroundings.names["evil.test"] = ["52.216.0.1", "2606:4700::1"]

    result = await surroundings.probe(_IMAGE, internal_networks=("52.0.0.0/8", "2606:4700::/32"))

    assert (result, connected) == (INTERNAL, [])


async def test_address_that_was_judged_is_the_one_connected_to(
    surroundings: Surroundings, connected: list[str]
) -> None:
    """DNS that changes its answer after the look-up changes nothing: there is one look-up for each connection."""
    inside, outside = surroundings.loopback.other_address(1), surroundings.loopback.address(1)
    answers = [[outside], [inside], [inside]]
    closing = answer(401, "Connection: close", 'WWW-Authenticate: Bearer realm="https://evil.test/token"')
    async with (
        surroundings.serve("evil.test", 1, closing) as evil,
        surroundings.serve_forbidden("evil.test", 1, _GRANTED) as target,
    ):
        prober = Prober(
            surroundings.settings(), lookups=Lookups(lambda _: answers.pop(0)), port=surroundings.loopback.port
        )
        result = await prober.probe(parse_image(_IMAGE))
        await prober.close()

    assert (result, targets(evil)) == (failed("answer"), ["HEAD /v2/my-org/api/manifests/v1"])
    assert (target.connections, connected, len(answers)) == (0, [outside], 1)


async def test_socket_is_made_for_no_forbidden_address(surroundings: Surroundings, connected: list[str]) -> None:
    """Should a forbidden address ever get past the look-up, there is no socket for it."""
    async with (
        surroundings.serve_forbidden("inside.test", 1, _OK) as inside,
        surroundings.prober() as prober,
    ):
        surroundings.names["evil.test"] = [surroundings.loopback.address(1)]
        await prober.probe(parse_image(_IMAGE))
        resolver = prober._line._session.connector._resolver  # type: ignore[union-attr]
        resolver._rules = type(resolver._rules).parse(["0.0.0.0/0"], [])
        connected.clear()
        assert await prober.probe(parse_image("inside.test/api")) == failed("connection")

    assert (inside.connections, connected) == (0, [])


async def test_token_goes_to_the_host_that_asked_for_it_alone(surroundings: Surroundings) -> None:
    """A redirect takes it nowhere else; a second host that wants one too gets none."""
    challenge = answer(401, 'WWW-Authenticate: Bearer realm="https://auth.test/token"')
    async with (
        surroundings.serve("auth.test", 2, _GRANTED) as auth,
        surroundings.serve("thief.test", 3, challenge) as thief,
        surroundings.serve("evil.test", 1, in_turn(challenge, answer(307, "Location: https://thief.test/v2/"))) as evil,
    ):
        assert await surroundings.probe(_IMAGE) == failed("redirect")

    assert [heard.headers.get("authorization") for heard in evil.heard] == [None, "Bearer s3cret-token"]
    assert [heard.headers.get("authorization") for heard in thief.heard] == [None]
    assert len(auth.heard) == 1


async def test_nothing_of_the_environment_is_sent(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    """No netrc, no proxy variable, no cookie: a registry sees a stranger."""
    netrc = surroundings.folder / "netrc"
    netrc.write_text("machine evil.test login me password s3cret\ndefault login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    cookies = answer(401, "Set-Cookie: session=s3cret", 'WWW-Authenticate: Bearer realm="https://evil.test/token"')
    behave = by_path({"/token": _GRANTED}, in_turn(cookies, answer(403)))
    async with surroundings.serve("evil.test", 1, behave) as evil:
        assert await surroundings.probe(_IMAGE) == PRIVATE

    assert len(evil.heard) == 3
    assert all("cookie" not in heard.headers and "s3cret\n" not in str(heard.headers) for heard in evil.heard)
    assert [heard.headers.get("authorization") for heard in evil.heard] == [None, None, "Bearer s3cret-token"]
    assert set(connected) == {surroundings.loopback.address(1)}


@pytest.mark.parametrize("final", [_OK, answer(403), answer(500), answer(307, "Location: https://s3cret@evil.test/")])
async def test_nothing_of_tokens_and_realms_is_logged(
    surroundings: Surroundings, caplog: pytest.LogCaptureFixture, final: object
) -> None:
    """Not at any level, not by any library below."""
    challenge = answer(401, 'WWW-Authenticate: Bearer realm="https://evil.test/token?key=s3cret-key",service="s3cret"')
    behave = by_path({"/token": _GRANTED}, in_turn(challenge, final))  # type: ignore[arg-type]
    with caplog.at_level(logging.DEBUG):
        async with surroundings.serve("evil.test", 1, behave) as evil:
            await surroundings.probe(_IMAGE)

    assert len(evil.heard) == 3
    assert "s3cret" not in caplog.text
