"""The benches on real servers and control planes, so small that they only show that they work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.admission import measuring as admission
from bench.admission.report import render as render_admission
from bench.certificate import write_secret
from bench.load import Job, run_load
from bench.overload import measuring as overload
from bench.overload.report import render as render_overload
from bench.pace import Pace
from bench.scale.experiments import measure_filling, measure_foreign, measure_storm
from bench.scale.figures import percentile
from bench.scale.laboratory import HOME, Laboratory, laboratory, site
from bench.scale.sizes import Sizes
from bench.webhook.agreement import check_agreement
from bench.webhook.rules import write_rules
from bench.webhook.serving import NAMES, OURS, Server, serving, target_of
from rig.errors import RigError

pytestmark = pytest.mark.apiserver
SIZES = Sizes(namespaces=10, rounds=1, fsync=False)
PACE = Pace(rounds=1, seconds=1.0)


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what servers under test read."""
    write_secret(tmp_path)
    write_rules(tmp_path)
    return tmp_path


def test_every_server_does_the_same_and_answers(folder: Path) -> None:
    """All comparisons make the Pod that ours makes, and each answers each kind of load."""
    with serving(tuple(NAMES), folder) as servers:
        check_agreement(servers.values())
        found = {
            name: run_load(Job(server.target("distinct"), 3, 0.1, PACE.seconds, (server.pid,)))
            for name, server in servers.items()
        }

    assert all(figures.outcomes["answered"] > 0 and figures.resident > 0 for figures in found.values())


def test_server_that_does_less_is_found_out(folder: Path) -> None:
    """One that leaves Pods alone must not pass for one that rewrites them."""
    with serving(("bare",), folder) as servers:
        bare = servers["bare"]
        with pytest.raises(RigError, match="does not do what the others do"):
            check_agreement([Server(OURS, bare.port, bare.pid, folder)])


def test_load_is_spread_over_servers(folder: Path) -> None:
    """Two processes share the connections."""
    with serving((OURS,), folder) as first, serving((OURS,), folder, 1) as second:
        servers = (first[OURS], second[OURS])
        figures = run_load(Job(target_of(servers), 4, 0.1, PACE.seconds, tuple(each.pid for each in servers), None))

    assert figures.outcomes["answered"] > 0


def test_cost_at_the_api_server_is_measured() -> None:
    """Pods are created without anything, rewritten by the webhook, and rewritten by a policy."""
    cost = admission.collect(PACE, fsync=False)
    kinds = {key.situation: set(figures.outcomes) for key, figures in cost.found.items()}

    assert kinds == {"nothing": {"unrewritten"}, "webhook": {"rewritten"}, "policy": {"rewritten"}}
    assert "| the webhook | 8 |" in render_admission(PACE, cost, fsync=False)


def test_overload_is_measured() -> None:
    """Something becomes of every review that was due, and of every Pod."""
    found = overload.collect(PACE)
    storms = [item.figures for item in found.direct] + [found.through.figures, found.through.flood]

    assert all(sum(item.number for item in storm.outcomes.values()) == storm.due for storm in storms)
    assert "answered within 100 ms" in render_overload(PACE, found)
