"""The operating guide, command by command on a node: install, upgrade, break the glass, uninstall."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from demo.story import IMAGE, LICENSE, LICENSE_ID
from guide import STORY, Block, matches, read_blocks
from rig.cache import REPOSITORY
from rig.images import build_operator_image
from rig.layout import REGISTRY_NETWORK
from rig.node import Node

pytestmark = [pytest.mark.node, pytest.mark.own_node]
BLOCKS: Final = [block for page in STORY for block in read_blocks(page) if not block.reason_not_to_run]
_SHOWN: Final = """\
image:
  registry: registry.example.com
  repository: platform/replicated-proxy-operator
  tag: 0.1.0
"""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Somebody with a checkout, `kubectl`, `helm` and the guide.

    Attributes:
        folder: where they are: the chart is below it, as in a checkout, and their files.
        environment: of their shell.
        stands_for: what the guide shows, and what they write in its place.
    """

    folder: Path
    environment: dict[str, str]
    stands_for: tuple[str, str]

    def type(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block as somebody who pastes it into a shell; both streams come back as one."""
        command = ["bash", "-euo", "pipefail", "-c", block.command.replace(*self.stands_for)]
        return subprocess.run(  # noqa: S603 - the guide's own commands.
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=400,
        )


@pytest.fixture(scope="module")
def administrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administrator]:
    """A node with nothing of the operator but its image, and the file that a vendor portal hands out."""
    image = build_operator_image()
    folder = tmp_path_factory.mktemp("administrator")
    programs = folder / "bin"
    programs.mkdir()
    (folder / "charts").symlink_to(REPOSITORY / "charts")
    metadata = {"name": LICENSE["metadata"]["name"]}
    (folder / "license.yaml").write_text(json.dumps(LICENSE | {"metadata": metadata}), encoding="utf-8")
    with Node() as node:
        node.push_private_image(IMAGE)
        node.stand_in.issue(LICENSE_ID, LICENSE["spec"]["appSlug"])
        node.load_image(image.archive)
        for name in ("kubectl", "helm"):
            (programs / name).symlink_to(node.binaries[name])
        yield Administrator(
            folder, _environment(node, folder), (_SHOWN, _values_here(image.name, node.certificate_authority))
        )


def _environment(node: Node, folder: Path) -> dict[str, str]:
    """Return the environment of the administrator's shell: programs, cluster, and a home of their own."""
    homes = {f"HELM_{kind}_HOME": str(folder / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, **homes, "PATH": path, "KUBECONFIG": str(node.kubeconfig), "HOME": str(folder)}


def _values_here(image: str, authority: Path) -> str:
    """Write what stands here for the image of the guide; registries on the node are private ones."""
    repository, _, tag = image.rpartition(":")
    registry, _, path = repository.partition("/")
    metadata = {"name": "registry-authority"}
    data = {"ca.crt": authority.read_text(encoding="utf-8")}
    values = {
        "image": {"registry": registry, "repository": path, "tag": tag},
        "settings": {"detection": {"allowedNetworks": [REGISTRY_NETWORK]}, "webhook": {"drainSeconds": 3}},
        "detectionCa": {"configMap": metadata["name"]},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}],
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def test_every_command_does_what_the_guide_says(administrator: Administrator) -> None:
    """From the first to the last, a command succeeds, or fails where the guide says so, and prints what it shows."""
    for block in BLOCKS:
        done = administrator.type(block)
        told = f"{block.place} ended with status {done.returncode} and printed:\n{done.stdout}"

        assert bool(done.returncode) == block.fails, told
        assert not block.prints or matches(block.prints, done.stdout), told
