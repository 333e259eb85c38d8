"""`docs/troubleshooting.md`: what `kubectl describe license` shows in each failing case, from a real API server.

`make docs-troubleshooting` writes the page, `tests/apiserver/test_describe.py` compares it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from operating import Cluster, Json, a_license, foreign_secret
from rig.binaries import provide
from rig.cache import REPOSITORY
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.roles import RoleProcess
from rig.waiting import wait_until
from signing import SigningKeys, sign_license

PAGE: Final = REPOSITORY / "docs" / "troubleshooting.md"
_KEYS: Final = SigningKeys.make()
_HEAD: Final = """# What is wrong with my License?

`kubectl describe license` says it: the reason in one word, the sentence beside it what to do. Below is what it shows in
each failing case, taken from a real API server by `make docs-troubleshooting` (the spec and what differs from run to
run are left out; a test compares). All reasons are in [status](status.md); why a Pod's images are left alone is in
[reasons](reasons.md).
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that goes wrong.

    Attributes:
        name: also the License's namespace.
        title: what happened, for the page.
        make: brings it about.
        settled: condition type and reason that show when it has come to rest.
        license: the License's name.
        warned: reasons of the Events that warn.
    """

    name: str
    title: str
    make: Callable[[Cluster, str], None]
    settled: tuple[str, str]
    license: str = "my-app"
    warned: tuple[str, ...] = ()


def _values(**lic: Any) -> Json:
    """Return the chart's values with settings for Licenses."""
    return {"settings": {"license": {"trustedKeys": _KEYS.trusted, **lic}}}


def _signed(namespace: str, **spec: Any) -> Json:
    """Write a signed License."""
    return sign_license(a_license(namespace, customerName="Somebody", **spec), _KEYS)


def _ending(namespace: str, text: str) -> Json:
    """Write a License with an end."""
    return _signed(namespace, entitlements={"expires_at": {"value": text, "valueType": "String"}})


def _apply(*objects: Callable[[str], Json]) -> Callable[[Cluster, str], None]:
    """Bring a case about by applying objects."""
    return lambda cluster, namespace: cluster.apply(*(make(namespace) for make in objects))


def _edit_after_signing(cluster: Cluster, namespace: str) -> None:
    """Apply a signed License whose ID and customer were changed."""
    body = _signed(namespace)
    cluster.apply(body | {"spec": body["spec"] | {"licenseID": "another", "customerName": "Somebody Else"}})


def _break_signature(cluster: Cluster, namespace: str) -> None:
    """Apply a signed License, and then one whose signature was cut off."""
    cluster.apply(_signed(namespace))
    cluster.await_condition(namespace, "Synced", "AllSynced")
    body = _signed(namespace)
    cluster.apply(body | {"spec": body["spec"] | {"signature": body["spec"]["signature"][:400]}})


def _take_the_name(cluster: Cluster, namespace: str) -> None:
    """Put somebody else's Secret of our name there first."""
    cluster.apply(foreign_secret(namespace))
    cluster.apply(_signed(namespace))


def _set_quota(cluster: Cluster, namespace: str) -> None:
    """Allow no more Secrets."""
    cluster.forbid_secrets(namespace)
    cluster.apply(_signed(namespace))


def _pause(cluster: Cluster, namespace: str) -> None:
    """Pause a License that is in effect."""
    cluster.apply(_signed(namespace))
    cluster.await_condition(namespace, "Synced", "AllSynced")
    cluster.kubectl("annotate", "licenses.kots.io", "my-app", "-n", namespace, "proxy.kots.io/paused=true")


def _apply_twice(cluster: Cluster, namespace: str) -> None:
    """Apply two Licenses of one application; names order what the same second made."""
    first, second = _signed(namespace), _signed(namespace)
    second["metadata"]["name"] = "renewed"
    cluster.apply(first)
    cluster.await_condition(namespace, "Ready", "Usable")
    made = cluster.get("licenses.kots.io", "my-app", "-n", namespace)["metadata"]["creationTimestamp"]
    wait_until(lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" > made, what="the next second", seconds=5)
    cluster.apply(second)


_PAST: Final = "2024-04-02T20:56:05Z"
_SOON: Final = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT00:00:00Z}"
_DEFAULTS: Final = (
    Case(
        "ended",
        "It has ended, and what runs is left in peace (the default)",
        _apply(lambda ns: _ending(ns, _PAST)),
        ("Expired", "Retained"),
        warned=("Expired", "Retained"),
    ),
    Case(
        "ends-soon",
        "It ends soon",
        _apply(lambda ns: _ending(ns, _SOON)),
        ("Expired", "ExpiringSoon"),
        warned=("ExpiringSoon",),
    ),
    Case(
        "no-date",
        "Its end is no date",
        _apply(lambda ns: _ending(ns, "2026-01-01")),
        ("Ready", "InvalidExpiry"),
        warned=("InvalidExpiry",),
    ),
    Case(
        "edited",
        "Somebody edited it after the vendor signed it",
        _edit_after_signing,
        ("SignatureVerified", "ModifiedAfterSigning"),
        warned=("ModifiedAfterSigning",),
    ),
    Case(
        "unsigned",
        "Nobody signed it",
        _apply(a_license),
        ("SignatureVerified", "Unsigned"),
        warned=("Unsigned",),
    ),
    Case(
        "name-taken",
        "The pull secret's name is taken",
        _take_the_name,
        ("Synced", "Conflict"),
        warned=("Conflict",),
    ),
    Case(
        "quota",
        "The API server refuses the pull secret",
        _set_quota,
        ("Synced", "SyncFailed"),
        warned=("SyncFailed",),
    ),
    Case("paused", "Somebody paused it", _pause, ("Ready", "Paused")),
    Case("twice", "Two Licenses of one application", _apply_twice, ("Ready", "Shadowed"), license="renewed"),
)
_STRICT: Final = (
    Case(
        "revoked",
        "It has ended, and `license.onExpiry` is `Revoke`",
        _apply(lambda ns: _ending(ns, _PAST)),
        ("Expired", "Revoked"),
        warned=("Expired", "Revoked"),
    ),
    Case(
        "not-genuine",
        "Its signature went bad, and `license.signature` is `Enforce`",
        _break_signature,
        ("Ready", "SignatureNotAccepted"),
        warned=("SignatureInvalid", "SignatureNotAccepted"),
    ),
    Case(
        "never-signed",
        "Nobody signed it, and `license.signature` is `Enforce`",
        _apply(a_license),
        ("Ready", "SignatureNotAccepted"),
        warned=("Unsigned", "SignatureNotAccepted"),
    ),
)
_CHAPTERS: Final = ((_values(), _DEFAULTS), (_values(signature="Enforce", onExpiry="Revoke"), _STRICT))


def render(cluster: Cluster, folder: Path) -> str:
    """Bring every case about and return the page."""
    sections = [_HEAD]
    for values, cases in _CHAPTERS:
        with _controller(cluster, folder, values):
            sections += [_tell(cluster, case) for case in cases]
    return "\n".join(sections)


@contextmanager
def _controller(cluster: Cluster, folder: Path, values: Json) -> Iterator[None]:
    """Run a controller with these values."""
    cluster.install(values)
    running = RoleProcess("controller", cluster, folder, values)
    running.start()
    try:
        yield
    finally:
        running.stop()


def _tell(cluster: Cluster, case: Case) -> str:
    """Bring one case about, and write its section."""
    cluster.kubectl("create", "namespace", case.name)
    case.make(cluster, case.name)
    cluster.await_condition(case.name, *case.settled, name=case.license)
    _await_rest(cluster, case)
    text = cluster.kubectl("describe", "licenses.kots.io", case.license, "-n", case.name)
    return f"## {case.title}\n\n```text\n{_shorten(text)}\nWarnings:\n{_warnings(cluster, case)}\n```\n"


def _await_rest(cluster: Cluster, case: Case) -> None:
    """Wait until everything that there is to say about a License has been said; a case that does not rest shows why."""
    try:
        wait_until(lambda: _is_at_rest(cluster, case), what=f"case {case.name} to come to rest", seconds=60)
    except RigError as error:
        body = cluster.get("licenses.kots.io", case.license, "-n", case.name)
        told = [(event["type"], event["reason"]) for event in cluster.events(case.name, case.license)]
        raise RigError(f"{error}: Events {told}, status {body.get('status')}") from error


def _is_at_rest(cluster: Cluster, case: Case) -> bool:
    """Tell whether everything that there is to say about a License has been said."""
    warned = {event["reason"] for event in cluster.events(case.name, case.license) if event["type"] == "Warning"}
    synced = cluster.condition("licenses.kots.io", case.name, case.license, "Synced").get("reason")
    return warned == set(case.warned) and synced not in {None, "Syncing"}


def _shorten(text: str) -> str:
    """Keep the status, without what differs from run to run."""
    status = text.partition("\nStatus:\n")[2].partition("\nEvents:")[0]
    kept = [
        line
        for line in status.splitlines()
        if line.strip() and not re.match(r"\s*(Last Transition Time|Observed Generation):", line)
    ]
    return _undate("Status:\n" + "\n".join(kept))


def _undate(text: str) -> str:
    """Put words in the place of the one date that depends on today's."""
    return text.replace(_SOON, "(in three days)")


def _warnings(cluster: Cluster, case: Case) -> str:
    """Return the warnings about a License, each once and in order."""
    told = {
        f"  {event['reason']}: {event['message']}"
        for event in cluster.events(case.name, case.license)
        if event["type"] == "Warning"
    }
    return _undate("\n".join(sorted(told)) or "  (none)")


@contextmanager
def _a_cluster() -> Iterator[Cluster]:
    """Bring up a control plane with the chart's objects."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"])
        cluster.install()
        yield cluster


def main() -> None:
    """Write the page."""
    with _a_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(render(cluster, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
