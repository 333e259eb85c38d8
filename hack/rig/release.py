"""The chart installed by helm on a node, from the operator's real image."""

from rig.cache import REPOSITORY
from rig.images import OperatorImage
from rig.layout import REGISTRY_NETWORK
from rig.node import Node
from rig.roles import CHART, NAMESPACE, RELEASE

AUTHORITY = "registry-authority"
"""The ConfigMap of the authority that the node's registries have their certificates of."""


def install_command() -> list[str]:
    """Return helm's arguments without those that name the image, as a user would type them."""
    chart = CHART.relative_to(REPOSITORY)
    # The node's registries have private addresses and a private authority; those of the internet need neither.
    network = ["--set", f"settings.detection.allowedNetworks={{{REGISTRY_NETWORK}}}"]
    authority = ["--set", f"detectionCa.configMap={AUTHORITY}"]
    return ["install", RELEASE, str(chart), "--namespace", NAMESPACE, "--wait", *network, *authority]


def install_release(node: Node, image: OperatorImage) -> None:
    """Load the image and install the chart; returns when both roles are ready."""
    node.load_image(image.archive)
    _publish_authority(node)
    repository, _, tag = image.name.rpartition(":")
    registry, _, path = repository.partition("/")
    command = [str(CHART) if word == str(CHART.relative_to(REPOSITORY)) else word for word in install_command()]
    node.helm(
        *command, "--timeout", "3m", "--set", f"image.registry={registry},image.repository={path},image.tag={tag}"
    )


def _publish_authority(node: Node) -> None:
    """Put the registries' authority where the chart mounts it from; harmless when it is there already."""
    for made in (
        node.kubectl("create", "namespace", NAMESPACE, "--dry-run=client", "-o", "json"),
        node.kubectl(
            *("create", "configmap", AUTHORITY, "--namespace", NAMESPACE, "--dry-run=client", "-o", "json"),
            f"--from-file=ca.crt={node.certificate_authority}",
        ),
    ):
        node.kubectl("apply", "--server-side", "-f", "-", input=made)
