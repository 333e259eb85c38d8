"""Docker and kind assembled here: run by `make test-kind` alone, for it takes minutes to make what they need."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.archives import pack
from rig.assembled_docker import AssembledDocker
from rig.authority import Authority
from rig.binaries import KIND, provide
from rig.docker_images import load_oci_archive
from rig.errors import RigError
from rig.images import build_operator_image
from rig.layout import Layout
from rig.processes import run
from rig.surroundings import Surroundings
from rig.sweeping import python_environment
from rig.upstream import Upstream
from rig.waiting import wait_until

pytestmark = [pytest.mark.node, pytest.mark.host]

_IMAGE = "rig.local/pause:1"


def _host() -> tuple[str, str, str]:
    """What a daemon might change: mounts, network devices, routes."""
    return Path("/proc/self/mounts").read_text(), run(["ip", "-oneline", "link"]), run(["ip", "route"])


def _groups(workdir: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(workdir.name))


@pytest.fixture
def docker() -> Iterator[AssembledDocker]:
    """A daemon with one small image."""
    with AssembledDocker() as docker:
        archive = pack(provide(["pause"])["pause"], _IMAGE, docker.workdir / "pause.tar")
        docker.client.run("load", "--quiet", "--input", str(archive))
        yield docker


def test_privileged_container_runs_without_the_capability_that_root_lacks(docker: AssembledDocker) -> None:
    """Kind's node is such a container. What enters it sees its files, not the host's."""
    docker.client.run("run", "--detach", "--privileged", "--name", "one", _IMAGE)
    (state,) = json.loads(docker.client.run("inspect", "one"))
    assert state["State"]["Running"]
    with pytest.raises(RigError, match="no such file or directory"):
        docker.client.run("exec", "one", sys.executable)
    docker.client.run("rm", "--force", "one")
    assert docker.client.run("ps", "--all", "--quiet") == ""


def test_registries_answer_to_their_names_and_leave_nothing_behind(docker: AssembledDocker) -> None:
    """As beside kind in anybody's Docker: images are pushed by name; later neither container nor network is left."""
    layout = Layout(docker.workdir / "cluster")
    for folder in (layout.etc, layout.logs):
        folder.mkdir(parents=True)
    image = build_operator_image()
    load_oci_archive(docker.client, image.archive, image.name, layout.workdir)
    surroundings = Surroundings(docker.client, "rig-test", provide(KIND), layout)
    surroundings.up(Authority.create(layout.pki), Upstream.create(), ["quay.io"], image.name)
    crane = surroundings.crane(layout.workdir)
    run([*crane, "push", str(layout.workdir / "carrier.tar"), "ghcr.io/my-org/tool:v1"])
    assert run([*crane, "ls", "ghcr.io/my-org/tool"]).split() == ["v1"]
    with pytest.raises(RigError, match="UNAUTHORIZED"):
        run([*crane, "ls", "quay.io/my-org/api"])

    surroundings.forget()
    surroundings.down()

    assert docker.client.run("ps", "--all", "--quiet") == ""
    assert "rig-test" not in docker.client.run("network", "ls")


def test_host_is_as_before_after_down() -> None:
    """Mounts, network, control groups and files."""
    before = _host()
    docker = AssembledDocker()
    docker.up()
    assert _groups(docker.workdir)
    docker.down()
    assert (_host(), _groups(docker.workdir), docker.workdir.exists()) == (before, [], False)


def test_host_is_as_before_after_sigkill(tmp_path: Path) -> None:
    """The kernel ends the daemon with the rig; the sweeper removes the rest."""
    before = _host()
    script = "import signal; from rig.assembled_docker import AssembledDocker\n"
    script += "docker = AssembledDocker(); docker.up(); print(docker.workdir, flush=True); signal.pause()"
    with (tmp_path / "log").open("wb") as log:
        command, environment = [sys.executable, "-c", script], {**os.environ, **python_environment()}
        rig = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)  # noqa: S603 - ours
    assert rig.stdout is not None
    workdir = Path(rig.stdout.readline().decode().strip())
    rig.send_signal(signal.SIGKILL)
    rig.wait()
    rig.stdout.close()
    wait_until(lambda: not workdir.exists(), what="the end of its files", seconds=30)
    assert (_host(), _groups(workdir)) == (before, [])
