"""One node for the session, with the operator installed by helm from its real image."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from demo.story import IMAGE, LICENSE_ID, SECRET
from operating import a_license
from rig.images import build_operator_image
from rig.node import Node
from rig.release import install_release
from rig.waiting import wait_until

Json = dict[str, Any]
SLUG = "my-kots-app"


class Installed:
    """The node with the operator in it, in the words of a user."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it.
        """Run kubectl as the administrator."""
        return self.node.kubectl(*arguments, input=input)

    def apply(self, *objects: Json) -> None:
        """Apply objects in one manifest."""
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def get(self, *what: str) -> Json:
        """Read an object, or an empty one where it does not exist."""
        text = self.kubectl("get", *what, "--ignore-not-found", "-o", "json")
        found: Json = json.loads(text) if text.strip() else {}
        return found

    def create_namespace(self, word: str) -> str:
        """Create a namespace of its own for a test, ready for Pods."""
        name = f"{word}-{secrets.token_hex(3)}"
        self.kubectl("create", "namespace", name)
        self.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
        return name

    def await_secret(self, namespace: str) -> None:
        """Wait for a namespace's pull secret."""
        wait_until(lambda: self.get("secret", SECRET, "-n", namespace), what=f"secret in {namespace}", seconds=30)

    def await_pod(self, namespace: str, selector: str, condition: str = "Ready") -> Json:
        """Wait for the Pods of a selector, and return the first."""
        wait_until(
            lambda: self.get("pods", "-n", namespace, "-l", selector).get("items"), what=f"Pods {selector}", seconds=90
        )
        self.kubectl("wait", f"--for=condition={condition}", "pod", "-n", namespace, "-l", selector, "--timeout=90s")
        pod: Json = self.get("pods", "-n", namespace, "-l", selector)["items"][0]
        return pod


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """A node with the private image in its upstream registry and the operator ready."""
    image = build_operator_image()
    with Node() as node:
        node.push_private_image(IMAGE)
        node.stand_in.issue(LICENSE_ID, SLUG)
        install_release(node, image)
        yield Installed(node)


@pytest.fixture
def licensed(installed: Installed) -> Iterator[str]:
    """A namespace with a License and its pull secret; the License is deleted afterwards."""
    namespace = installed.create_namespace("app")
    installed.apply(a_license(namespace, appSlug=SLUG, licenseID=LICENSE_ID))
    installed.await_secret(namespace)
    yield namespace
    installed.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "-n", namespace)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")
