"""A cluster of kind: in the Docker of this machine with kind's own node image, or all of it assembled here."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from rig import binaries, node_image, upstream
from rig.api_server_door import ApiServerDoor
from rig.assembled_docker import AssembledDocker
from rig.authority import Authority
from rig.docker import Docker, find
from rig.docker_images import build_with, load_oci_archive
from rig.errors import RigError
from rig.images import OperatorImage
from rig.layout import REGISTRY_NETWORK, Layout, names_by_address
from rig.processes import run
from rig.progress import run_logged, step
from rig.stand_in import StandIn
from rig.surroundings import Surroundings
from rig.sweeping import Sweeping
from rig.whole import WholeCluster

_READY = "180s"
_CERTIFICATES = "/etc/containerd/certs.d"


class Kind(WholeCluster):
    """One node of kind, with registries and the stand-in in containers beside it."""

    def __init__(self, private_registries: Sequence[str] = ("quay.io",), *, assembled: bool = False) -> None:
        self.binaries = binaries.provide(binaries.KIND)
        self._assembled = AssembledDocker() if assembled else None
        docker = self._assembled.client if self._assembled is not None else find()
        if docker is None:
            raise RigError("no Docker daemon answers: start one, or use CLUSTER=kind-assembled (Linux and root)")
        self._docker: Docker = docker
        self._image = self.operator_image()
        parent = self._assembled.workdir if self._assembled is not None else None
        self.workdir = Path(tempfile.mkdtemp(prefix="rig-kind-", dir=parent))
        self._layout = Layout(self.workdir)
        self._private_registries = tuple(private_registries)
        self._upstream = upstream.Upstream.create()
        self.name = f"rig-{secrets.token_hex(4)}"
        """What kind calls the cluster, and Docker its network."""
        self._surroundings = Surroundings(docker, self.name, self.binaries, self._layout)
        self._sweeping: Sweeping | None = None
        self._door: ApiServerDoor | None = None
        self.stand_in = StandIn(self._layout.licenses, self._layout.logs / "stand-in.log")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.kubeconfig

    @property
    def certificate_authority(self) -> Path:
        """The authority of every registry's certificate."""
        return self._layout.certificate_authority

    @property
    def registry_networks(self) -> Sequence[str]:
        """Nothing of the cluster is there."""
        return [REGISTRY_NETWORK]

    def up(self) -> None:
        """Create the cluster, and what answers beside it."""
        try:
            if self._assembled is not None:
                self._assembled.up()
            with step("starting registries, and a cluster by kind"):
                self._start()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Delete the cluster, and Docker too if it is ours."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._sweeping is not None:
            self._surroundings.forget()
            if self._assembled is None:
                self._kind("delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
                self._surroundings.down()
            self._sweeping.finish()
            self._sweeping = None
        if self._assembled is not None:
            # No orderly end: it takes everything in it along.
            self._assembled.down()
        shutil.rmtree(self.workdir, ignore_errors=True)

    def operator_image(self) -> OperatorImage:
        """Return it as for every cluster; without root, which that takes, the daemon builds it."""
        return super().operator_image() if os.geteuid() == 0 else build_with(self._docker)

    def load_image(self, archive: Path) -> None:
        """Put an image archive on the node."""
        load_into(self.workdir, archive)

    def run(self, command: Sequence[str], *, stdin: str | None = None) -> str:
        """Run a command on the node."""
        return self._docker.run("exec", "--interactive", f"{self.name}-control-plane", *command, stdin=stdin)

    @contextmanager
    def outage(self, registry: str) -> Iterator[None]:
        """Refuse connections from the node and its Pods to a registry for a while."""
        names = names_by_address(self._private_registries)
        address = next(address for address, each in names.items() if registry in each)
        where = ["--destination", address, "--protocol", "tcp", "--destination-port", "443"]
        rule = [*where, "--jump", "REJECT", "--reject-with", "tcp-reset"]
        chains = ("OUTPUT", "FORWARD")
        for chain in chains:
            self.run(["iptables", "--wait", "--insert", chain, *rule])
        try:
            yield
        finally:
            for chain in chains:
                self.run(["iptables", "--wait", "--delete", chain, *rule])

    def _crane(self, home: Path) -> list[str]:
        return self._surroundings.crane(home)

    def _start(self) -> None:
        self._sweeping = Sweeping.start(self.workdir)
        environment = [f"{key}={value}" for key, value in self._environment().items()]
        kind = ["env", *environment, str(self.binaries["kind"])]
        self._layout.settings.write_text(json.dumps([*kind, "load", "image-archive", "--name", self.name]))
        authority = Authority.create(self._layout.pki)
        self._layout.etc.mkdir()
        self._layout.logs.mkdir()
        image = self._image
        if os.geteuid() == 0:
            load_oci_archive(self._docker, image.archive, image.name, self.workdir)
        self._surroundings.up(authority, self._upstream, self._private_registries, image.name)
        self._create()
        # JSON is YAML, and what reads the kubeconfigs of the other clusters need not know more than that.
        self.kubeconfig.write_text(json.dumps(yaml.safe_load(self.kubeconfig.read_text()), indent=2))
        if self._assembled is not None:
            self._door = ApiServerDoor(self._assembled.entering(), self.kubeconfig, self._layout.logs)

    def _create(self) -> None:
        trust = self._layout.etc / "certs.d"
        (trust / "_default").mkdir(parents=True)
        shutil.copyfile(self.certificate_authority, trust / "ca.crt")
        (trust / "_default" / "hosts.toml").write_text(f'ca = "{_CERTIFICATES}/ca.crt"\n')
        configuration = self._layout.etc / "kind.yaml"
        given = write_configuration(trust, assembled=self._assembled is not None)
        configuration.write_text(json.dumps(given, indent=2))
        # Without the assembled one, kind's own: its release pins it by digest.
        image = ["--image", node_image.load_node_image(self._docker)] if self._assembled is not None else []
        where = ["--name", self.name, "--kubeconfig", str(self.kubeconfig), "--config", str(configuration)]
        command = [str(self.binaries["kind"]), "create", "cluster", *where, *image, "--wait", _READY]
        run_logged(command, self._layout.logs / "kind.log", env=self._environment())

    def _kind(self, *arguments: str) -> str:
        return run([str(self.binaries["kind"]), *arguments], env=self._environment())

    def _environment(self) -> dict[str, str]:
        # Kind's own network would have addresses of version 6 too, which nothing here listens on.
        return {**self._docker.environment, "KIND_EXPERIMENTAL_DOCKER_NETWORK": self._surroundings.network}


def load_into(workdir: Path, archive: Path) -> None:
    """Put an image archive on the node of a cluster that this or another process keeps up."""
    run([*json.loads(Layout(workdir).settings.read_text()), str(archive.resolve())])


def write_configuration(trust: Path, *, assembled: bool) -> dict[str, object]:
    """Return kind's configuration: the folder ``trust`` tells containerd which authority the registries have."""
    mount = {"hostPath": str(trust), "containerPath": _CERTIFICATES, "readOnly": True}
    registries = f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{_CERTIFICATES}"\n'
    given: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": [mount]}],
        "containerdConfigPatches": [registries],
    }
    if not assembled:
        return given
    # As for our own node (rig.containerd, rig.kubelet): the machine may have control groups of version 1, and no
    # CAP_SYS_RESOURCE. The Pod network is the image's.
    score = '[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n'
    kubelet = json.dumps({"kind": "KubeletConfiguration", "failCgroupV1": False})
    return given | {
        "networking": {"disableDefaultCNI": True},
        "containerdConfigPatches": [registries, score],
        "kubeadmConfigPatches": [kubelet],
    }
