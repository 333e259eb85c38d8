"""Licenses that stand in Secrets, on a real API server, with the Roles that the chart makes for them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from license_secrets import DOCKER_KEY, LICENSE_KEY, SDK_KEY, Json, docker_config, encoded, license_yaml, sdk_config
from operating import (
    DEFAULT_HOSTS,
    LICENSE_ID,
    Cluster,
    Namespaces,
    a_license,
    an_application,
    content_of,
    expected_content,
    routes_of,
)
from rig.roles import NAMESPACE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

NAME = "credential"
EXPECTED = expected_content(*DEFAULT_HOSTS)
ROTATED = "rotated-license-id-for-tests"
Start = Callable[..., RoleProcess]


def an_entry(namespace: str, key: str = LICENSE_KEY, **more: object) -> Json:
    """Write an entry of `settings.sources.secrets`."""
    return {"namespace": namespace, "name": NAME, "key": key, **more}


def a_secret(namespace: str, key: str = LICENSE_KEY, content: str = "", **more: str) -> Json:
    """Write a Secret that holds a license, by default a license.yaml."""
    data = {key: content or license_yaml(licenseID=LICENSE_ID)} | more
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": {name: encoded(value) for name, value in data.items()},
    }


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Install the chart with entries and start a controller; afterwards nothing covers other tests' namespaces."""
    running: list[RoleProcess] = []

    def start_with(*entries: Json, missing_seconds: float = 600.0, **values: object) -> RoleProcess:
        sources = {"secrets": list(entries), "missingSeconds": missing_seconds}
        chosen = {"settings": {"sources": sources}, **values}
        cluster.install(chosen)
        running.append(RoleProcess("controller", cluster, tmp_path, chosen))
        running[-1].start()
        return running[-1]

    yield start_with
    for process in running:
        process.stop()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces", "--wait=true")


def await_content(cluster: Cluster, namespace: str, content: str) -> Json:
    """Wait until a namespace's copy has this content."""

    def look() -> Json | None:
        copy = cluster.secret(namespace)
        return copy if copy and content_of(copy) == content else None

    return wait_until(look, what=f"the content in {namespace}", seconds=30)


def await_told(cluster: Cluster, namespace: str, words: str) -> None:
    """Wait until an Event about the Secret says certain words."""
    wait_until(
        lambda: words in cluster.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].message}"),
        what=f"an Event that says {words!r}",
        seconds=30,
    )


def await_logged(process: RoleProcess, words: str) -> None:
    """Wait until the controller's log says certain words; an Event tells only that it is in doubt, not each reason."""
    wait_until(lambda: words in process.log.read_text(encoding="utf-8"), what=f"{words!r} in the log", seconds=30)


def await_turn(cluster: Cluster, namespaces: Namespaces, word: str) -> None:
    """Wait until the controller has worked on something newer than what came before: a License of its own."""
    [bystander] = namespaces.create(word)
    cluster.apply(a_license(bystander, appSlug="bystander"))
    cluster.await_secret(bystander)


FORMS = {
    "license.yaml": (LICENSE_KEY, license_yaml(licenseID=LICENSE_ID), {}, {}),
    "v1beta2": (LICENSE_KEY, license_yaml(licenseID=LICENSE_ID, api_version="kots.io/v1beta2"), {}, {}),
    "config.yaml": (SDK_KEY, sdk_config(license_yaml(licenseID=LICENSE_ID)), {}, {}),
    "docker config, slug in the settings": (DOCKER_KEY, docker_config(password=LICENSE_ID), {}, {"appSlug": "my-app"}),
    "docker config, slug beside it": (DOCKER_KEY, docker_config(password=LICENSE_ID), {"appSlug": "my-app"}, {}),
}


def test_every_form_gives_the_same_copies(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """Each form covers its Secret's namespace with KOTS's bytes; what it holds stands nowhere else."""
    homes = namespaces.create(*(f"form{number}" for number in range(len(FORMS))))
    entries = []
    for home, (key, content, beside, settings) in zip(homes, FORMS.values(), strict=True):
        cluster.apply(a_secret(home, key, content, **beside))
        entries.append(an_entry(home, key, **settings))

    process = start(*entries)

    for home in homes:
        await_content(cluster, home, EXPECTED)
    wait_until(lambda: all(home in routes_of(cluster) for home in homes), what="the routes", seconds=20)
    everything = cluster.kubectl("get", "events,configmaps", "--all-namespaces", "-o", "yaml")
    for told in (everything, process.log.read_text(encoding="utf-8")):
        assert LICENSE_ID not in told
        assert encoded(f"LICENSE_ID:{LICENSE_ID}") not in told


def test_rotation_reaches_copies_in_place(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """A new ID in the Secret reaches every copy in the same object, also when the Secret itself is another one."""
    home, workers = namespaces.create("home", "workers")
    cluster.apply(a_secret(home))
    start(an_entry(home, namespaces=[workers]))
    before = [await_content(cluster, namespace, EXPECTED)["metadata"]["uid"] for namespace in (home, workers)]

    cluster.apply(a_secret(home, content=license_yaml(licenseID=ROTATED)))
    rotated = expected_content(*DEFAULT_HOSTS, license_id=ROTATED)
    edited = [await_content(cluster, namespace, rotated)["metadata"]["uid"] for namespace in (home, workers)]
    cluster.kubectl("delete", "secret", NAME, "-n", home)
    cluster.apply(a_secret(home))
    replaced = [await_content(cluster, namespace, EXPECTED)["metadata"]["uid"] for namespace in (home, workers)]

    assert before == edited == replaced


def test_settings_alone_decide_reach_and_host(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """Whoever may write the Secret chooses neither namespaces nor host; the administrator's entry does."""
    home, chosen, bystander = namespaces.create("home", "chosen", "bystander")
    greedy = license_yaml(
        licenseID=LICENSE_ID, replicatedProxyDomain="evil.example.com", additionalNamespaces=["*"], namespaces=["*"]
    )
    cluster.apply(a_secret(home, content=greedy), a_secret(chosen, content=greedy))

    start(an_entry(home), an_entry(chosen, proxyHost="proxy.acme.com"))

    await_content(cluster, home, EXPECTED)
    await_content(cluster, chosen, expected_content(*DEFAULT_HOSTS, "proxy.acme.com"))
    await_told(cluster, home, "'evil.example.com' has no effect: only proxyHost of the entry")
    assert cluster.secret(bystander) == {}
    assert "evil.example.com" not in routes_of(cluster)


def test_entry_reaches_every_namespace(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """`"*"` in an entry covers every namespace, present and future; without the entry all of it is revoked."""
    home, present = namespaces.create("home", "present")
    cluster.apply(a_secret(home))
    process = start(an_entry(home, namespaces=["*"]))
    for namespace in (home, present):
        await_content(cluster, namespace, EXPECTED)
    [future] = namespaces.create("future")
    await_content(cluster, future, EXPECTED)

    process.stop()
    start()

    for namespace in (home, present, future):
        cluster.await_no_secret(namespace)
    assert cluster.exists("secret", NAME, "-n", home)


def test_application_of_the_secrets_namespace_binds(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """The Secret's namespace is the License's own: an Application there widens it as it would a License object."""
    home, workers = namespaces.create("home", "workers")
    cluster.apply(a_secret(home), an_application(home, workers))

    start(an_entry(home))

    await_content(cluster, workers, EXPECTED)
    wait_until(
        lambda: cluster.condition("application", home, "my-app", "Ready").get("reason") == "Bound",
        what="the Application to be bound",
        seconds=20,
    )
    cluster.apply(an_application(home))
    cluster.await_no_secret(workers)
    await_content(cluster, home, EXPECTED)


def test_slip_of_an_editor_changes_nothing(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """A malformed edit, and a Secret that is missing within its time, leave copies alone and spread nothing new."""
    home, workers = namespaces.create("home", "workers")
    cluster.apply(a_secret(home))
    process = start(an_entry(home, namespaces=[workers, namespaces.name("later")]))
    before = [await_content(cluster, namespace, EXPECTED) for namespace in (home, workers)]

    cluster.apply(a_secret(home, content=f"licenseID: {LICENSE_ID}: {LICENSE_ID}"))
    await_told(cluster, home, f"Secret {home}/{NAME}, key 'license.yaml': is no YAML (line 1, column")
    [later] = namespaces.create("later")
    await_turn(cluster, namespaces, "turn1")
    assert [cluster.secret(namespace) for namespace in (home, workers)] == before
    assert cluster.secret(later) == {}

    cluster.kubectl("delete", "secret", NAME, "-n", home)
    await_logged(process, f"Secret {home}/{NAME} does not exist: what it gave stays in effect for 600 seconds")
    await_turn(cluster, namespaces, "turn2")
    process.kill()
    process.start()
    await_turn(cluster, namespaces, "turn3")
    assert [cluster.secret(namespace) for namespace in (home, workers)] == before

    cluster.apply(a_secret(home))
    await_content(cluster, later, EXPECTED)
    after = [await_content(cluster, namespace, EXPECTED) for namespace in (home, workers)]
    assert [copy["metadata"]["uid"] for copy in after] == [copy["metadata"]["uid"] for copy in before]
    told = cluster.kubectl("get", "events", "-n", home, "-o", "yaml") + process.log.read_text(encoding="utf-8")
    assert LICENSE_ID not in told


def test_deleted_secret_revokes_when_its_time_is_over(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """A Secret that stays away counts as deleted, and one that comes back later restores everything."""
    home, workers = namespaces.create("home", "workers")
    cluster.apply(a_secret(home))
    start(an_entry(home, namespaces=[workers]), missing_seconds=0.5)
    await_content(cluster, workers, EXPECTED)

    cluster.kubectl("delete", "secret", NAME, "-n", home)
    for namespace in (home, workers):
        cluster.await_no_secret(namespace)

    cluster.apply(a_secret(home))
    for namespace in (home, workers):
        await_content(cluster, namespace, EXPECTED)


def test_missing_permission_is_told_and_revokes_nothing(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """Without its Role the controller keeps what the Secret gave, says what it lacks, and goes on once it has it."""
    [home] = namespaces.create("home")
    cluster.apply(a_secret(home))
    process = start(an_entry(home))
    before = await_content(cluster, home, EXPECTED)
    bindings = cluster.get("rolebindings", "-n", home)

    process.kill()
    cluster.kubectl("delete", "rolebindings", "--all", "-n", home)
    process.start()
    await_told(cluster, home, f"Secret {home}/{NAME} cannot be read: 403 Forbidden")
    await_turn(cluster, namespaces, "turn")
    assert cluster.secret(home) == before

    cluster.apply(a_secret(home, content=license_yaml(licenseID=ROTATED)))
    cluster.apply(
        *({**item, "metadata": {"name": item["metadata"]["name"], "namespace": home}} for item in bindings["items"])
    )
    await_content(cluster, home, expected_content(*DEFAULT_HOSTS, license_id=ROTATED))


def test_paused_secret_is_frozen(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """The annotation that freezes a License freezes one in a Secret too."""
    [home] = namespaces.create("home")
    cluster.apply(a_secret(home))
    start(an_entry(home))
    await_content(cluster, home, EXPECTED)

    cluster.kubectl("annotate", "secret", NAME, "-n", home, "proxy.kots.io/paused=true")
    cluster.kubectl(
        "patch",
        "secret",
        NAME,
        "-n",
        home,
        "-p",
        f'{{"data":{{"{LICENSE_KEY}":"{encoded(license_yaml(licenseID=ROTATED))}"}}}}',
    )
    await_turn(cluster, namespaces, "turn")
    assert content_of(cluster.secret(home)) == EXPECTED

    cluster.kubectl("annotate", "secret", NAME, "-n", home, "proxy.kots.io/paused-")
    await_content(cluster, home, expected_content(*DEFAULT_HOSTS, license_id=ROTATED))


def test_chart_value_gives_a_license(cluster: Cluster, namespaces: Namespaces, start: Start) -> None:
    """`global.replicated.dockerconfigjson` becomes a Secret in the release's namespace that covers what is listed."""
    [workers] = namespaces.create("workers")
    injected = base64.b64encode(docker_config(password=LICENSE_ID).encode()).decode()

    start(
        injectedLicense={"appSlug": "my-app", "namespaces": [workers]},
        **{"global": {"replicated": {"dockerconfigjson": injected, "customerName": "Jane"}}},
    )

    await_content(cluster, workers, EXPECTED)
    assert cluster.secret(NAMESPACE) == {}
