"""The scale bench on a real control plane, with so few namespaces that it only shows that it works."""

from __future__ import annotations

import pytest

from bench.scale.experiments import measure_filling, measure_foreign, measure_storm
from bench.scale.figures import percentile
from bench.scale.laboratory import HOME, Laboratory, laboratory, site
from bench.scale.sizes import Sizes
from rig.errors import RigError

pytestmark = pytest.mark.apiserver
SIZES = Sizes(namespaces=10, rounds=1, fsync=False)


async def prepare(lab: Laboratory) -> None:
    """Bring the cluster to where most experiments begin."""
    await lab.start_controller()
    await lab.apply_license()
    await lab.create_namespaces(SIZES.namespaces)
    await lab.await_copies()


async def test_experiments_measure_what_they_say() -> None:
    """Both sides fill every namespace, each write is counted, a storm is served, and nothing is left behind."""
    with site(SIZES) as place:
        async with laboratory(place, SIZES) as lab:
            await prepare(lab)
            filling = await measure_filling(lab)
            storm = await measure_storm(lab)
            before, with_them, _ = await measure_foreign(lab)
            copies = set(lab.copies.seen)
            with pytest.raises(RigError, match="1 namespaces had no copy after 0 s: nowhere"):
                await lab.copies.await_all(["nowhere"], 0.0)

    assert [len(run) for run in (*filling.ours, *filling.bare)] == [SIZES.namespaces + 1] * 2
    assert filling.requests["create secrets"] == SIZES.namespaces + 2  # Its own namespace, and `default`.
    assert 0 < percentile(storm, 0.5) <= storm[-1]
    assert len(storm) == SIZES.storm
    assert copies == {*lab.names, HOME, "default"}
    assert min(before.megabytes, with_them.megabytes) > 0
    assert not place.folder.exists()
