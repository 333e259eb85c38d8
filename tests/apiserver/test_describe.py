"""`docs/troubleshooting.md` shows what `kubectl describe license` shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from describing import PAGE, render
from operating import Cluster
from rig.binaries import provide
from rig.controlplane import ControlPlane

pytestmark = pytest.mark.apiserver


@pytest.fixture
def fresh_cluster() -> Iterator[Cluster]:
    """A control plane of its own: the cases make namespaces with the names that the page shows."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        yield cluster


def test_troubleshooting_page_is_what_kubectl_describe_shows(fresh_cluster: Cluster, tmp_path: Path) -> None:
    """Each failing case is brought about anew; `make docs-troubleshooting` writes the page where it is out of date."""
    assert render(fresh_cluster, tmp_path) == PAGE.read_text(encoding="utf-8")
