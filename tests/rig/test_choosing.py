"""Which cluster is used: what is found without a wish, what a wish must say, and what is refused."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rig import clusters, docker
from rig.clusters import Wish, choose, kind_for_tests, make_whole
from rig.docker import Docker
from rig.errors import RigError

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


def test_docker_that_answers_means_kind(client: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wish, kind is used where a daemon answers, and the reason says so."""
    monkeypatch.setattr("sys.platform", "linux")
    client(ANSWERS)
    assert choose() == (clusters.KIND, "a Docker daemon answers")


@pytest.mark.parametrize(
    ("obstacle", "expected"),
    [("", clusters.NODE), ("root (it makes namespaces and mounts)", clusters.CONTROL_PLANE)],
    ids=["node", "control plane"],
)
def test_client_without_a_daemon_is_no_docker(
    client: Install, monkeypatch: pytest.MonkeyPatch, obstacle: str, expected: str
) -> None:
    """Where only the client is there, it is the node, or where that cannot run the control plane."""
    client(REFUSES)
    monkeypatch.setattr(clusters, "obstacle_to_node", lambda: obstacle)
    kind, reason = choose()
    assert kind == expected
    assert obstacle in reason


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
    assert kind_for_tests({"CLUSTER": "kind-assembled"}) == clusters.KIND_ASSEMBLED
    with pytest.raises(RigError, match="existing"):
        kind_for_tests({"CLUSTER": "existing"})
    with pytest.raises(RigError, match="use one of: kind, kind-assembled, node"):
        make_whole(clusters.CONTROL_PLANE)
