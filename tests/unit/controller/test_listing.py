"""Listings that fail, before and after they found something."""

from __future__ import annotations

from typing import cast

import pytest

from builders import SECRET_NAME, Json, a_license_body, versioned
from replicated_proxy.controller import listing
from replicated_proxy.controller.listing import Lister, until_listed
from replicated_proxy.controller.world import World
from replicated_proxy.core.pull_secrets import Ownership
from replicated_proxy.kube.client import KubeClient, Listing
from replicated_proxy.kube.errors import ApiError, Unreachable
from replicated_proxy.kube.resources import Resource


async def test_listing_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure costs a pause that grows, and the pause learns what the server asked for."""
    made: list[tuple[int, ApiError | None]] = []

    async def pause(attempt: int, error: ApiError | None = None) -> None:
        made.append((attempt, error))

    errors: list[ApiError] = [ApiError(429, "TooManyRequests", "busy"), Unreachable("refused")]
    waiting = list(errors)

    async def list_once() -> set[str]:
        if waiting:
            raise waiting.pop(0)
        return {"licenses app/my-app"}

    monkeypatch.setattr(listing, "retry_pause", pause)

    assert await until_listed(list_once) == {"licenses app/my-app"}
    assert made == [(0, errors[0]), (1, errors[1])]


class Cluster:
    """Definitions that are served, and what is listed of each kind; listings fail as told."""

    def __init__(self) -> None:
        self.listed: dict[str, tuple[Json, ...]] = {}
        self.failing: set[str] = set()
        self.uid = "definition"
        self.version = 10

    async def get(self, _: Resource, name: str) -> Json:
        """Read a definition."""
        return {
            "metadata": {"name": name, "uid": self.uid},
            "spec": {"versions": [{"name": "v1beta1", "served": True}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        }

    async def list_all(self, resource: Resource, **_: str) -> Listing:
        """List a kind, unless that fails this once."""
        if resource.plural in self.failing:
            self.failing.discard(resource.plural)
            raise Unreachable("connection reset")
        self.version += 1
        return Listing(self.listed.get(resource.plural, ()), str(self.version))


@pytest.fixture
async def lister(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Lister:
    """A lister that has listed everything once; pauses take no time."""

    async def pause(*_: object) -> None:
        """Go on at once."""

    monkeypatch.setattr(listing, "retry_pause", pause)
    world = World(Ownership("operator-system/operator", SECRET_NAME), frozenset())
    made = Lister(cast("KubeClient", cluster), world, SECRET_NAME)
    await made.list_everything()
    return made


@pytest.fixture
def cluster() -> Cluster:
    """A cluster with a License, and a copy of its pull secret."""
    made = Cluster()
    made.listed = {
        "licenses": (versioned(a_license_body(), 1),),
        "namespaces": ({"metadata": {"name": "app", "resourceVersion": "2"}},),
        "secrets": ({"metadata": {"name": SECRET_NAME, "namespace": "app", "resourceVersion": "3"}},),
    }
    return made


async def test_deleted_license_is_told_although_the_next_kind_could_not_be_listed(
    cluster: Cluster, lister: Lister
) -> None:
    """The cache knows of it after the first try, so the second one finds nothing: only the first can tell."""
    cluster.listed["licenses"] = ()
    cluster.failing = {"applications"}

    assert await until_listed(lister.list_sources) == {"licenses app/my-app"}
    assert await until_listed(lister.list_sources) == set()


@pytest.mark.parametrize("failing", ["secrets", "licenses", "applications"])
async def test_what_a_sweep_found_before_it_failed_is_told(cluster: Cluster, lister: Lister, failing: str) -> None:
    """A namespace and a copy that are gone are looked at, whatever had to be listed again after them."""
    cluster.listed |= {"namespaces": (), "secrets": ()}
    cluster.failing = {failing}

    assert await until_listed(lister.list_everything) == {"namespaces app", "secrets app"}
    assert await until_listed(lister.list_everything) == set()


async def test_relisting_takes_nothing_from_a_sweep_that_failed(cluster: Cluster, lister: Lister) -> None:
    """Each tells what it is asked for: a copy that is gone is no matter of Licenses and Applications."""
    cluster.listed["secrets"] = ()
    cluster.failing = {"licenses"}
    with pytest.raises(Unreachable):
        await lister.list_everything()

    assert await lister.list_sources() == set()
    assert await lister.list_everything() == {"secrets app"}


async def test_new_definition_is_news_also_without_objects(cluster: Cluster, lister: Lister) -> None:
    """Absence under it proves something else than before: the first table, or whose deletion revokes."""
    cluster.uid = "made anew"

    assert await lister.list_sources() == {
        "customresourcedefinitions licenses.kots.io",
        "customresourcedefinitions applications.kots.io",
    }
    assert await lister.list_sources() == set()
