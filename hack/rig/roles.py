"""The operator's roles as processes beside a control plane, with the chart's own objects and service accounts.

A control plane runs no Pods, so the Deployments are left out and the roles run from this checkout; everything else,
RBAC and settings included, is what the chart renders. The API server reaches the webhook by URL.
"""

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from rig.cache import REPOSITORY
from rig.controlplane import ControlPlane
from rig.manifests import read_manifests
from rig.ports import free_port
from rig.processes import Process, run
from rig.waiting import wait_until

RELEASE = NAMESPACE = "replicated-proxy-operator"
CHART = REPOSITORY / "charts" / RELEASE
KINDS = ("licenses.kots.io", "applications.kots.io")
_WORKLOADS = {"Deployment", "Job", "Service", "PodDisruptionBudget"}
Json = dict[str, Any]


class LocalInstallation:
    """A control plane with the chart's objects in it, but for what would run Pods."""

    def __init__(self, plane: ControlPlane, helm: Path, *, webhook: bool = False) -> None:
        self.plane = plane
        self._helm = helm
        self._webhook_port = free_port() if webhook else 0

    def install(self, values: Json | None = None) -> None:
        """Apply the rendered chart; harmless when it is there already."""
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        documents = [manifest, *self.render(values)]
        self.plane.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(documents))
        self.plane.await_kinds(*KINDS)

    def render(self, values: Json | None = None) -> list[Json]:
        """Render the chart without workloads; the webhook is called by URL, or left out."""
        documents = [document for document in self.render_all(values) if document["kind"] not in _WORKLOADS]
        for document in documents:
            if document["kind"] == "MutatingWebhookConfiguration" and self._webhook_port:
                for entry in document["webhooks"]:
                    del entry["clientConfig"]["service"]
                    entry["clientConfig"]["url"] = f"https://localhost:{self._webhook_port}/mutate"
        return documents

    def render_all(self, values: Json | None = None) -> list[Json]:
        """Render the chart as it is, but for what `helm test` runs."""
        command = [str(self._helm), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
        command.append("--skip-tests")
        return read_manifests(run(command, stdin=json.dumps(values or {})))

    def settings(self, values: Json | None = None) -> Json:
        """Return the settings that the chart renders, with what differs outside a Pod."""
        maps = (item for item in self.render(values) if item["kind"] == "ConfigMap")
        (found,) = (item["data"]["settings.yaml"] for item in maps if item["metadata"]["name"] == RELEASE)
        settings: Json = yaml.safe_load(found)
        settings["certificates"]["extraNames"] = ["localhost"]
        settings["detection"]["replicasService"] = "localhost"
        settings["webhook"] |= {"port": self._webhook_port or free_port(), "bind": "127.0.0.1", "drainSeconds": 0.0}
        return settings

    def kubeconfig(self, role: str) -> Path:
        """Write the kubeconfig that a role gets."""
        return self.plane.kubeconfig_for_service_account(NAMESPACE, f"{RELEASE}-{role}")


def _memory_settings() -> dict[str, str]:
    """Return what the image sets for the C library, so that a process here takes the memory that a Pod would."""
    return dict(re.findall(r"(MALLOC_\w+)=(\S+)", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")))


class RoleProcess:
    """One role, as the service account that the chart makes for it: start, stop, kill.

    Started again it is the same Pod whose container crashed, so it finds its own Lease. Two of one role have different
    words as their `replica`.
    """

    def __init__(
        self,
        role: str,
        installation: LocalInstallation,
        folder: Path,
        values: Json | None = None,
        *,
        replica: str = "0",
    ) -> None:
        settings, port = installation.settings(values), free_port()
        settings[role]["healthPort"] = port
        path = folder / f"{role}-{replica}.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        account = installation.kubeconfig(role)
        command = [
            sys.executable,
            "-m",
            "replicated_proxy",
            role,
            "--settings",
            str(path),
            "--kubeconfig",
            str(account),
        ]
        self.identity = f"{role}-{replica}"
        self._health = f"http://127.0.0.1:{port}"
        self.log = folder / f"{self.identity}.log"
        env = {"POD_NAMESPACE": NAMESPACE, "POD_NAME": self.identity, **_memory_settings()}
        self._process = Process(self.identity, command, log=self.log, env=env)

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it says that it is ready."""
        self._process.start()
        if ready:
            self.await_ready()

    def await_ready(self) -> None:
        """Wait until it says that it is ready; a role that ended says why."""
        self._process.wait_ready(lambda: self.answer("/readyz") == "ok\n", what="being ready", seconds=120)

    def await_answer(self, path: str, words: str) -> None:
        """Wait until its health server says certain words."""
        wait_until(lambda: words in self.answer(path), what=f"{self.identity} to say {words!r}", seconds=30)

    def answer(self, path: str) -> str:
        """Ask its health server; empty while nothing answers."""
        try:
            with urllib.request.urlopen(f"{self._health}{path}", timeout=30) as answer:  # noqa: S310 - loopback.
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def stop(self) -> None:
        """Stop it as the kubelet does, with time to give up its Lease on a busy machine."""
        self._process.stop(60)

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
