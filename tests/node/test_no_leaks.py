"""After everything else that runs on the session's node: no license is anywhere but where it has to be.

`conftest.py` puts this module behind all others, so that it sees what they left in logs, events, status and metrics.
"""

from __future__ import annotations

import json
from typing import Final

import pytest

from demo.story import IMAGE, LICENSE_ID, SECRET
from emitted import places_of
from leaking import leaks
from node.conftest import SLUG, Installed
from operating import LICENSE_ID as TESTS_LICENSE_ID
from operating import a_license, an_application, foreign_secret
from rig.node import Node
from rig.roles import NAMESPACE as OPERATOR
from rig.stand_in import read_licenses
from rig.waiting import wait_until

pytestmark = pytest.mark.node

OTHER_ID: Final = "planted-license-id-that-is-replaced"
BROKEN_ID: Final = "planted-license-id-of-a-broken-license"


def ending(installed: Installed) -> list[str]:
    """Return the operator's Pods that are about to end."""
    items = installed.get("pods", "-n", OPERATOR)["items"]
    return [item["metadata"]["name"] for item in items if "deletionTimestamp" in item["metadata"]]


@pytest.fixture
def troubled(installed: Installed, licensed: str) -> str:
    """A namespace in which much goes wrong: a broken License, a conflict, a changed ID, an image with a port."""
    # Pods that are about to end answer nobody, and their logs go in the middle of the search.
    wait_until(lambda: not ending(installed), what="the end of what other tests replaced", seconds=120)
    elsewhere = installed.create_namespace("conflict")
    broken = {"expires_at": {"title": "Expiration", "value": "not a date", "valueType": "String"}}
    bad = a_license(licensed, licenseID=BROKEN_ID, appSlug="broken", entitlements=broken)
    bad["metadata"]["name"] = "broken"
    installed.apply(foreign_secret(elsewhere), an_application(licensed, elsewhere), bad)
    installed.apply(a_license(licensed, appSlug=SLUG, licenseID=OTHER_ID))
    installed.apply(a_license(licensed, appSlug=SLUG, licenseID=LICENSE_ID))
    installed.kubectl("run", "odd", "-n", licensed, "--image", "reg.example.com:5000/api:v1")
    installed.kubectl("run", "good", "-n", licensed, "--image", IMAGE)
    for name in ("broken", "my-app"):
        wait_until(
            lambda: installed.get("license", name, "-n", licensed).get("status", {}).get("conditions"),  # noqa: B023
            what=f"the status of {name}",
            seconds=60,
        )
    return licensed


def test_no_license_is_anywhere_but_in_its_place(installed: Installed, troubled: str) -> None:
    """Nothing that the cluster shows or showed holds a license ID in any form, but Licenses and pull secrets."""
    planted = {*read_licenses(installed.node.stand_in.licenses_file), TESTS_LICENSE_ID, OTHER_ID, BROKEN_ID}
    places = places_of(installed.kubectl, OPERATOR, SECRET)
    kept = installed.kept_places()
    logs = {name: text for name, text in places.items() if name.startswith("log ")}
    there = {
        "the pull secret": json.dumps(installed.get("secret", SECRET, "-n", troubled)),
        "the License": json.dumps(installed.get("license", "broken", "-n", troubled)),
    }

    assert leaks(there, planted) == sorted(there)
    assert len(logs) >= 3
    assert all(logs.values())
    assert any(name.startswith("metrics ") for name in places)
    assert f"licenses.kots.io {troubled}/broken" in places
    assert any(name.startswith("kept licenses.kots.io ") for name in kept)
    assert any(name.startswith("kept events ") for name in kept)
    if isinstance(installed.node, Node):  # The kubelet's files of another cluster are out of reach.
        assert sum(name.startswith("kept log ") for name in kept) > len(logs)
    assert leaks(places | kept, planted) == []
