"""Several Licenses on a real API server: which credentials stand in which namespace, and what comes of a change."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from operating import DEFAULT_HOSTS, Cluster, Json, Namespaces, a_license, an_application, content_of, routes_of
from rig.roles import RoleProcess
from rig.waiting import wait_until

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("controller")]

PROXY, REGISTRY = DEFAULT_HOSTS


class Held(NamedTuple):
    """A License in the cluster."""

    namespace: str
    name: str
    slug: str

    @property
    def license_id(self) -> str:
        """The credential, one for each License."""
        return f"id-of-{self.namespace}-{self.name}"

    def body(self, **spec: object) -> Json:
        """Write it."""
        body = a_license(self.namespace, appSlug=self.slug, licenseID=self.license_id, **spec)
        return body | {"metadata": body["metadata"] | {"name": self.name}}

    def application(self, *namespaces: str, name: str = "", **spec: object) -> Json:
        """Write an Application that is bound to it by label and lists namespaces."""
        body = an_application(self.namespace, *namespaces)
        labels = {"kots.io/app-slug": self.slug}
        return body | {
            "metadata": body["metadata"] | {"name": name or self.name, "labels": labels},
            "spec": body["spec"] | spec,
        }

    def delete(self, cluster: Cluster) -> None:
        """Delete it."""
        cluster.kubectl("delete", "license", self.name, "-n", self.namespace)


def by_age(cluster: Cluster, *held: Held) -> list[Held]:
    """Sort Licenses, the oldest first; creation times have whole seconds, so UIDs break ties."""

    def age(one: Held) -> tuple[str, str]:
        metadata = cluster.get("license", one.name, "-n", one.namespace)["metadata"]
        return metadata["creationTimestamp"], metadata["uid"]

    return sorted(held, key=age)


def expected(*held: Held) -> str:
    """Write the content for these Licenses with default hosts, the oldest first."""
    auths = dict.fromkeys(DEFAULT_HOSTS, held[0])
    if len(held) > 1:
        for one in held:
            auths |= {f"{PROXY}/proxy/{one.slug}/": one, f"{REGISTRY}/{one.slug}/": one}
    entries = {
        key: {"auth": base64.b64encode(f"LICENSE_ID:{one.license_id}".encode()).decode()}
        for key, one in sorted(auths.items())
    }
    return json.dumps({"auths": entries}, separators=(",", ":"))


def await_content(cluster: Cluster, namespace: str, *held: Held) -> Json:
    """Wait until a namespace's pull secret holds these Licenses, the oldest first, and return it."""

    def found() -> Json | None:
        secret = cluster.secret(namespace)
        return secret if secret and content_of(secret) == expected(*held) else None

    return wait_until(found, what=f"{[one.name for one in held]} in {namespace}", seconds=30)


def await_reason(cluster: Cluster, kind: str, namespace: str, name: str, reason: str) -> Json:
    """Wait until an object's `Ready` has a reason, and return the condition."""

    def found() -> Json | None:
        condition = cluster.condition(kind, namespace, name, "Ready")
        return condition if condition.get("reason") == reason else None

    return wait_until(found, what=f"{kind} {name} to be {reason}", seconds=30)


def published(cluster: Cluster, held: Held) -> Json:
    """Return a License's row of the published table, or an empty one."""
    rows: Iterable[Json] = json.loads(routes_of(cluster) or '{"routes":[]}')["routes"]
    return next((row for row in rows if row["license"] == f"{held.namespace}/{held.name}"), {})


def keys_of(cluster: Cluster, namespace: str) -> list[str]:
    """Return the keys of a namespace's pull secret, which follows the table."""
    secret = cluster.secret(namespace)
    return list(json.loads(content_of(secret))["auths"]) if secret else []


def test_applications_in_their_own_namespaces_keep_to_themselves(cluster: Cluster, namespaces: Namespaces) -> None:
    """Licenses whose namespaces do not meet each give theirs the very bytes that KOTS would."""
    one, two, workers, jobs = namespaces.create("one", "two", "workers", "jobs")
    shop, shop2 = Held(one, "shop", "shop"), Held(two, "shop2", "shop2")

    cluster.apply(shop.body(), shop.application(workers), shop2.body(), shop2.application(jobs))

    for namespace, held in ((one, shop), (workers, shop), (two, shop2), (jobs, shop2)):
        await_content(cluster, namespace, held)


def test_overlapping_coverage_merges_and_each_deletion_leaves_the_others(
    cluster: Cluster, namespaces: Namespaces
) -> None:
    """Three Licenses share a namespace by `"*"`; as the oldest go one by one its Secret follows in place."""
    homes = namespaces.create("one", "two", "three")
    [shared] = namespaces.create("shared")
    held = [Held(home, slug, slug) for home, slug in zip(homes, ("shop", "shop2", "sh"), strict=True)]
    for one in held:
        cluster.apply(one.body(), one.application("*"))
    oldest, middle, youngest = by_age(cluster, *held)

    before = await_content(cluster, shared, oldest, middle, youngest)
    for home in homes:
        await_content(cluster, home, oldest, middle, youngest)

    oldest.delete(cluster)
    await_content(cluster, shared, middle, youngest)
    middle.delete(cluster)
    last = await_content(cluster, shared, youngest)

    assert last["metadata"]["uid"] == before["metadata"]["uid"]
    for namespace in (oldest.namespace, middle.namespace):
        await_content(cluster, namespace, youngest)


def test_deleting_a_younger_license_takes_its_entries_alone(cluster: Cluster, namespaces: Namespaces) -> None:
    """The host keys stay the oldest one's, in the same object."""
    one, two, three = namespaces.create("one", "two", "three")
    held = [Held(home, slug, slug) for home, slug in ((one, "shop"), (two, "shop2"), (three, "sh"))]
    cluster.apply(*(body for item in held for body in (item.body(), item.application("*"))))
    oldest, middle, youngest = by_age(cluster, *held)
    before = await_content(cluster, one, oldest, middle, youngest)

    middle.delete(cluster)

    assert await_content(cluster, one, oldest, youngest)["metadata"]["uid"] == before["metadata"]["uid"]


def test_applications_of_one_namespace_are_told_apart_by_label(cluster: Cluster, namespaces: Namespaces) -> None:
    """Two Licenses in one namespace share its Secret; each Application widens the License that its label names."""
    home, workers, jobs = namespaces.create("home", "workers", "jobs")
    shop, shop2 = Held(home, "shop", "shop"), Held(home, "shop2", "shop2")

    cluster.apply(shop.body(), shop2.body(), shop.application(workers), shop2.application(jobs))

    await_content(cluster, home, *by_age(cluster, shop, shop2))
    await_content(cluster, workers, shop)
    await_content(cluster, jobs, shop2)


def test_unlabelled_application_beside_two_licenses_is_not_bound(cluster: Cluster, namespaces: Namespaces) -> None:
    """Nobody's credential is spread by a guess: the Application says so, until a label names a License."""
    home, workers = namespaces.create("home", "workers")
    shop, shop2 = Held(home, "shop", "shop"), Held(home, "shop2", "shop2")
    cluster.apply(shop.body(), shop2.body(), an_application(home, workers))

    await_content(cluster, home, *by_age(cluster, shop, shop2))
    words = "(shop, shop2): name one by the label kots.io/app-slug"
    # Seen before its Licenses, or between them, it is told something else at first.
    wait_until(
        lambda: words in cluster.condition("application", home, "my-app", "Ready").get("message", ""),
        what=f"an Application that is told {words!r}",
        seconds=20,
    )
    condition = await_reason(cluster, "application", home, "my-app", "NotBound")
    cluster.await_no_secret(workers)

    assert condition["status"] == "False"

    cluster.kubectl("label", "application", "my-app", "-n", home, "kots.io/app-slug=shop2")

    await_content(cluster, workers, shop2)
    await_reason(cluster, "application", home, "my-app", "Bound")


def test_same_slug_twice_in_one_namespace_is_shadowed(cluster: Cluster, namespaces: Namespaces) -> None:
    """The older License counts, the other one says which it is; once that is deleted, the other takes its place."""
    home, workers = namespaces.create("home", "workers")
    first, second = Held(home, "first", "shop"), Held(home, "second", "shop")
    cluster.apply(first.body(), second.body(), first.application(workers))
    winner, loser = by_age(cluster, first, second)

    before = await_content(cluster, workers, winner)
    condition = await_reason(cluster, "license", home, loser.name, "Shadowed")
    await_reason(cluster, "license", home, winner.name, "Usable")

    assert f"{home}/{winner.name}" in condition["message"]

    winner.delete(cluster)

    for namespace in (home, workers):
        await_content(cluster, namespace, loser)
    await_reason(cluster, "license", home, loser.name, "Usable")
    assert cluster.secret(workers)["metadata"]["uid"] == before["metadata"]["uid"]


def test_nearer_license_of_a_slug_goes_first(cluster: Cluster, namespaces: Namespaces) -> None:
    """Of two Licenses of one slug the namespace's own counts, then the one that lists it, then the one with `"*"`."""
    wide, near, listed, anywhere = namespaces.create("wide", "near", "listed", "anywhere")
    far, close = Held(wide, "shop", "shop"), Held(near, "shop", "shop")
    cluster.apply(far.body(), far.application("*"), close.body(), close.application(listed))

    for namespace, held in ((wide, far), (near, close), (listed, close), (anywhere, far)):
        await_content(cluster, namespace, held)
    await_reason(cluster, "license", wide, "shop", "Shadowed")
    await_reason(cluster, "license", near, "shop", "Usable")

    close.delete(cluster)

    for namespace in (near, listed):
        await_content(cluster, namespace, far)
    await_reason(cluster, "license", wide, "shop", "Usable")


def test_several_applications_of_a_license_are_one_union(cluster: Cluster, namespaces: Namespaces) -> None:
    """Each adds its namespaces; taking one away takes its namespaces alone."""
    home, workers, jobs, both = namespaces.create("home", "workers", "jobs", "both")
    shop = Held(home, "shop", "shop")
    cluster.apply(
        shop.body(), shop.application(workers, both, name="first"), shop.application(jobs, both, name="second")
    )
    for namespace in (home, workers, jobs, both):
        await_content(cluster, namespace, shop)

    cluster.kubectl("delete", "application.kots.io", "second", "-n", home)

    cluster.await_no_secret(jobs)
    for namespace in (home, workers, both):
        assert content_of(cluster.secret(namespace)) == expected(shop)


def test_applications_that_disagree_about_hosts_say_so(cluster: Cluster, namespaces: Namespaces) -> None:
    """The oldest Application's domain counts, and a younger one that names another reports it."""
    [home] = namespaces.create("home")
    shop = Held(home, "shop", "shop")
    hosts = {"one": "one.acme.example", "two": "two.acme.example"}
    cluster.apply(shop.body(), *(shop.application(name=name, proxyRegistryDomain=host) for name, host in hosts.items()))
    metadata = [cluster.get("application.kots.io", name, "-n", home)["metadata"] for name in hosts]
    older, younger = (one["name"] for one in sorted(metadata, key=lambda one: (one["creationTimestamp"], one["uid"])))

    condition = await_reason(cluster, "application", home, younger, "HostOverridden")
    await_reason(cluster, "application", home, older, "Bound")

    assert hosts[younger] in condition["message"]
    wait_until(
        lambda: published(cluster, shop).get("proxyHost") == hosts[older], what="the older one's host", seconds=20
    )
    wait_until(lambda: hosts[older] in keys_of(cluster, home), what="the host in the Secret", seconds=20)
    assert hosts[younger] not in keys_of(cluster, home)


def test_bad_entries_are_named_and_the_good_ones_work(cluster: Cluster, namespaces: Namespaces) -> None:
    """Patterns, template text, illegal names and upstreams are skipped and reported, each by itself."""
    home, good = namespaces.create("home", "good")
    shop = Held(home, "shop", "shop")
    bad = ["team-*", "{{repl Namespace}}", "Upper", "under_score", "-dash", "a.b", "x" * 64]
    application = shop.application(*bad[:3], good, *bad[3:])
    application["metadata"]["annotations"] = {"proxy.kots.io/upstreams": "quay.io/shop, https://ghcr.io/shop"}
    cluster.apply(shop.body(), application)

    await_content(cluster, good, shop)
    condition = await_reason(cluster, "application", home, "shop", "EntriesSkipped")

    assert [entry for entry in [*bad, "https://ghcr.io/shop"] if entry[:40] not in condition["message"]] == []
    assert good not in condition["message"]
    wait_until(
        lambda: published(cluster, shop).get("claimedUpstreams") == ["quay.io/shop"], what="the good one", seconds=20
    )


def test_what_an_application_says_is_published(cluster: Cluster, namespaces: Namespaces) -> None:
    """Exclusions, claims and domains stand in the License's row of the table, the domains in the Secret as well."""
    [home] = namespaces.create("home")
    shop = Held(home, "shop", "shop")
    application = shop.application(
        "*",
        excludedImages=["nginx", "quay.io/shop/open:v1"],
        additionalImages=["ghcr.io/shop/agent"],
        proxyRegistryDomain="proxy.acme.example",
        replicatedRegistryDomain="images.acme.example",
    )
    application["metadata"]["annotations"] = {"proxy.kots.io/upstreams": "quay.io/shop,ghcr.io"}
    cluster.apply(shop.body(), application)

    row = wait_until(
        lambda: row if (row := published(cluster, shop)).get("everyNamespace") else None, what="the row", seconds=20
    )
    keys = ["images.acme.example", "proxy.acme.example", *DEFAULT_HOSTS]

    assert row["excludedImages"] == ["nginx", "quay.io/shop/open:v1"]
    assert row["claimedImages"] == ["ghcr.io/shop/agent"]
    assert row["claimedUpstreams"] == ["quay.io/shop", "ghcr.io"]
    assert (row["proxyHost"], row["registryHost"]) == ("proxy.acme.example", "images.acme.example")
    wait_until(lambda: keys_of(cluster, home) == keys, what=f"{keys} in the Secret", seconds=20)


def test_pending_namespace_of_two_licenses_gets_both(cluster: Cluster, namespaces: Namespaces) -> None:
    """A namespace that both list and that does not exist is pending for each, and gets both when it appears."""
    one, two = namespaces.create("one", "two")
    shop, shop2 = Held(one, "shop", "shop"), Held(two, "shop2", "shop2")
    later = namespaces.name("later")
    cluster.apply(shop.body(), shop.application(later), shop2.body(), shop2.application(later))
    for held in (shop, shop2):
        wait_until(
            lambda: (
                cluster.get("license", held.name, "-n", held.namespace)  # noqa: B023 - called at once.
                .get("status", {})
                .get("namespaces", {})
                .get("pending")
            ),
            what="the pending namespace",
            seconds=20,
        )

    namespaces.create("later")

    await_content(cluster, later, *by_age(cluster, shop, shop2))


def test_license_id_that_changes_reaches_the_merged_secrets(cluster: Cluster, namespaces: Namespaces) -> None:
    """A renewed License replaces its own entries in place; the others' bytes stay."""
    one, two = namespaces.create("one", "two")
    shop, shop2 = Held(one, "shop", "shop"), Held(two, "shop2", "shop2")
    cluster.apply(shop.body(), shop.application("*"), shop2.body(), shop2.application("*"))
    oldest, other = by_age(cluster, shop, shop2)
    before = await_content(cluster, one, oldest, other)

    patch = json.dumps({"spec": {"licenseID": "renewed"}})
    cluster.kubectl("patch", "license", other.name, "-n", other.namespace, "--type=merge", "-p", patch)
    renewed = base64.b64encode(b"LICENSE_ID:renewed").decode()
    after = wait_until(
        lambda: secret if renewed in content_of(secret := cluster.secret(one)) else None, what="renewal", seconds=20
    )

    former = base64.b64encode(f"LICENSE_ID:{other.license_id}".encode()).decode()
    assert content_of(after) == expected(oldest, other).replace(former, renewed)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.fixture
def creating(cluster: Cluster, controller: RoleProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterable[None]:
    """The controller with `createNamespaces`, in place of the one that only waits for them."""
    controller.stop()
    values = {"settings": {"secret": {"createNamespaces": True}}}
    cluster.install(values)
    running = RoleProcess("controller", cluster, tmp_path_factory.mktemp("creating"), values)
    running.start()
    yield
    running.stop()
    cluster.install()
    controller.start()


@pytest.mark.usefixtures("creating")
def test_listed_namespaces_are_created_where_the_administrator_allows(cluster: Cluster, namespaces: Namespaces) -> None:
    """With `createNamespaces` what Applications list comes to exist, with nothing but its name; bad entries do not."""
    one, two = namespaces.create("one", "two")
    shop, shop2 = Held(one, "shop", "shop"), Held(two, "shop2", "shop2")
    made, shared = namespaces.name("made"), namespaces.name("shared")
    cluster.apply(shop.body(), shop.application(made, shared, "Bad_Name"), shop2.body(), shop2.application(shared))

    await_content(cluster, made, shop)
    await_content(cluster, shared, *by_age(cluster, shop, shop2))
    namespaces.created += [made, shared]

    metadata = cluster.get("namespace", made)["metadata"]
    assert list(metadata["labels"]) == ["kubernetes.io/metadata.name"]
    assert "annotations" not in metadata
