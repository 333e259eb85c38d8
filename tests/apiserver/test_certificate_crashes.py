"""The certificate's keeper killed after each of its writes, through a year of renewals and rotations.

The API server is real; time is put ahead. A crash is a write that succeeds and whose answer never comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certifying import CountingClient, Keeping, ShiftedClock, close, controller_account
from operating import Cluster
from replicated_proxy.certificates.issuing import webhook_name
from replicated_proxy.certificates.verifying import split_bundle, validity, verify_leaf
from replicated_proxy.settings import CertificateSettings, Settings
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE

pytestmark = pytest.mark.apiserver

DELAY = timedelta(days=2)
CERTIFICATES = CertificateSettings(
    ca_lifetime=timedelta(days=100), leaf_lifetime=timedelta(days=30), propagation_delay=DELAY
)
SETTINGS = Settings(certificates=CERTIFICATES)
NAME = webhook_name(SETTINGS.webhook.service_name, NAMESPACE)
A_YEAR = timedelta(days=365)
A_WHILE = timedelta(hours=30)


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[Cluster, Path]]:
    """A control plane with the chart, and the controller's way in."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        yield cluster, controller_account(cluster)


class Year:
    """A year in the life of a certificate, and what has to be true on each day of it.

    Attributes:
        leaves: every certificate that was served.
        authorities: every authority that was published.
        crashes: keepers that died.
    """

    def __init__(self, clock: ShiftedClock) -> None:
        self._clock = clock
        self._published_at: dict[bytes, datetime] = {}
        self._trusted = False
        self.leaves: list[bytes] = []
        self.authorities: set[bytes] = set()
        self.crashes = 0

    async def look(self, keeping: Keeping) -> None:
        """Check what stands in the cluster now."""
        served, published = await keeping.served(), await keeping.published() or b""
        authorities = split_bundle(published) if published else []
        self.authorities |= set(authorities)
        for each in authorities:
            self._published_at.setdefault(each, self._clock.now())
        trusted = served is not None and not verify_leaf(served.chain, published, NAME, self._clock.now())
        assert trusted or not self._trusted, "what was trusted is trusted no more"
        self._trusted = trusted
        if served is not None and served.chain not in self.leaves:
            self._note_leaf(served.chain, authorities)

    def _note_leaf(self, chain: bytes, authorities: list[bytes]) -> None:
        """Check that a new leaf relies on nothing that an API server may not know yet."""
        (issuer,) = (each for each in authorities if not verify_leaf(chain, each, NAME, self._clock.now()))
        if self.leaves:
            assert self._clock.now() - self._published_at[issuer] >= DELAY
            assert validity(self.leaves[-1])[1] > self._clock.now(), "the one before had ended"
        self.leaves.append(chain)


@asynccontextmanager
async def a_keeper(account: tuple[Cluster, Path], clock: ShiftedClock) -> AsyncIterator[Keeping]:
    """A keeper that dies with its first write."""
    cluster, kubeconfig = account
    client = await CountingClient.connect(kubeconfig)
    client.most = 1
    try:
        keeping = Keeping(cluster, client, SETTINGS, clock)
        keeping.watching = False
        async with keeping:
            yield keeping
    finally:
        await close(client)


async def live(keeping: Keeping, clock: ShiftedClock, year: Year) -> None:
    """Let time pass until the keeper dies, or the year is over."""
    while clock.ahead < A_YEAR:
        naps = clock.naps
        await keeping.until(lambda naps=naps: keeping.client.died.is_set() or clock.naps > naps)  # type: ignore[misc]
        await year.look(keeping)
        if keeping.client.died.is_set():
            year.crashes += 1
            return
        clock.ahead += A_WHILE


async def test_keeper_that_dies_with_every_write_keeps_a_year(account: tuple[Cluster, Path]) -> None:
    """Killed after each single write, from the installation on, it renews and rotates for a year without a gap.

    No leaf relies on a bundle sooner than the propagation delay after its publication, and serial numbers never repeat.
    """
    clock = ShiftedClock()
    year = Year(clock)
    while clock.ahead < A_YEAR:
        async with a_keeper(account, clock) as keeping:
            await live(keeping, clock, year)

    assert len(year.leaves) >= 15
    assert len(year.authorities) >= 5
    # Each leaf, each authority, its publication, and the bundle without those that ended: a crash for each of them.
    assert year.crashes >= len(year.leaves) + 2 * len(year.authorities)
    certificates = [x509.load_pem_x509_certificate(pem) for pem in (*year.leaves, *year.authorities)]
    assert len({each.serial_number for each in certificates}) == len(certificates)
