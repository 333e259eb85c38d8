"""Answers of the API server that are slower than the events of what came after them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from builders import Json
from keeping import AUTHORITY, CONFIGURATION, POD_ENTRY, SERVING, Api, Keeping, a_configuration
from replicated_proxy.certificates.documents import read_serving
from replicated_proxy.controller import certificate_places
from simulated_clock import settle


class SlowApi(Api):
    """Answers late, and lets somebody change an object once while the answer is on its way.

    Attributes:
        changed: which request, and about which object; the configuration is put anew, a Secret is deleted.
    """

    def __init__(self, *changed: str) -> None:
        super().__init__()
        self.changed = changed

    async def get(self, *where: Any) -> Json:
        """Read one object."""
        answer = await super().get(*where)
        await self._change("get", where[1])
        return answer

    async def patch(self, path: str, operations: list[Json]) -> Json:
        """Patch the configuration."""
        answer = await super().patch(path, operations)
        await self._change("patch", CONFIGURATION)
        return answer

    async def create(self, *request: Any) -> Json:
        """Create a Secret."""
        answer = await super().create(*request)
        await self._change("create", request[1]["metadata"]["name"])
        return answer

    async def _change(self, what: str, name: str) -> None:
        """Have the object changed, and its event arrive before the answer does."""
        if self.changed != (what, name):
            return
        self.changed = ()
        if name == CONFIGURATION:
            self.put(name, {**a_configuration(POD_ENTRY), "metadata": {"uid": self.objects[name]["metadata"]["uid"]}})
        else:
            self.remove(name)
        await settle()


def published(api: Api) -> bytes:
    """Return the bundle that stands in the configuration."""
    return base64.b64decode(api.objects[CONFIGURATION]["webhooks"][0]["clientConfig"].get("caBundle", ""))


@pytest.mark.parametrize(
    ("what", "name"),
    [("get", CONFIGURATION), ("patch", CONFIGURATION), ("create", SERVING), ("create", AUTHORITY)],
)
async def test_event_that_was_faster_than_an_answer_counts(what: str, name: str) -> None:
    """`helm upgrade` takes the bundle back while our answer is on its way: nobody would tell of it a second time."""
    api = SlowApi()
    api.put(CONFIGURATION, a_configuration(POD_ENTRY))
    if what == "get":
        async with Keeping(api) as before:
            await before.until_well()
    api.changed = (what, name)
    async with Keeping(api) as keeping:
        await keeping.until_well()
        await keeping.until(lambda: not api.changed)
        await keeping.until(lambda: keeping.clock.monotonic() > 300)
        assert keeping.keeper.problems() == []
    assert published(api) == read_serving(api.objects[SERVING]).bundle


async def test_restored_history_is_believed() -> None:
    """An etcd that was restored has older versions: where no event came in between, what is read counts."""
    api = SlowApi()
    api.put(CONFIGURATION, a_configuration(POD_ENTRY))
    async with Keeping(api) as keeping:
        await keeping.until_well()
        places = keeping.keeper._places
        older = api.objects[SERVING] | {"metadata": api.objects[SERVING]["metadata"] | {"resourceVersion": "0"}}
        api.objects[SERVING] = older
        await places.read_anew()
        assert places.seen[certificate_places.SERVING] == older
