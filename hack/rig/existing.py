"""A cluster that somebody else runs: used by the name of its context, and left as it was found."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rig import binaries
from rig.errors import RigError
from rig.processes import run
from rig.up_and_down import UpAndDown


class Existing(UpAndDown):
    """Words for one context of the user's kubeconfig; a context manager that deletes what was made through it."""

    def __init__(self, context: str, kubeconfig: str = "") -> None:
        self.binaries = binaries.provide(["kubectl", "helm"])
        self._context = context
        # kubectl's own rules where nothing is given: KUBECONFIG, then the home folder.
        self._environment = {"KUBECONFIG": kubeconfig} if kubeconfig else {}
        self._namespaces: list[str] = []
        self._releases: list[tuple[str, str]] = []

    def up(self) -> None:
        """Look whether it is there.

        Raises:
            RigError: the kubeconfig has no such context, or nobody answers.
        """
        known = run([str(self.binaries["kubectl"]), "config", "get-contexts", "-o", "name"], env=self._environment)
        if self._context not in known.split():
            found = ", ".join(known.split()) or "none"
            raise RigError(f"the kubeconfig has no context {self._context!r}; it has: {found}")
        self.kubectl("get", "--raw", "/readyz")

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        """Run kubectl with the context."""
        command = [str(self.binaries["kubectl"]), f"--context={self._context}", *args]
        return run(command, stdin=input, env=self._environment)

    def create_namespace(self, name: str) -> None:
        """Create a namespace that `down` deletes.

        Raises:
            RigError: it is there already, and hence not ours.
        """
        if self.kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name").strip():
            raise RigError(f"the namespace {name} exists in {self._context}: nothing of it is touched; remove it first")
        self.kubectl("create", "namespace", name)
        self._namespaces.append(name)

    def install(self, name: str, chart: Path, namespace: str, values: Sequence[str]) -> None:
        """Install a chart that `down` uninstalls, with helm's arguments for values, into a namespace made here."""
        if namespace not in self._namespaces:
            raise RigError(f"the namespace {namespace} was not created here")
        self._releases.append((name, namespace))
        self._helm("install", name, str(chart), "--namespace", namespace, "--wait", "--timeout", "3m", *values)

    def down(self) -> None:
        """Delete what was made here, and nothing else; may be called twice."""
        while self._releases:
            name, namespace = self._releases.pop()
            self._helm("uninstall", name, "--namespace", namespace, "--ignore-not-found", "--wait", "--timeout", "3m")
        while self._namespaces:
            self.kubectl("delete", "namespace", self._namespaces.pop(), "--ignore-not-found", "--timeout=120s")

    def _helm(self, *args: str) -> str:
        with tempfile.TemporaryDirectory(prefix="rig-helm-") as home:
            homes = {f"HELM_{kind}_HOME": f"{home}/{kind}" for kind in ("CACHE", "CONFIG", "DATA")}
            command = [str(self.binaries["helm"]), f"--kube-context={self._context}", *args]
            return run(command, env={**self._environment, **homes})
