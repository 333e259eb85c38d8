"""Hostile and huge Pods on a real API server: each is stored as it was sent, or rewritten, and nobody else notices.

What the API server sends on is what it made of a request: keys are exact and the last one counts, fields that it does
not know are gone, and what is no text has become U+FFFD. Images are stored whatever they say; names are looked at only
after the webhooks.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from admitting import ANNOTATION, IMAGE, PROXY, REWRITE_EVERYTHING, Admission, a_pod, an_admission
from operating import SECRET, Cluster, Json, a_license
from rig.errors import RigError

pytestmark = pytest.mark.apiserver

NAMESPACE: Final = "app"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
DRY: Final = f"{PODS}?dryRun=All"
numbers: Final = itertools.count()
LIMIT: Final = 192 * 1024  # KiB: what the chart lets the webhook have.


def prepare(cluster: Cluster) -> None:
    """Make the application's namespace."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.apply(a_license(NAMESPACE))


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """An installation in which every image of the namespace is wanted."""
    with an_admission(tmp_path_factory.mktemp("roles"), REWRITE_EVERYTHING, prepare) as admission:
        admission.await_told(a_pod(NAMESPACE), images="containers/c0=rewritten")
        yield admission


@pytest.fixture(autouse=True)
def _clean(admission: Admission) -> Iterator[None]:
    """After each test: no review failed inside, the webhook lives, and an ordinary Pod is rewritten as always."""
    yield
    assert admission.consider(a_pod(NAMESPACE)).images == {"containers/c0": f"{PROXY}/{IMAGE}"}
    assert admission.count("reviews_total", dry_run="false", outcome="failed") == 0
    assert admission.count("reviews_total", dry_run="true", outcome="failed") == 0
    admission.cluster.kubectl("delete", "pods", "--all", "-n", NAMESPACE, "--force", "--grace-period=0")


def send(admission: Admission, folder: Path, body: bytes, path: str = PODS) -> Json:
    """Send bytes to the API server as they are; returns the Pod as stored."""
    file = folder / "body.json"
    file.write_bytes(body)
    stored: Json = json.loads(admission.cluster.kubectl("create", "--raw", path, "-f", str(file)))
    return stored


def named(**metadata: Any) -> Json:
    """Return the metadata of a Pod whose name no other has, so that the audit log has one request for it."""
    return {"name": f"hostile-{next(numbers)}", **metadata}


def many(count: int, **differs: Any) -> Json:
    """Write a Pod with many containers."""
    return a_pod(NAMESPACE, *(f"q.io/a/c{index}" for index in range(count)), **differs)


HOSTILE_IMAGES: Final = {
    "nul": "quay.io/\0/api",
    "line-breaks": "quay.io:5000/a\r\nX-Header: planted\r\n\r\nplanted",
    "terminal": "quay.io:5000/\x1b[2J\x9b31mplanted",
    "right-to-left": "quay.io:5000/\u202eplanted\u2066",
    "emoji": "quay.io/\U0001f600",
    "percent": "%s%n%(planted)s",
    "placeholders": "{0.__class__}${planted}$(planted)",
    "markup": "quay.io/<script>planted</script>&amp;",
    "backslashes": 'quay.io/\\"planted\\u0041"',
    "look-alike": "qu\u0430y.io/my-org/api:v1",
    "line-break-inside": "quay.io/my-org/a\npi:v1",
}


@pytest.mark.parametrize("image", HOSTILE_IMAGES.values(), ids=HOSTILE_IMAGES.keys())
def test_hostile_image_is_stored_as_it_is(admission: Admission, image: str) -> None:
    """An image that is none is left byte for byte, counted, and shown to nobody as it is."""
    seen = admission.create(a_pod(NAMESPACE, image, "nginx", metadata=named()))

    assert seen.images == {"containers/c0": image, "containers/c1": f"{PROXY}/nginx"}
    assert seen.outcomes == {"containers/c0": "invalid-reference", "containers/c1": "rewritten"}
    assert all(text.isprintable() for text in (*seen.warnings, *seen.told.values()))


def test_hostile_host_is_warned_about_in_plain_words(admission: Admission) -> None:
    """Where the image cannot go through the proxy the user is told so, in a line of 120 characters."""
    images = (f"quay.io:5000/{'a' * 200}{index}" for index in range(9))
    seen = admission.create(a_pod(NAMESPACE, *images, metadata=named()))

    assert len(seen.warnings) == 5
    assert all(len(text) <= 120 and text.isprintable() for text in seen.warnings)
    assert seen.warnings[-1] == "and 5 more images were not proxied"


HOSTILE_NAMES: Final = ["a/b~1c", "\x1b[31m\r\n", "\u202e", "-", "n" * 100_000, "{}%s"]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=["slash", "escape", "mark", "dash", "long", "format"])
def test_hostile_name_is_the_api_server_s_to_refuse(admission: Admission, name: str) -> None:
    """Names reach the webhook unchecked: the review is answered, and the refusal speaks of the name only."""
    before = admission.count("reviews_total", dry_run="false", outcome="patched")
    with pytest.raises(RigError) as refusal:
        admission.create(a_pod(NAMESPACE, {"name": name, "image": "nginx"}))

    assert "spec.containers[0].name" in str(refusal.value)
    assert "replicated" not in re.sub(r"'/[^ ]*|--kubeconfig=[^ ]*", "", str(refusal.value))
    assert admission.count("reviews_total", dry_run="false", outcome="patched") == before + 1


CASES: Final = [
    (b'"image":"localhost/x","image":"%s"', f"{PROXY}/{IMAGE}"),
    (b'"image":"%s","image":"localhost/x"', "localhost/x"),
    (b'"image":"%s","Image":"localhost/x","IMAGE":"localhost/y"', f"{PROXY}/{IMAGE}"),
    (b'"\\u0069mage":"%s"', f"{PROXY}/{IMAGE}"),
    (b'"image":"quay.io/\xff\xc0\x80/x"', "quay.io/\ufffd\ufffd\ufffd/x"),
    (b'"image":"quay.io/\\ud800/x"', "quay.io/\ufffd/x"),
]


@pytest.mark.parametrize(("written", "stored"), CASES, ids=["last", "first", "case", "escape", "bytes", "surrogate"])
def test_webhook_reads_what_is_stored(admission: Admission, tmp_path: Path, written: bytes, stored: str) -> None:
    """Keys twice or in another case, and bytes that are no text: nobody gets one image reviewed and another stored."""
    body = json.dumps(a_pod(NAMESPACE)).encode()
    text = written.replace(b"%s", IMAGE.encode())
    pod = send(admission, tmp_path, body.replace(b'"image": "' + IMAGE.encode() + b'"', text))

    assert pod["spec"]["containers"][0]["image"] == stored


def test_nesting_in_managed_fields_costs_the_rewrite_and_nothing_else(admission: Admission, tmp_path: Path) -> None:
    """The one thing that users nest as deep as they like: the review is malformed, the Pod stored as it was sent."""
    before = admission.count("reviews_total", dry_run="false", outcome="malformed")
    fields = b'{"f:a":' * 3000 + b"{}" + b"}" * 3000
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": "here"}
    pod = a_pod(NAMESPACE, metadata={"managedFields": [entry]})
    file = tmp_path / "body.json"
    file.write_bytes(json.dumps(pod).encode().replace(b'"here"', fields))
    admission.cluster.kubectl("create", "--raw", PODS, "-f", str(file))
    path = "jsonpath={.spec.containers[0].image}"

    assert admission.cluster.kubectl("get", "pod", "main", "-n", NAMESPACE, "-o", path) == IMAGE
    assert admission.count("reviews_total", dry_run="false", outcome="malformed") == before + 1


def test_annotations_without_room_lack_ours_only(admission: Admission) -> None:
    """A Pod whose annotations are all but full is rewritten, and a warning says what was left out."""
    seen = admission.create(a_pod(NAMESPACE, metadata=named(annotations={"a": "x" * 262_100})))

    assert seen.images == {"containers/c0": f"{PROXY}/{IMAGE}"}
    assert list(seen.pod["metadata"]["annotations"]) == ["a"]
    assert any(ANNOTATION in text for text in seen.warnings)


@pytest.mark.parametrize("count", [200, 3000])
def test_every_one_of_many_containers_is_rewritten(admission: Admission, tmp_path: Path, count: int) -> None:
    """Of a Pod with as many containers as etcd takes every one is rewritten, in its place."""
    pod = send(admission, tmp_path, json.dumps(many(count)).encode())

    images = [container["image"] for container in pod["spec"]["containers"]]
    assert images == [f"{PROXY}/q.io/a/c{index}" for index in range(count)]
    originals = json.loads(pod["metadata"]["annotations"][ANNOTATION])
    assert originals == {f"containers/c{index}": f"q.io/a/c{index}" for index in range(count)}
    assert [entry["name"] for entry in pod["spec"]["imagePullSecrets"]] == [SECRET]


@pytest.mark.parametrize("count", [11_000, 20_000], ids=["over-the-limit-of-images", "over-the-limit-of-bytes"])
def test_pod_beyond_any_node_stays_as_it_is(admission: Admission, tmp_path: Path, count: int) -> None:
    """A review that is too much gets a 4xx, and the API server goes on with the Pod as it was sent."""
    pod = send(admission, tmp_path, json.dumps(many(count)).encode(), DRY)

    assert {container["image"].partition("/")[0] for container in pod["spec"]["containers"]} == {"q.io"}
    assert "imagePullSecrets" not in pod["spec"]


LARGE: Final[dict[str, Json]] = {
    "image-of-a-megabyte": a_pod(NAMESPACE, "quay.io/" + "a-" * 600_000, "nginx"),
    "images-of-4096": a_pod(NAMESPACE, "nginx", *("a-" * 2048 for _ in range(250))),
    "labels-30000": a_pod(NAMESPACE, "localhost/a", "nginx", metadata={"labels": {f"l{i}": "" for i in range(30_000)}}),
    "pull-secrets-20000": a_pod(
        NAMESPACE, "localhost/a", "nginx", imagePullSecrets=[{"name": f"s{i}"} for i in range(20_000)]
    ),
    "volumes-3000": a_pod(
        NAMESPACE, "localhost/a", "nginx", volumes=[{"name": f"v{i}", "emptyDir": {}} for i in range(3000)]
    ),
}


@pytest.mark.parametrize("sent", LARGE.values(), ids=LARGE.keys())
def test_large_pod_is_rewritten_where_it_can_be(admission: Admission, tmp_path: Path, sent: Json) -> None:
    """Images that cannot be proxied stay, those beside them are rewritten, and nothing else of the Pod changes."""
    pod = send(admission, tmp_path, json.dumps(sent).encode())

    expected = [item["image"] if item["image"] != "nginx" else f"{PROXY}/nginx" for item in sent["spec"]["containers"]]
    assert [container["image"] for container in pod["spec"]["containers"]] == expected
    assert pod["metadata"].get("labels") == sent["metadata"].get("labels")
    assert pod["spec"]["imagePullSecrets"] == [*sent["spec"].get("imagePullSecrets", []), {"name": SECRET}]


def test_others_are_rewritten_meanwhile(admission: Admission, tmp_path: Path) -> None:
    """While one user sends huge Pods, the Pods of others are rewritten as always."""
    body = json.dumps(many(3000)).encode()
    folders = [tmp_path / str(index) for index in range(6)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(2) as others:
        huge = [others.submit(send, admission, folder, body, DRY) for folder in folders]
        reviewed = [admission.consider(a_pod(NAMESPACE)).images["containers/c0"]]
        while not all(sent.done() for sent in huge):
            reviewed.append(admission.consider(a_pod(NAMESPACE)).images["containers/c0"])

    assert all(sent.result()["spec"]["imagePullSecrets"] for sent in huge)
    assert set(reviewed) == {f"{PROXY}/{IMAGE}"}


def test_nothing_of_it_stays(admission: Admission) -> None:
    """After all of that the webhook never took more memory than it may, and its log quotes nothing and says little."""
    status = Path(f"/proc/{admission.webhook.pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    log = admission.webhook.log.read_text(encoding="utf-8")

    assert peak is not None
    assert int(peak[1]) < LIMIT
    assert {json.loads(line)["level"] for line in log.splitlines()} == {"INFO"}
    assert "planted" not in log
    assert "Traceback" not in log
