"""The pure parts of the scale bench: sizes, sums, counting, looking at a process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.observing import read_ticks
from bench.scale.audit import Window, count_requests
from bench.scale.figures import Filling, percentile, reads, writes
from bench.scale.parallel import in_parallel
from bench.scale.process import read_resident
from bench.scale.sizes import InvalidSizes, Sizes, read_sizes
from rig.errors import RigError

SHARES = st.floats(min_value=0.01, max_value=1.0)
VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1).map(sorted)


def event(verb: str, stage: str = "ResponseComplete", **about: str) -> str:
    """Write a line of an audit log."""
    return json.dumps({"verb": verb, "stage": stage, "requestURI": "/version?x=1", "objectRef": about})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Sizes(5000, 3, fsync=True)),
        ({"NAMESPACES": "", "ROUNDS": ""}, Sizes(5000, 3, fsync=True)),
        ({"NAMESPACES": "200", "ROUNDS": "1", "FSYNC": "0"}, Sizes(200, 1, fsync=False)),
    ],
)
def test_sizes_are_read(environment: dict[str, str], expected: Sizes) -> None:
    """A run without any variable is the full one."""
    assert read_sizes(environment) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("NAMESPACES", "49"), ("NAMESPACES", "20001"), ("NAMESPACES", "many"), ("ROUNDS", "0"), ("FSYNC", "-1")],
)
def test_senseless_size_is_named(name: str, value: str) -> None:
    """The error tells variable, value and range."""
    with pytest.raises(InvalidSizes, match=f"{name}={value} is no whole number from"):
        read_sizes({name: value})


@given(values=VALUES, share=SHARES)
def test_percentile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """It is one of the values, and the smallest that so many of them reach at most."""
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_filling_is_summed_up_by_medians() -> None:
    """The ratio is that of the medians of when the last copy came."""
    filling = Filling(ours=((1.0, 6.0), (9.0,), (3.0,)), bare=((1.0, 2.0), (3.0,), (4.0,)), requests={})

    assert (filling.seconds, filling.ratio) == ((6.0, 3.0), 2.0)


def test_lease_counts_neither_as_read_nor_as_write() -> None:
    """Renewing it only says that somebody is there."""
    requests = {"create secrets": 3, "patch licenses/status": 2, "list secrets": 5, "watch secrets": 1}
    requests |= {"update leases": 30, "get leases": 7}

    assert (writes(requests), reads(requests)) == (5, 6)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([event("create", resource="secrets")], {"create secrets": 1}),
        ([event("patch", resource="licenses", subresource="status")] * 2, {"patch licenses/status": 2}),
        (
            [event("watch", "ResponseStarted", resource="secrets"), event("watch", resource="secrets")],
            {"watch secrets": 1},
        ),
        ([event("get")], {"get /version": 1}),
        ([event("get", "Panic", resource="secrets")], {}),
    ],
)
def test_requests_are_counted_once(lines: list[str], expected: dict[str, int]) -> None:
    """Watches when they begin, everything else when it ends; what is no resource by its path."""
    assert count_requests(lines) == expected


def test_window_holds_what_was_added(tmp_path: Path) -> None:
    """Neither what was there before nor a line that is still being written."""
    log = tmp_path / "audit.log"
    log.write_text(event("list", resource="secrets") + "\n", encoding="utf-8")
    window = Window(log)
    with log.open("a", encoding="utf-8") as more:
        more.write(event("create", resource="secrets") + "\n" + event("delete", resource="secrets")[:20])

    assert window.requests() == {"create secrets": 1}


def test_processor_time_is_read_behind_any_name() -> None:
    """A process may have parentheses and spaces in its name."""
    rest = " ".join(["S", *map(str, range(4, 14)), "250", "50", "0", "0"])

    assert read_ticks(f"77 (a) b (c) {rest}") == 300


def test_resident_memory_is_read_from_the_metrics() -> None:
    """In megabytes; a page without it is an error."""
    page = "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 9.5e+07\n"

    assert read_resident(page) == 95.0
    with pytest.raises(RigError, match="process_resident_memory_bytes"):
        read_resident("")


@given(number=st.integers(0, 40), workers=st.integers(1, 8))
def test_items_are_acted_on_once_and_few_at_a_time(number: int, workers: int) -> None:
    """Every item, and never more at a time than there are workers."""
    done: list[int] = []
    at_work: set[int] = set()
    most = 0

    async def act(item: int) -> None:
        """Note who is at work."""
        nonlocal most
        at_work.add(item)
        most = max(most, len(at_work))
        await asyncio.sleep(0)
        at_work.discard(item)
        done.append(item)

    asyncio.run(in_parallel(range(number), act, workers))

    assert sorted(done) == list(range(number))
    assert most == min(workers, number)


async def test_first_failure_ends_the_rest() -> None:
    """Nothing is begun after it, and it is the one that is raised."""
    begun: list[Any] = []

    async def act(item: int) -> None:
        """Fail at the third."""
        begun.append(item)
        if item == 2:
            raise RigError("no")

    with pytest.raises(RigError, match="no"):
        await in_parallel(range(100), act, workers=1)

    assert begun == [0, 1, 2]
