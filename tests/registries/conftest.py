"""Real registries for every test of this folder: three doors to the same images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from probing import Surroundings
from rig.registries import Registries
from rig.token_server import TokenServer

OPEN, LOCKED, TOKENED, TOKENS = "open.test", "locked.test", "tokened.test", "tokens.test"
IMAGES = ("my-org/public:v1", "my-org/private:v1", "library/official:latest")


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """Return names for registries that run."""
    made = Surroundings.make(tmp_path_factory.mktemp("registries"))
    registries = Registries(made.folder, made.loopback, made.authority)
    made.names = {
        name: [made.loopback.address(number)] for number, name in enumerate((OPEN, LOCKED, TOKENED, TOKENS), start=1)
    }
    try:
        registries.fill(IMAGES)
        registries.start_open(OPEN, 1)
        registries.start_with_passwords(LOCKED, 2)
        registries.start_with_tokens(TOKENED, 3, f"https://{TOKENS}/token?region=eu")
        yield made
    finally:
        registries.close()


@pytest.fixture
async def tokens(surroundings: Surroundings) -> AsyncIterator[TokenServer]:
    """Return the token server of the third."""
    authority, loopback = surroundings.authority, surroundings.loopback
    server = TokenServer(
        loopback.address(4),
        loopback.port,
        authority.server(TOKENS, [TOKENS]),
        authority.server("token-signer", ["token-signer"]),
        public={"my-org/public"},
    )
    async with server:
        yield server
