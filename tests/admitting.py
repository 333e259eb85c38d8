"""Pods at the door of a real API server: both roles as processes, and what everybody gets to see of an answer."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from auditing import audited
from operating import Cluster, Json
from rig.binaries import provide
from rig.controlplane import ControlPlane, ControlPlaneOptions
from rig.errors import RigError
from rig.roles import RoleProcess
from rig.waiting import wait_until

WEBHOOK: Final = "pods.proxy.kots.io"
IMAGE: Final = "quay.io/my-org/api:v1"
PROXY: Final = "proxy.replicated.com/proxy/my-app"
ANNOTATION: Final = "proxy.kots.io/original-images"
# The longest there is: on a busy machine no Pod passes unchanged because an answer came late.
PATIENT: Final[Json] = {"timeoutSeconds": 30}
REWRITE_EVERYTHING: Final[Json] = {"settings": {"rewrite": {"mode": "all"}}, "webhook": PATIENT}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a request came to.

    Attributes:
        pod: as stored, or as it would have been.
        warnings: that kubectl showed.
        audit: annotations of the request in the audit log, the API server's own included.
    """

    pod: Json
    warnings: list[str]
    audit: dict[str, str]

    @property
    def images(self) -> dict[str, str]:
        """Every image by its slot (`containers/api`)."""
        spec = self.pod["spec"]
        found = {
            f"{carrier}/{item['name']}": item["image"]
            for carrier in ("containers", "initContainers", "ephemeralContainers")
            for item in spec.get(carrier, [])
        }
        volumes = (item for item in spec.get("volumes", []) if "image" in item)
        return found | {f"volumes/{item['name']}": item["image"]["reference"] for item in volumes}

    @property
    def secrets(self) -> list[str]:
        """Names in the list of pull secrets."""
        return [entry["name"] for entry in self.pod["spec"].get("imagePullSecrets", [])]

    @property
    def told(self) -> dict[str, str]:
        """What the webhook had written into the audit log, by its own keys."""
        prefix = f"{WEBHOOK}/"
        return {key.removeprefix(prefix): text for key, text in self.audit.items() if key.startswith(prefix)}

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome or reason of each image, as the audit log has them."""
        return dict(item.split("=", maxsplit=1) for item in self.told["images"].split("; "))


@dataclass(frozen=True, slots=True)
class Admission:
    """An installation that answers reviews."""

    cluster: Cluster
    webhook: RoleProcess
    values: Json

    def create(self, pod: Json, *arguments: str) -> Seen:
        """Create a Pod with kubectl."""
        metadata = pod["metadata"]
        done = run_kubectl(self.cluster, "create", "-o", "json", "-f", "-", *arguments, given=json.dumps(pod))
        (event,) = audited(self.cluster, "create", metadata["namespace"], metadata["name"])
        return Seen(json.loads(done.stdout), warnings_of(done), event.get("annotations", {}))

    def consider(self, pod: Json, *arguments: str) -> Seen:
        """Create a Pod without storing it, under a name that no other has."""
        name = f"considered-{next(_numbers)}"
        return self.create(pod | {"metadata": pod["metadata"] | {"name": name}}, "--dry-run=server", *arguments)

    def await_told(self, pod: Json, **told: str) -> Seen:
        """Consider a Pod until the audit log says certain things: tables and configurations arrive by and by."""

        def seen() -> Seen | None:
            found = self.consider(pod)
            return found if told.items() <= found.told.items() else None

        return wait_until(seen, what=f"a review that says {told}", seconds=30)

    def count(self, name: str, **labels: str) -> float:
        """Read a counter of the webhook's metrics; 0 where there is none yet."""
        written = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        series = re.escape(f"replicated_proxy_{name}" + (f"{{{written}}}" if written else ""))
        found = re.search(rf"^{series} (\S+)$", self.webhook.answer("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def an_admission(folder: Path, values: Json, prepare: Callable[[Cluster], None]) -> Iterator[Admission]:
    """Bring up a control plane with the release and what a test needs in it, both roles running."""
    with ControlPlane(options=ControlPlaneOptions(audit_log=True)) as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(values)
        prepare(cluster)
        controller, webhook = (RoleProcess(role, cluster, folder, values) for role in ("controller", "webhook"))
        try:
            controller.start()
            webhook.start()
            yield Admission(cluster, webhook, values)
        finally:
            webhook.stop()
            controller.stop()


def a_pod(namespace: str, *images: str | Json, metadata: Json | None = None, **spec: Any) -> Json:
    """Write a Pod; a plain image stands for a container `c0`, `c1`, …, and none for one of the application's."""
    containers = [
        image if isinstance(image, dict) else {"name": f"c{index}", "image": image}
        for index, image in enumerate(images or (IMAGE,))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "main", "namespace": namespace, **(metadata or {})},
        "spec": {"containers": containers, **spec},
    }


def run_kubectl(cluster: Cluster, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl and keep what it says on both streams, as a user sees it."""
    plane = cluster.plane
    command = [str(plane.binaries["kubectl"]), f"--kubeconfig={plane.kubeconfig}", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603 - ours.
    if done.returncode:
        raise RigError(f"kubectl {' '.join(arguments)} failed: {done.stderr}")
    return done


def warnings_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the warnings that kubectl showed."""
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines() if line.startswith("Warning: ")]


def mutations_of(annotations: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return round and "changed something" of each time that the API server asked us, by its own audit annotations."""
    found = []
    for key, text in sorted(annotations.items()):
        domain, _, name = key.partition("/")
        if domain == "mutation.webhook.admission.k8s.io" and (told := json.loads(text))["webhook"] == WEBHOOK:
            found.append((name.partition("_index_")[0], told["mutated"]))
    return found
