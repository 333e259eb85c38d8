"""The values of the fault proxy: which request meets which fault, how often, and when it kills."""

import signal
import subprocess
import sys

import pytest
from aiohttp.test_utils import make_mocked_request

from rig.faults import Answer, Assassin, Cut, Delay, Drop, Freeze, Requests, Rule, Rules, is_watch, plural_of

SECRET = "/api/v1/namespaces/app/secrets/it"
PATHS = [
    (SECRET, "secrets"),
    ("/api/v1/namespaces", "namespaces"),
    ("/api/v1/namespaces/app", "namespaces"),
    ("/api/v1/secrets", "secrets"),
    ("/apis/kots.io/v1beta1/licenses", "licenses"),
    ("/apis/kots.io/v1beta1/namespaces/app/licenses/my-app/status", "licenses"),
    ("/apis/coordination.k8s.io/v1/namespaces/ns/leases/it", "leases"),
    ("/readyz", "/readyz"),
]
MATCHES = [
    (Requests(), "GET", SECRET, True),
    (Requests(methods=frozenset({"PUT"})), "GET", SECRET, False),
    (Requests(path="/secrets"), "GET", SECRET, True),
    (Requests(path="^/secrets"), "GET", SECRET, False),
    (Requests(path="[?&]continue="), "GET", "/api/v1/secrets?limit=2&continue=x", True),
    (Requests(watch=True), "GET", "/api/v1/secrets?watch=true", True),
    (Requests(watch=True), "GET", "/api/v1/secrets", False),
    (Requests(watch=False), "GET", "/api/v1/secrets?watch=true", False),
]


@pytest.mark.parametrize(("path", "plural"), PATHS)
def test_kind_of_a_path(path: str, plural: str) -> None:
    """Requests are counted by the kind that their path names."""
    assert plural_of(path) == plural


@pytest.mark.parametrize(("requests", "method", "path", "matches"), MATCHES)
def test_requests_are_matched(requests: Requests, method: str, path: str, matches: bool) -> None:
    """By method, by path and query, and by whether it is a watch."""
    assert requests.match(make_mocked_request(method, path)) is matches


def test_watches_are_told_by_their_query() -> None:
    """As the API server does."""
    assert is_watch(make_mocked_request("GET", "/api/v1/secrets?watch=true"))
    assert not is_watch(make_mocked_request("GET", "/api/v1/secrets?watch=false"))


def test_fault_happens_as_often_as_it_was_asked_for() -> None:
    """Each claim uses a rule once; one without a number stays; what is removed or cleared happens no more."""
    rules, request = Rules(), make_mocked_request("GET", SECRET)
    twice, always = Rule(Requests(), Answer(500), 2), Rule(Requests(), Delay(0), None)
    rules.add(twice)
    rules.add(always)
    for _ in range(3):
        for rule in rules.at_start(request):
            rule.claim()
    assert (twice.hits, always.hits) == (2, 3)

    always.remove()
    assert not list(rules.at_start(request))
    rules.add(Rule(Requests(), Drop(), None))
    rules.clear()
    assert not list(rules.at_start(request))


def test_faults_of_streams_are_apart() -> None:
    """A stream is cut or frozen in its midst, and only dropping concerns its beginning too."""
    rules, watch = Rules(), make_mocked_request("GET", "/api/v1/secrets?watch=true")
    for fault in (Freeze(), Cut(), Answer(410)):
        rules.add(Rule(Requests(), fault))

    assert [type(rule.fault) for rule in rules.at_start(watch)] == [Answer]
    found = rules.in_stream(watch)
    assert found is not None
    assert isinstance(found.fault, Freeze)


def test_process_is_killed_after_its_last_write() -> None:
    """Not before, and it counts what was applied until then."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as victim:
        assassin = Assassin(victim.pid, 2)
        assert not assassin.strike("POST /a")
        assert (assassin.done, victim.poll()) == (False, None)
        assert assassin.strike("PUT /b")

        assert victim.wait(10) == -signal.SIGKILL
    assert assassin.applied == ["POST /a", "PUT /b"]
