"""Which cluster is used: what is found without a wish, what a wish must say, and what is refused."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rig import clusters, docker, official_image
from rig.clusters import Wish, choose, choose_for_tests, make_whole
from rig.docker import Docker
from rig.errors import RigError
from selecting import why_left_out

Install = Callable[[str], Path]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a program called docker first on the search path, with a script of one's own."""

    def install(script: str) -> Path:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return program

    return install


ANSWERS = "echo 29.1.0"
REFUSES = "echo Cannot connect to the Docker daemon >&2; exit 1"


PULLED = 'echo 29.1.0; echo "$*" >> "$0.calls"; test "$1" != image'
NOT_PULLED = """case "$1" in
image) echo 'Error: No such image' >&2; exit 1 ;;
pull) echo 'kindest/node: Pulling'; echo 'Error response from daemon: no route to host' >&2; exit 1 ;;
esac
echo 29.1.0"""
IMAGE = f"kindest/node:v1.99.0@sha256:{'0' * 64}"
OBSTACLES = [
    pytest.param("", clusters.NODE, "Linux and root, which are here", id="node"),
    pytest.param("root (it makes namespaces and mounts)", clusters.CONTROL_PLANE, "root (it makes", id="control plane"),
]


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pinned image of one's own on Linux, and an empty cache; returns the log of pulling."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(official_image, "pinned_image", lambda: IMAGE)
    return tmp_path / "replicated-proxy-operator" / "docker-images" / "pull.log"


@pytest.fixture
def without_image(client: Install, pinned: Path) -> Path:
    """A Docker that neither has the image nor can pull it; returns the log of pulling."""
    client(NOT_PULLED)
    return pinned


@pytest.mark.usefixtures("pinned")
def test_docker_that_has_the_node_image_means_kind(client: Install) -> None:
    """Without a wish, kind is used where a daemon answers and has the image; nothing is pulled."""
    calls = client(f'{ANSWERS}; echo "$*" >> "$0.calls"').with_suffix(".calls")
    assert choose() == (clusters.KIND, "Docker answers, and has kind's node image")
    assert calls.read_text().splitlines()[1:] == [f"image inspect {IMAGE}"]


@pytest.mark.usefixtures("pinned")
def test_node_image_that_is_missing_is_pulled(client: Install) -> None:
    """Where the image can be pulled, kind is used as well, and the image is the pinned one."""
    calls = client(PULLED).with_suffix(".calls")
    assert choose()[0] == clusters.KIND
    assert calls.read_text().splitlines()[1:] == [f"image inspect {IMAGE}", f"pull {IMAGE}"]


@pytest.mark.parametrize(("obstacle", "expected", "words"), OBSTACLES)
def test_docker_without_the_node_image_is_not_kind(
    without_image: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str, expected: str, words: str
) -> None:
    """Where the image cannot be pulled, the next cluster is used, with Docker's own reason."""
    monkeypatch.setattr(clusters, "obstacle_to_node", lambda: obstacle)
    kind, reason = choose()
    said = "Docker answers, but the node image kindest/node:v1.99.0 cannot be had: Error response from daemon: no route"
    assert kind == expected
    assert reason.startswith(said)
    assert str(without_image) in reason
    assert words in reason


def test_what_docker_says_of_a_pull_is_shown_and_kept(without_image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log holds the last attempt whole, and its end goes to the user."""
    for _ in range(2):
        choose()
    said = ["kindest/node: Pulling", "Error response from daemon: no route to host"]
    assert without_image.read_text().splitlines() == said
    shown = capsys.readouterr().err
    assert f"pulling {IMAGE}: failed" in shown
    assert "\n".join(said) in shown


def test_kind_that_is_asked_for_is_used_without_its_image(without_image: Path) -> None:
    """A wish is not traded for another cluster: nothing is pulled, and what is missing is said by kind itself."""
    assert choose(Wish(clusters.KIND)) == (clusters.KIND, "asked for")
    assert not without_image.exists()


def test_release_of_kind_that_cannot_be_read_is_no_kind(
    client: Install, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kind's module is out of reach the next cluster is used, with that reason; nothing is pulled."""

    def out_of_reach() -> str:
        raise RigError("no module proxy answers")

    client(ANSWERS)
    monkeypatch.setattr(official_image, "pinned_image", out_of_reach)
    kind, reason = choose()
    assert kind in {clusters.NODE, clusters.CONTROL_PLANE}
    assert "Docker answers" in reason
    assert "no module proxy answers" in reason
    assert not pinned.exists()


def test_pinned_image_is_the_one_that_kinds_release_names() -> None:
    """It is read from the pinned module, with its digest: nothing here repeats it."""
    assert re.fullmatch(r"kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64}", official_image.pinned_image())


def test_release_that_names_no_digest_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is not pinned is not used, and the place is named where to say it."""
    source = tmp_path / "pkg" / "apis" / "config" / "defaults" / "image.go"
    source.parent.mkdir(parents=True)
    source.write_text('const Image = "kindest/node:latest"\n')
    monkeypatch.setattr(official_image, "module_folder", lambda *_: tmp_path)
    with pytest.raises(RigError, match=r"names no image with a digest: say in rig/official_image\.py"):
        official_image.pinned_image()


@pytest.mark.parametrize(("obstacle", "expected", "words"), OBSTACLES)
def test_client_without_a_daemon_is_no_docker(
    client: Install, monkeypatch: pytest.MonkeyPatch, obstacle: str, expected: str, words: str
) -> None:
    """Where only the client is there, it is the node, or where that cannot run the control plane."""
    monkeypatch.setattr("sys.platform", "linux")
    client(REFUSES)
    monkeypatch.setattr(clusters, "obstacle_to_node", lambda: obstacle)
    kind, reason = choose()
    assert kind == expected
    assert reason.startswith("no Docker; a node needs ")
    assert words in reason


def test_daemon_is_asked_and_its_refusal_kept(client: Install) -> None:
    """What is wrong with a daemon is said in the words of its client."""
    refusing = client(REFUSES)
    assert Docker(str(refusing)).obstacle() == "Cannot connect to the Docker daemon"
    answering = client(ANSWERS)
    assert Docker(str(answering)).obstacle() == ""


def test_daemon_that_hangs_counts_as_none(client: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long for a daemon that does not answer."""
    monkeypatch.setattr(docker, "_ANSWER_SECONDS", 0.2)
    client("exec tail -f /dev/null")
    assert docker.find() is None


def test_settings_of_a_daemon_go_to_its_client(client: Install) -> None:
    """A client is led to its daemon by the command itself, so that a child that outlives us is too."""
    found = Docker(str(client('echo "$DOCKER_HOST $*"')), {"DOCKER_HOST": "unix:///tmp/a.sock"})
    assert found.run("ps", "--all") == "unix:///tmp/a.sock ps --all\n"
    assert found.environment["DOCKER_HOST"] == "unix:///tmp/a.sock"


@pytest.mark.parametrize("kind", [kind for kind in clusters.KINDS if kind != clusters.EXISTING])
def test_wish_beats_what_is_found(client: Install, kind: str) -> None:
    """What is asked for is used, whatever answers."""
    client(ANSWERS)
    assert choose(Wish(kind)) == (kind, "asked for")


REFUSALS = [
    pytest.param(Wish("minikube"), "no cluster of kind 'minikube'; there are: kind, node", id="unknown kind"),
    pytest.param(Wish("existing"), "needs CONTEXT=… and IMAGE=…", id="neither context nor image"),
    pytest.param(Wish("existing", image="r.example.com/o:1"), "needs CONTEXT=…: ", id="no context"),
    pytest.param(Wish("existing", "prod"), "needs IMAGE=…: ", id="no image"),
    pytest.param(Wish("", "prod"), "CONTEXT=prod is for an existing cluster: say CLUSTER=existing", id="context alone"),
    pytest.param(Wish("node", "prod"), "CONTEXT=prod is for an existing cluster", id="context for another kind"),
]


@pytest.mark.parametrize(("wish", "words"), REFUSALS)
def test_wish_that_says_too_little_or_too_much_is_refused(wish: Wish, words: str) -> None:
    """The message names what is missing and what there is."""
    with pytest.raises(RigError) as refused:
        choose(wish)
    assert words in str(refused.value)


def test_a_kubeconfig_alone_leads_to_no_existing_cluster(client: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """That KUBECONFIG is set is no wish: nobody's cluster is used by accident."""
    client(REFUSES)
    monkeypatch.setenv("KUBECONFIG", "/somebody/kubeconfig")
    assert choose()[0] in {clusters.NODE, clusters.CONTROL_PLANE}


def test_wish_is_read_from_the_variables_of_the_makefile() -> None:
    """CLUSTER, CONTEXT and IMAGE; other variables mean nothing."""
    given = {"CLUSTER": "existing", "CONTEXT": "dev", "IMAGE": "r.example.com/o:1", "KUBECONFIG": "/a"}
    assert Wish.read(given) == Wish("existing", "dev", "r.example.com/o:1")
    assert Wish.read({"KUBECONFIG": "/a"}) == Wish()


def test_tests_with_pods_take_the_same_wish_but_no_existing_cluster() -> None:
    """The tests create and delete too much for a cluster that is somebody's."""
    assert choose_for_tests({"CLUSTER": "kind-assembled"}) == (clusters.KIND_ASSEMBLED, "asked for")
    with pytest.raises(RigError, match="existing"):
        choose_for_tests({"CLUSTER": "existing"})
    with pytest.raises(RigError, match="use one of: kind, kind-assembled, node"):
        make_whole(clusters.CONTROL_PLANE)


HERE = "no Docker; a node needs root"
MADE_HERE = "a node, a Docker or an image on this machine itself"
LEFT_OUT = [
    pytest.param(["node"], clusters.CONTROL_PLANE, f"no Pod runs on a control-plane ({HERE})", id="Pods, no node"),
    pytest.param(["own_node"], clusters.CONTROL_PLANE, f"no Pod runs on a control-plane ({HERE})", id="own node"),
    pytest.param(["apiserver"], clusters.CONTROL_PLANE, "", id="API server alone"),
    pytest.param(["node", "host"], clusters.KIND, "", id="root beside kind"),
    pytest.param([], clusters.CONTROL_PLANE, "", id="no cluster"),
    pytest.param(["node", "own_node"], clusters.NODE, "", id="on our node"),
    pytest.param(["node"], clusters.KIND, "", id="Pods on kind"),
    pytest.param(
        ["node", "own_node"],
        clusters.KIND,
        f"reaching into the rig's own node, and this is kind ({HERE})",
        id="our node's on kind",
    ),
]


@pytest.mark.parametrize(("marks", "kind", "reason"), LEFT_OUT)
def test_tests_are_left_out_where_they_cannot_run(marks: list[str], kind: str, reason: str) -> None:
    """Those with Pods where only a control plane runs, those of our node on kind, and no other; with the reason."""
    assert why_left_out(marks, kind, HERE, "") == reason


@pytest.mark.parametrize(
    ("marks", "kind", "reason"),
    [
        pytest.param(["node", "host"], clusters.KIND, f"making {MADE_HERE}, which needs root", id="host on kind"),
        pytest.param(["node"], clusters.KIND, "", id="Pods on kind"),
        pytest.param(["apiserver"], clusters.KIND, "", id="API server alone"),
        pytest.param(
            ["node", "host"], clusters.CONTROL_PLANE, f"no Pod runs on a control-plane ({HERE})", id="no Pods"
        ),
    ],
)
def test_what_is_made_on_the_machine_itself_is_left_out_without_root(marks: list[str], kind: str, reason: str) -> None:
    """Who has Docker but is not root runs all tests with Pods on kind, and none that ends for want of root."""
    assert why_left_out(marks, kind, HERE, "root") == reason


def test_every_test_that_makes_a_node_of_its_own_says_so() -> None:
    """Whatever takes root is marked, so that it is left out for who is not: `own_node` is chosen for root alone."""
    needing = re.compile(
        r"\b(?:bare_node|Node\(\)|AssembledDocker\(\)|build_operator_image\(|build_for_all_platforms\()"
    )
    tests = [path for room in ("node", "rig") for path in (Path(__file__).parents[1] / room).glob("test_*.py")]
    unmarked = [
        path.name
        for path in tests
        if path != Path(__file__)
        and needing.search(text := path.read_text(encoding="utf-8"))
        and not re.search(r"^pytestmark = .*pytest\.mark\.(?:host|own_node)\b", text, re.MULTILINE)
    ]
    assert unmarked == []
