"""The chart installed by helm on a node, from the operator's real image."""

from rig.cache import REPOSITORY
from rig.images import OperatorImage
from rig.node import Node
from rig.roles import CHART, NAMESPACE, RELEASE


def install_command() -> list[str]:
    """Return helm's arguments without those that name the image, as a user would type them."""
    chart = CHART.relative_to(REPOSITORY)
    return ["install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace", "--wait"]


def install_release(node: Node, image: OperatorImage) -> None:
    """Load the image and install the chart; returns when both roles are ready."""
    node.load_image(image.archive)
    repository, _, tag = image.name.rpartition(":")
    registry, _, path = repository.partition("/")
    command = [str(CHART) if word == str(CHART.relative_to(REPOSITORY)) else word for word in install_command()]
    node.helm(
        *command, "--timeout", "3m", "--set", f"image.registry={registry},image.repository={path},image.tag={tag}"
    )
