"""The part of the story that a control plane can tell: it has no kubelet, so Pods are admitted and never run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Protocol

import yaml

from demo.story import APPLICATION, IMAGE, LICENSE, PROXIED, SECRET
from demo.telling import Teller, await_that
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.roles import LocalInstallation, RoleProcess

VALUES = {"settings": {"rewrite": {"mode": "all"}}}


def tell_locally(teller: Teller) -> None:
    """Tell it: roles beside the control plane, pull secrets and rewritten Pods, revocation."""
    teller.console.print(
        "A control plane runs no Pods: images are rewritten here and never pulled. There is no registry to"
    )
    teller.console.print("ask either, so the mode is `all`: whether an image is private is not found out.")
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
        installation = LocalInstallation(plane, provide(["helm"])["helm"], webhook=True)
        roles: list[RoleProcess] = []
        try:
            _tell(AdmissionStory(plane, teller), installation, Path(folder), roles)
        finally:
            for role in roles:
                role.stop()


def _tell(story: AdmissionStory, installation: LocalInstallation, folder: Path, roles: list[RoleProcess]) -> None:
    """Tell the steps; started roles are noted as they come."""
    story.image_is_left_alone()
    with story.teller.step("The chart's objects applied, both roles started beside the control plane"):
        installation.install(VALUES)
        for name in ("controller", "webhook"):
            roles.append(RoleProcess(name, installation, folder, VALUES))
            roles[-1].start()
            story.teller.saw(name, "ready")
    story.image_is_rewritten()
    story.license_is_deleted()


class Kubectl(Protocol):
    """A cluster that can be spoken to."""

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        """Run kubectl as the administrator."""


class AdmissionStory:
    """The steps with kubectl in hand: they need no registry, for no Pod is stored."""

    def __init__(self, cluster: Kubectl, teller: Teller) -> None:
        self._cluster = cluster
        self.teller = teller

    def image_is_left_alone(self) -> None:
        """Without the operator a Pod keeps its image."""
        with self.teller.step("A Pod with a private image, before the operator is there"):
            if not self._cluster.kubectl("get", "namespace", "my-app", "--ignore-not-found", "-o", "name").strip():
                self._cluster.kubectl("create", "namespace", "my-app")
            await_that(lambda: self._found("serviceaccount", "default"), "the service account")
            self.teller.saw("image", self._dry_run())
            self.teller.check(holds=self._dry_run() == IMAGE, claim=IMAGE)

    def image_is_rewritten(self) -> None:
        """License and Application applied: secret and rewritten image."""
        with self.teller.step("License and Application applied, the same Pod again"):
            self._cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all([LICENSE, APPLICATION]))
            await_that(lambda: self._found("secret", SECRET), "the pull secret")
            image = await_that(lambda: PROXIED if self._dry_run() == PROXIED else "", "the rewritten image")
            self.teller.saw("pull secret", SECRET)
            self.teller.saw("image", image)

    def license_is_deleted(self) -> None:
        """Deleting the License revokes the secret and ends rewriting."""
        with self.teller.step("License deleted"):
            self._cluster.kubectl("delete", "license", "my-kots-app", "-n", "my-app")
            await_that(lambda: not self._found("secret", SECRET), "the pull secret to be revoked")
            self.teller.saw("image", await_that(lambda: IMAGE if self._dry_run() == IMAGE else "", "no rewriting"))

    def _dry_run(self) -> str:
        """Return the image that a Pod would get."""
        command = ("run", "api", "-n", "my-app", f"--image={IMAGE}", "--dry-run=server", "-o", "json")
        image: str = json.loads(self._cluster.kubectl(*command))["spec"]["containers"][0]["image"]
        return image

    def _found(self, kind: str, name: str) -> str:
        """Return an object's name if it exists."""
        return self._cluster.kubectl("get", kind, name, "-n", "my-app", "--ignore-not-found", "-o", "name").strip()
