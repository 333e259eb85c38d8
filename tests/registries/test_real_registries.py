"""What a probe makes of the real distribution registry, in each way that it can be set up."""

from __future__ import annotations

import pytest

from probing import MISSING, PRIVATE, PUBLIC, Surroundings, failed
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.probes import ProbeResult
from rig.authority import KeyPair
from rig.token_server import TokenServer

pytestmark = pytest.mark.registry

_ABSENT = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("open.test/my-org/public:v1", PUBLIC),
        ("open.test/library/official", PUBLIC),
        ("open.test/my-org/public:v2", MISSING),
        ("open.test/my-org/nothing:v1", MISSING),
        (f"open.test/my-org/public:v1@{_ABSENT}", MISSING),
        ("locked.test/my-org/private:v1", PRIVATE),
        ("locked.test/my-org/nothing:v1", PRIVATE),
    ],
)
async def test_registry_is_understood(surroundings: Surroundings, image: str, expected: ProbeResult) -> None:
    """Without passwords an image is there or not; with passwords it is private, whether it is there or not."""
    assert await surroundings.probe(image) == expected


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("tokened.test/my-org/public:v1", PUBLIC),
        ("tokened.test/my-org/public:v2", MISSING),
        ("tokened.test/my-org/private:v1", PRIVATE),
        ("tokened.test/my-org/nothing:v1", PRIVATE),
    ],
)
async def test_registry_with_tokens_is_understood(
    surroundings: Surroundings, tokens: TokenServer, image: str, expected: ProbeResult, refuses: bool
) -> None:
    """Whether the token server refuses what is private, or hands out a token that grants nothing."""
    tokens.refuses = refuses

    assert await surroundings.probe(image) == expected

    repository = image.removeprefix("tokened.test/").partition(":")[0]
    scope = f"repository:{repository}:pull"
    assert tokens.queries == [[("region", "eu"), ("service", "tokened.test"), ("scope", scope)]]
    assert tokens.authorizations == [None]


async def test_one_prober_asks_all_of_them(surroundings: Surroundings, tokens: TokenServer) -> None:
    """One answer does not colour the next, and no token is kept."""
    async with surroundings.prober() as prober:
        results = [
            await prober.probe(parse_image(image))
            for image in (
                "tokened.test/my-org/public:v1",
                "tokened.test/my-org/private:v1",
                "open.test/my-org/private:v1",
                "locked.test/my-org/public:v1",
                "tokened.test/my-org/public:v1",
            )
        ]

    assert results == [PUBLIC, PRIVATE, PUBLIC, PRIVATE, PUBLIC]
    assert len(tokens.queries) == 3


async def test_token_of_our_server_is_what_lets_us_in(surroundings: Surroundings, tokens: TokenServer) -> None:
    """The registry verifies it: one that another key signed grants nothing."""
    tokens.signing = KeyPair(tokens.signing.certificate, tokens.serving.key)

    assert await surroundings.probe("tokened.test/my-org/public:v1") == PRIVATE


async def test_registry_is_not_believed_under_another_name(surroundings: Surroundings) -> None:
    """Its certificate is for the name that it has."""
    surroundings.names["other.test"] = surroundings.names["open.test"]

    assert await surroundings.probe("other.test/my-org/public:v1") == failed("certificate")


async def test_registry_is_not_believed_without_its_authority(surroundings: Surroundings) -> None:
    """Nobody else's signature will do."""
    assert await surroundings.probe("open.test/my-org/public:v1", ca_file="") == failed("certificate")
