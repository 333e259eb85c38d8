"""The control plane that the other tests stand on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditing import lines_of
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.processes import run
from rig.sweeping import python_environment
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane with an audit log."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        yield plane


def _who_am_i(plane: ControlPlane, kubeconfig: Path) -> dict[str, object]:
    command = [str(plane.binaries["kubectl"]), f"--kubeconfig={kubeconfig}", "auth", "whoami", "--output=json"]
    user: dict[str, object] = json.loads(run(command))["status"]["userInfo"]
    return user


def test_users_are_who_their_certificate_says(plane: ControlPlane) -> None:
    """User and groups come from the certificate."""
    user = _who_am_i(plane, plane.kubeconfig_for("jane", ["devs"]))
    assert (user["username"], user["groups"]) == ("jane", ["devs", "system:authenticated"])


def test_service_account_acts_through_its_token(plane: ControlPlane) -> None:
    """The real identity of a Pod, for tests of its rights."""
    plane.kubectl("create", "serviceaccount", "robot")
    user = _who_am_i(plane, plane.kubeconfig_for_service_account("default", "robot"))
    assert user["username"] == "system:serviceaccount:default:robot"


def test_outage_keeps_port_and_data(plane: ControlPlane) -> None:
    """Clients find the same API server again."""
    plane.kubectl("create", "configmap", "before")
    plane.api_server.stop()
    with pytest.raises(RigError, match="refused"):
        plane.kubectl("get", "configmap", "before")
    plane.api_server.start()
    assert "before" in plane.kubectl("get", "configmap", "before")


def test_audit_log_tells_who_asked_for_what(plane: ControlPlane) -> None:
    """It is complete when the answer is out."""
    plane.kubectl("get", "secrets", "--namespace=kube-public")
    events = [json.loads(line) for line in lines_of(plane.audit_log)]
    asked = {
        (each["user"]["username"], each["verb"], each["objectRef"].get("resource"))
        for each in events
        if "objectRef" in each
    }
    assert ("rig-admin", "list", "secrets") in asked


def test_killed_rig_leaves_nothing(tmp_path: Path) -> None:
    """Processes and files end even if nobody can clean up any more."""
    script = "import signal, sys; from rig.controlplane import ControlPlane\n"
    script += (
        "plane = ControlPlane(); plane.up(); print(plane.workdir, plane.api_server.pid, flush=True); signal.pause()"
    )
    environment = {**os.environ, **python_environment()}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", script]
        rig = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)  # noqa: S603 - ours
    assert rig.stdout is not None
    workdir, pid = rig.stdout.readline().split()
    rig.send_signal(signal.SIGKILL)
    rig.wait()
    rig.stdout.close()
    wait_until(lambda: not Path(workdir.decode()).exists(), what="the end of its files", seconds=10)
    wait_until(lambda: not Path(f"/proc/{int(pid)}/cmdline").exists(), what="the end of the API server", seconds=10)
