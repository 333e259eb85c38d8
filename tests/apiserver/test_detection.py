"""Mode `private` on a real API server, with real registries: what is asked, how often, and what outlives whom."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPSConnection
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from loopback_registries import BUSY, PRIVATE, PUBLIC, SLOW, RunningRegistries
from operating import ROUTES, SECRET, Cluster, Json, a_license, an_application, routes_of
from replicated_proxy.core.verdict_documents import decode_verdicts
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.resources import Resource
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import NAMESPACE as OPERATOR
from rig.roles import RELEASE, RoleProcess
from rig.waiting import wait_until
from serving import a_pod_body, a_review, read_patch, read_response, to_bytes

pytestmark = pytest.mark.apiserver

APP = "app"
PROXY = "proxy.replicated.com/proxy/my-app"
PODS = Resource("", "v1", "pods")
INVENTED: Final = 300
QUESTIONS_PER_SECOND: Final = 2.0  # So few that so many names are too many even where posting them takes minutes.
UNNAMED_SHARE: Final = QUESTIONS_PER_SECOND / 2
UNNAMED_BURST: Final = 30 * UNNAMED_SHARE


@dataclass
class Installed:
    """Both roles, running in mode `private`, and the registries that they ask."""

    cluster: Cluster
    registries: RunningRegistries
    controller: RoleProcess
    webhook: RoleProcess
    _numbers: Iterator[int] = field(default_factory=count)

    def pod(self, *images: str) -> Json:
        """Write a Pod of these images."""
        containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
        metadata = {"name": f"pod-{next(self._numbers)}", "namespace": APP}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}

    def create(self, *images: str, dry_run: bool = False) -> list[str]:
        """Create a Pod and return its images as stored."""
        options = ["--dry-run=server"] if dry_run else []
        body = json.dumps(self.pod(*images))
        pod = json.loads(self.cluster.kubectl("create", *options, "-o", "json", "-f", "-", input=body))
        images_stored = [container["image"] for container in pod["spec"]["containers"]]
        named = [entry["name"] for entry in pod["spec"].get("imagePullSecrets", [])]
        assert (SECRET in named) == any(image.startswith(PROXY) for image in images_stored)
        return images_stored

    def metric(self, role: RoleProcess, name: str, **labels: str) -> float:
        """Read a sample."""
        written = ",".join(f'{label}="{word}"' for label, word in sorted(labels.items()))
        series = re.escape(f"replicated_proxy_{name}" + (f"{{{written}}}" if written else ""))
        found = re.search(rf"^{series} (\S+)$", role.answer("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def count(self, name: str, **labels: str) -> float:
        """Read a sample of the webhook's detection."""
        return self.metric(self.webhook, f"detection_{name}", **labels)

    def published(self) -> dict[str, str]:
        """Return what stands in the ConfigMap about repositories."""
        data = self.cluster.get("configmap", ROUTES, "-n", OPERATOR).get("data", {})
        return {each.repository: each.visibility.value for each in decode_verdicts(data.get("verdicts.json", ""))}

    def await_published(self, *images: str) -> None:
        """Wait until something stands there about these images' repositories."""
        wanted = {image.partition(":")[0] for image in images}
        wait_until(lambda: wanted <= self.published().keys(), what=f"{wanted} in {ROUTES}", seconds=90)


def proxied(image: str) -> str:
    """Return what an image becomes."""
    return f"{PROXY}/{image}"


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistries]:
    """Registries that run."""
    with RunningRegistries(tmp_path_factory.mktemp("registries")) as running:
        yield running


@pytest.fixture(scope="module")
def installed(registries: RunningRegistries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Install the release with a License; ready once the API server calls the webhook."""
    folder: Path = tmp_path_factory.mktemp("roles")
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(registries.values)
        cluster.kubectl("create", "namespace", APP)
        cluster.apply(a_license(APP))
        controller, webhook = (
            RoleProcess(role, cluster, folder, registries.values) for role in ("controller", "webhook")
        )
        made = Installed(cluster, registries, controller, webhook)
        try:
            controller.start()
            webhook.start()
            first = f"{PRIVATE}/first/app:v1"
            wait_until(lambda: made.create(first, dry_run=True) == [proxied(first)], what="a review", seconds=60)
            yield made
        finally:
            webhook.stop()
            controller.stop()


@pytest.fixture
async def client(installed: Installed) -> AsyncIterator[KubeClient]:
    """The product's own client, as the administrator."""
    connected = await KubeClient.connect(installed.cluster.plane.kubeconfig)
    yield connected
    await connected.close()


def test_public_image_stays_and_private_one_is_rewritten(installed: Installed) -> None:
    """What can be pulled without a password stays, what cannot goes through the proxy; each was asked for once."""
    public, private = f"{PUBLIC}/team/web:v1", f"{PRIVATE}/team/api:v1"
    before = {word: installed.count("probes_total", outcome=word, cause="") for word in ("public", "private")}

    for _ in range(3):
        assert installed.create(public, private) == [public, proxied(private)]
    assert installed.create(f"{PUBLIC}/team/web:v2") == [f"{PUBLIC}/team/web:v2"]

    assert installed.registries.asked(public) == installed.registries.asked(private) == 1
    for word, number in before.items():
        assert installed.count("probes_total", outcome=word, cause="") == number + 1


async def test_many_pods_at_once_are_one_question(installed: Installed, client: KubeClient) -> None:
    """Twenty Pods created side by side ask for their image once, and each is decided by the answer."""
    image = f"{PUBLIC}/team/fleet:v1"
    created = await asyncio.gather(*(client.create(PODS, installed.pod(image), APP) for _ in range(20)))
    assert [pod["spec"]["containers"][0]["image"] for pod in created] == [image] * 20
    assert installed.registries.asked(image) == 1


def test_hanging_registry_costs_the_deadline_once(installed: Installed) -> None:
    """The first Pod is admitted at the deadline; other images of that registry, and it again, are not waited for."""
    images = [f"{SLOW}/team/{name}:v1" for name in ("one", "two", "three", "one")]
    misses, waits = installed.count("answers_total", answer="miss"), installed.count("waits_total", result="deadline")

    for image in images:
        assert installed.create(image) == [proxied(image)]

    assert installed.count("waits_total", result="deadline") == waits + 1
    assert installed.count("answers_total", answer="miss") >= misses + 3
    assert installed.create(f"{PUBLIC}/team/meanwhile:v1") == [f"{PUBLIC}/team/meanwhile:v1"]
    wait_until(
        lambda: installed.count("probes_total", outcome="failed", cause="timeout") >= 3,
        what="the questions to be given up",
        seconds=30,
    )
    assert installed.create(images[0]) == [proxied(images[0])]
    assert installed.count("waits_total", result="deadline") == waits + 1


def test_registry_that_is_asked_too_much_is_left_alone(installed: Installed) -> None:
    """After a 429 with `Retry-After` no other question goes to that registry; its images count as private."""
    first, second = f"{BUSY}/team/one:v1", f"{BUSY}/team/two:v1"
    for image in (first, second, first):
        assert installed.create(image) == [proxied(image)]
    assert (installed.registries.asked(first), installed.registries.asked(second)) == (1, 0)
    assert installed.count("answers_total", answer="limited") == 2


def test_dry_run_is_answered_the_same_and_what_it_learned_is_known(installed: Installed) -> None:
    """A server-side dry run waits for the registry like any review, and the Pod that follows asks nobody."""
    image = f"{PUBLIC}/team/tried:v1"
    assert installed.create(image, dry_run=True) == [image]
    assert installed.create(image) == [image]
    assert installed.registries.asked(image) == 1


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who reaches a replica's port, past the API server.

    Attributes:
        replica: its process.
        port: where it takes reviews.
        bundle: PEM of the authority behind its certificate.
        begun: when the replica had not asked anything yet.
    """

    replica: RoleProcess
    port: int
    bundle: str
    begun: float

    def post(self, reviews: Sequence[Json]) -> list[Json]:
        """Post reviews one after the other, and return the responses."""
        context = ssl.create_default_context(cadata=self.bundle)
        with closing(HTTPSConnection("localhost", self.port, context=context, timeout=30)) as connection:
            return [read_response(self._post(connection, to_bytes(review))) for review in reviews]

    def post_at_once(self, reviews: Sequence[Json], connections: int = 8) -> list[Json]:
        """Post reviews on several connections."""
        with ThreadPoolExecutor(connections) as pool:
            parts = pool.map(self.post, (reviews[start::connections] for start in range(connections)))
        return [response for part in parts for response in part]

    @staticmethod
    def _post(connection: HTTPSConnection, body: bytes) -> bytes:
        """Post one, again where a busy replica asks for that, as the API server does."""
        while True:
            connection.request("POST", "/mutate", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                return text


@pytest.fixture
def stranger(installed: Installed, tmp_path: Path) -> Iterator[Stranger]:
    """A replica of its own that may ask little, with a License that covers every namespace, and a stranger at it."""
    cluster = installed.cluster
    impatient = {"questionsPerSecond": QUESTIONS_PER_SECOND, "deadline": 1.0}  # Most wait in vain, and many of them.
    values: Json = {"settings": {"detection": installed.registries.values["settings"]["detection"] | impatient}}
    site = Cluster(cluster.plane, provide(["helm"])["helm"], webhook=True)
    replica = RoleProcess("webhook", site, tmp_path, values, replica="strict")
    cluster.apply(an_application(APP, "*"))
    try:
        wait_until(lambda: '"everyNamespace":true' in routes_of(cluster), what="a table with the wildcard", seconds=30)
        begun = time.monotonic()
        replica.start()
        (entry,) = cluster.get("mutatingwebhookconfiguration", RELEASE)["webhooks"]
        bundle = base64.b64decode(entry["clientConfig"]["caBundle"]).decode()
        yield Stranger(replica, site.settings(values)["webhook"]["port"], bundle, begun)
    finally:
        replica.stop()
        cluster.kubectl("delete", "applications.kots.io", "--all", "-n", APP)


def a_claim(image: str, namespace: str) -> Json:
    """Write a review of a Pod that says it is the application's: nothing else is under `"*"` alone."""
    pod = a_pod_body(image, metadata={"labels": {"proxy.kots.io/app": "my-app"}})
    return a_review(pod, namespace=namespace)


def test_invented_namespaces_cannot_outrun_their_share(installed: Installed, stranger: Stranger) -> None:
    """However many names are made up, the registry is asked no more than `"*"` may; a named namespace is answered."""
    images = [f"{PUBLIC}/invented/app{number}:v1" for number in range(INVENTED)]

    def asked() -> int:
        return sum(map(installed.registries.asked, images))

    responses = stranger.post_at_once([a_claim(image, f"invented-{n}") for n, image in enumerate(images)])
    wait_until(lambda: asked() >= UNNAMED_BURST, what="the registry to hear what may be asked at once", seconds=30)
    held = installed.metric(stranger.replica, "detection_probes_total", outcome="held-back", cause="wildcard")
    questions = asked()
    most = UNNAMED_BURST + UNNAMED_SHARE * (time.monotonic() - stranger.begun)
    named = f"{PUBLIC}/team/named:v1"
    (answered,) = stranger.post([a_claim(named, APP)])

    assert questions <= most
    assert held >= INVENTED - most
    rewritten = [read_patch(each) for each in responses if "patch" in each]
    assert f"{PROXY}/{PUBLIC}/invented/" in str(rewritten[0])
    assert held <= len(rewritten) < INVENTED
    assert installed.registries.asked(named) == 1
    assert "patch" not in answered


def test_words_outlive_replicas_and_registries(installed: Installed) -> None:
    """Restarted, first the webhook and then both roles, they know what was said: nobody is asked, nobody waits."""
    public, private = f"{PUBLIC}/kept/web:v1", f"{PRIVATE}/kept/api:v1"
    assert installed.create(public, private) == [public, proxied(private)]
    # A new leader goes on from what is published and writes at once what replicas know beside it.
    installed.controller.kill()
    installed.controller.start()
    installed.await_published(public, private, f"{PUBLIC}/team/web:v1")
    assert installed.metric(installed.controller, "verdict_collections_total", result="changed") >= 1
    installed.registries.stop()  # For good: this is the last test of the module.

    for restarted in ([installed.webhook], [installed.controller, installed.webhook]):
        for role in restarted:
            role.kill()
        for role in restarted:
            role.start()
        wait_until(
            lambda: installed.create(public, private, dry_run=True) == [public, proxied(private)],
            what="the API server to reach the webhook again",
            seconds=30,
        )
        assert installed.create(public, private) == [public, proxied(private)]
        assert installed.count("answers_total", answer="miss") == 0
        assert installed.count("waits_total", result="deadline") == 0
    installed.await_published(public, private)
