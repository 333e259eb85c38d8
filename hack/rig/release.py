"""The chart installed by helm on a cluster with Pods, from the operator's real image."""

import json
import tarfile
from pathlib import Path

from rig.cache import REPOSITORY
from rig.errors import RigError
from rig.images import OperatorImage
from rig.layout import REGISTRY_NETWORK
from rig.processes import run
from rig.roles import CHART, NAMESPACE, RELEASE
from rig.whole import WholeCluster

AUTHORITY = "registry-authority"
"""The ConfigMap of the authority that the node's registries have their certificates of."""


def install_command() -> list[str]:
    """Return helm's arguments without those that name the image, as a user would type them."""
    chart = CHART.relative_to(REPOSITORY)
    # The node's registries have private addresses and a private authority; those of the internet need neither.
    network = ["--set", f"settings.detection.allowedNetworks={{{REGISTRY_NETWORK}}}"]
    authority = ["--set", f"detectionCa.configMap={AUTHORITY}"]
    return ["install", RELEASE, str(chart), "--namespace", NAMESPACE, "--wait", *network, *authority]


def install_release(node: WholeCluster, image: OperatorImage, chart: Path = CHART) -> None:
    """Load the image and install the chart; returns when both roles are ready."""
    node.load_image(image.archive)
    _publish_authority(node)
    _helm(node, install_command(), image, chart)


def upgrade_release(node: WholeCluster, image: OperatorImage, *values: str) -> None:
    """Upgrade the release to the chart as it is here, with more values than it was installed with."""
    more = [argument for value in values for argument in ("--set", value)]
    _helm(node, ["upgrade", *install_command()[1:], *more], image, CHART)


def render_release(node: WholeCluster, image: OperatorImage, *values: str) -> str:
    """Render what `install_release` installs, with more values, as plain manifests without tests."""
    more = [argument for value in values for argument in ("--set", value)]
    command = ["template", *(word for word in install_command()[1:] if word != "--wait"), "--skip-tests", *more]
    return _helm(node, command, image, CHART)


def previous_chart(folder: Path) -> Path:
    """Unpack the chart as it was before its last change, and return where it is.

    That is the last commit's where the files here differ from it, otherwise that of the commit before the one which
    changed it last: so there is a difference, whatever was committed last. Where nothing is kept of earlier times (a
    shallow clone, an archive), it is the chart as it is.
    """
    name = str(CHART.relative_to(REPOSITORY))
    try:
        if _git("status", "--porcelain", "--", name).strip():
            commit = _git("rev-parse", "HEAD").strip()
        else:
            last = _git("log", "-1", "--format=%H", "--", name).strip()
            commit = _git("rev-parse", "--verify", f"{last}^").strip()
        archive = folder / "chart.tar"
        _git("archive", f"--output={archive}", commit, "--", name)
    except RigError:
        return CHART
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / name


def _helm(node: WholeCluster, command: list[str], image: OperatorImage, chart: Path) -> str:
    """Run helm for the chart at a place, with the image; returns what it printed."""
    repository, _, tag = image.name.rpartition(":")
    registry, _, path = repository.partition("/")
    command = [str(chart) if word == str(CHART.relative_to(REPOSITORY)) else word for word in command]
    return node.helm(
        *command,
        "--timeout",
        "3m",
        "--set-string",
        f"image.registry={registry},image.repository={path},image.tag={tag}",
    )


def _git(*arguments: str) -> str:
    """Ask git about this checkout, whoever owns its files."""
    return run(["git", "-C", str(REPOSITORY), "-c", f"safe.directory={REPOSITORY}", *arguments])


def _publish_authority(node: WholeCluster) -> None:
    """Put the registries' authority where the chart mounts it from; harmless when it is there already.

    The namespace takes restricted Pods only, so that whatever the tests show is shown of such.
    """
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    for made in (
        json.dumps(namespace),
        node.kubectl(
            *("create", "configmap", AUTHORITY, "--namespace", NAMESPACE, "--dry-run=client", "-o", "json"),
            f"--from-file=ca.crt={node.certificate_authority}",
        ),
    ):
        node.kubectl("apply", "--server-side", "-f", "-", input=made)
