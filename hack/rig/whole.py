"""What every cluster can do on which Pods pull images and run: the node, and the one that kind makes."""

import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rig import archives, upstream
from rig.images import OperatorImage, build_operator_image
from rig.processes import run
from rig.stand_in import StandIn
from rig.up_and_down import UpAndDown


class WholeCluster(UpAndDown):
    """A cluster with registries and the stand-in beside it, all under their real names; a context manager."""

    binaries: dict[str, Path]
    workdir: Path
    """Logs of what runs beside it are in ``logs`` there."""
    stand_in: StandIn
    _private_registries: tuple[str, ...]
    _upstream: upstream.Upstream

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; works on the host."""

    @property
    @abstractmethod
    def certificate_authority(self) -> Path:
        """The authority of every registry's certificate."""

    @property
    @abstractmethod
    def registry_networks(self) -> Sequence[str]:
        """Where the registries are: networks that the operator must be allowed to ask in."""

    @abstractmethod
    def up(self) -> None:
        """Bring it up and wait until it is ready; leave nothing behind if that fails."""

    @abstractmethod
    def down(self) -> None:
        """End it and leave nothing behind; may be called twice."""

    @abstractmethod
    def load_image(self, archive: Path) -> None:
        """Put an image archive where its Pods find it."""

    @abstractmethod
    def run(self, command: Sequence[str], *, stdin: str | None = None) -> str:
        """Run a command where its containers run: their network is in sight, and their processes."""

    @abstractmethod
    def outage(self, registry: str) -> AbstractContextManager[None]:
        """Refuse connections to a registry, the proxy included, for a while, as if it were not there."""

    @abstractmethod
    def _crane(self, home: Path) -> list[str]:
        """Return the command of crane, run where the registries have their names, with ``home`` for its passwords."""

    def operator_image(self) -> OperatorImage:
        """Return the operator's image from the sources here, built if need be; `load_image` puts it on the cluster."""
        return build_operator_image()

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        """Run kubectl as the administrator and return what it printed."""
        return run([str(self.binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}", *args], stdin=input)

    def helm(self, *args: str) -> str:
        """Run helm as the administrator; its caches stay in the working folder."""
        environment = {
            "KUBECONFIG": str(self.kubeconfig),
            **{f"HELM_{kind}_HOME": str(self.workdir / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")},
        }
        return run([str(self.binaries["helm"]), *args], env=environment)

    def push_private_image(self, name: str) -> None:
        """Make an image of that name in the private registry behind the proxy; its program waits for its end."""
        self._push(name, upstream.address_of(name, self._private_registries), self._upstream)

    def push_public_image(self, name: str) -> None:
        """Make such an image in a registry that asks for no password, whether the public one or one in the cluster."""
        self._push(name, name, None)

    def _push(self, name: str, target: str, user: upstream.Upstream | None) -> None:
        registry = target.partition("/")[0]
        with tempfile.TemporaryDirectory(dir=self.workdir) as folder:
            archive = archives.pack(self.binaries["pause"], name, Path(folder) / "image.tar")
            crane = self._crane(Path(folder))
            if user is not None:
                login = ["auth", "login", registry, "--username", user.user, "--password-stdin"]
                run([*crane, *login], stdin=user.password)
            run([*crane, "push", str(archive), target])
