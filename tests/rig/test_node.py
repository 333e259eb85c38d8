"""The node: real pulls through the stand-in, and nothing left on the host."""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rig.errors import RigError
from rig.node import Node
from rig.processes import run
from rig.sweeping import python_environment
from rig.waiting import wait_until

pytestmark = [pytest.mark.node, pytest.mark.host]

_IMAGE = "quay.io/my-org/api:v1.0.1"
_PROXIED = f"proxy.replicated.com/proxy/my-kots-app/{_IMAGE}"


@pytest.fixture(scope="module")
def node(bare_node: Node) -> Node:
    """A node with a private image and a license for it."""
    bare_node.push_private_image(_IMAGE)
    bare_node.stand_in.issue("abc", "my-kots-app")
    auth = base64.b64encode(b"LICENSE_ID:abc").decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {"proxy.replicated.com": {"auth": auth}}})},
    }
    bare_node.kubectl("apply", "--filename=-", input=json.dumps(secret))
    return bare_node


def _create_pod(node: Node, name: str, image: str, *secrets: str) -> None:
    spec = {"containers": [{"name": "api", "image": image}], "imagePullSecrets": [{"name": each} for each in secrets]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    node.kubectl("apply", "--filename=-", input=json.dumps(pod))


def _wait_for(node: Node, name: str, path: str, expected: str) -> None:
    def seen() -> bool:
        return node.kubectl("get", "pod", name, f"--output=jsonpath={path}") in expected.split("|")

    wait_until(seen, what=f"{name}: {expected}", seconds=30)


_WAITING = "{.status.containerStatuses[0].state.waiting.reason}"


def test_private_image_needs_the_pull_secret(node: Node) -> None:
    """Refused without the license, running with it, under the unchanged real names."""
    _create_pod(node, "without", _PROXIED)
    _wait_for(node, "without", _WAITING, "ErrImagePull|ImagePullBackOff")
    _create_pod(node, "with", _PROXIED, "pull")
    _wait_for(node, "with", "{.status.phase}", "Running")
    pulled = [each for each in node.stand_in.requests() if each.slug == "my-kots-app" and each.status == 200]
    assert any("/quay.io/my-org/api/blobs/" in each.path for each in pulled)


def test_upstream_refuses_whoever_has_no_password(node: Node) -> None:
    """The original name cannot be pulled, with or without the license."""
    _create_pod(node, "original", _IMAGE, "pull")
    _wait_for(node, "original", _WAITING, "ErrImagePull|ImagePullBackOff")


def test_revoked_license_pulls_no_more(node: Node) -> None:
    """As the real service does, and until it is restored."""
    node.push_private_image("quay.io/my-org/api:v2")
    node.stand_in.revoke("abc")
    _create_pod(node, "revoked", _PROXIED.replace("v1.0.1", "v2"), "pull")
    _wait_for(node, "revoked", _WAITING, "ErrImagePull|ImagePullBackOff")
    node.stand_in.restore("abc")
    _create_pod(node, "restored", _PROXIED.replace("v1.0.1", "v2"), "pull")
    _wait_for(node, "restored", "{.status.phase}", "Running")


def test_helm_reaches_the_node(node: Node) -> None:
    """From the host, through the forwarded port."""
    assert json.loads(node.helm("list", "--output=json")) == []


def test_public_image_needs_nothing(node: Node) -> None:
    """The other registry gives its images to everybody, under its real name, unless it is away."""
    node.push_public_image("ghcr.io/my-org/tool:v1")
    _create_pod(node, "public", "ghcr.io/my-org/tool:v1")
    _wait_for(node, "public", "{.status.phase}", "Running")
    with node.outage("ghcr.io"), pytest.raises(RigError, match="connection refused"):
        node.push_public_image("ghcr.io/my-org/tool:v2")
    node.push_public_image("ghcr.io/my-org/tool:v2")


_RESOLVE = "import socket, sys; print(*sorted(each[4][0] for each in socket.getaddrinfo(sys.argv[1], 443, type=1)))"


def _addresses(node: Node, name: str) -> list[str]:
    try:
        return node.run([sys.executable, "-c", _RESOLVE, name]).split()
    except RigError as error:
        assert "Name or service not known" in str(error)  # noqa: PT017 - anything else is a failure of the server.
        return []


def test_names_of_services_and_registries_are_served(node: Node) -> None:
    """Services by their address or, headless, by those of their Pods; real names; and no others exist."""
    _create_pod(node, "behind", "quay.io/none/such:1")
    node.kubectl("label", "pod", "behind", "app=behind")
    spec = {"clusterIP": "None", "selector": {"app": "behind"}, "publishNotReadyAddresses": True}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless"}, "spec": spec}
    node.kubectl("apply", "--filename=-", input=json.dumps(service))

    def found() -> bool:
        address = node.kubectl("get", "pod", "behind", "--output=jsonpath={.status.podIP}")
        return bool(address) and _addresses(node, "headless.default.svc.cluster.local") == [address]

    wait_until(found, what="the Pod's address", seconds=30)
    assert _addresses(node, "kubernetes.default.svc.cluster.local") == ["10.96.0.1"]
    assert _addresses(node, "ghcr.io") == ["10.9.1.3"]
    assert _addresses(node, "nowhere.example.com") == []
    assert _addresses(node, "nowhere.default.svc.cluster.local") == []


def test_unknown_private_registry_is_named(node: Node) -> None:
    """The message names the image and the remedy."""
    with pytest.raises(RigError, match=r"gcr\.io"):
        node.push_private_image("gcr.io/a/b:1")


def _host() -> tuple[str, str, str]:
    """What a node might change: mounts, network devices, routes."""
    network = (run(["ip", "-oneline", "link"]), run(["ip", "route"]))
    return Path("/proc/self/mounts").read_text(), *network


def _groups(workdir: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(Path(workdir).name))


def _kernel_settings() -> list[str]:
    names = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return [Path("/proc/sys", name).read_text() for name in names]


def _processes(workdir: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if workdir in command:
            found.append(command)
    return found


def test_host_is_as_before_after_down() -> None:
    """Mounts, control groups, network, kernel settings, processes and files."""
    before, settings = _host(), _kernel_settings()
    node = Node()
    node.up()
    assert _kernel_settings() == settings
    assert _processes(str(node.workdir))
    assert _groups(str(node.workdir))
    node.down()
    assert (_host(), _kernel_settings(), _processes(str(node.workdir))) == (before, settings, [])
    assert _groups(str(node.workdir)) == []
    assert not node.workdir.exists()


def test_host_is_as_before_after_sigkill(tmp_path: Path) -> None:
    """The kernel ends the node with the rig; the sweeper removes the rest."""
    before = _host()
    script = "import signal; from rig.node import Node\n"
    script += "node = Node(); node.up(); print(node.workdir, flush=True); signal.pause()"
    environment = {**os.environ, **python_environment()}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", script]
        rig = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)  # noqa: S603 - ours
    assert rig.stdout is not None
    workdir = rig.stdout.readline().decode().strip()
    assert _processes(workdir)
    rig.send_signal(signal.SIGKILL)
    rig.wait()
    rig.stdout.close()
    wait_until(lambda: not Path(workdir).exists(), what="the end of its files", seconds=20)
    wait_until(lambda: _processes(workdir) == [], what="the end of its processes", seconds=5)
    # The kernel takes down networks and groups a while after their last process.
    wait_until(lambda: (_host(), _groups(workdir)) == (before, []), what="the host as it was before", seconds=20)
