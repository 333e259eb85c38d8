"""A control plane with the chart installed, in the words that tests use."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import yaml

from rig.roles import NAMESPACE, LocalInstallation
from rig.waiting import wait_until

SECRET = "replicated-proxy-registry"
ROUTES = "replicated-proxy-routes"
DEFAULT_HOSTS = ("proxy.replicated.com", "registry.replicated.com")
LICENSE_ID = "planted-license-id-for-tests"
Json = dict[str, Any]


def a_license(namespace: str, **spec: object) -> Json:
    """Write a License as a vendor portal does."""
    return {
        "apiVersion": "kots.io/v1beta1",
        "kind": "License",
        "metadata": {"name": "my-app", "namespace": namespace},
        "spec": {"appSlug": "my-app", "licenseID": LICENSE_ID, "licenseType": "prod", **spec},
    }


def an_application(home: str, *namespaces: str) -> Json:
    """Write an Application that lists namespaces."""
    return {
        "apiVersion": "kots.io/v1beta1",
        "kind": "Application",
        "metadata": {"name": "my-app", "namespace": home},
        "spec": {"title": "My App", "additionalNamespaces": list(namespaces)},
    }


class Cluster(LocalInstallation):
    """The installation with kubectl in hand."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it.
        """Run kubectl as the administrator."""
        return self.plane.kubectl(*arguments, input=input)

    def apply(self, *objects: Json) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def exists(self, *what: str) -> bool:
        """Tell whether `kubectl get` finds something."""
        return bool(self.kubectl("get", *what, "--ignore-not-found", "-o", "name").strip())

    def get(self, *what: str) -> Json:
        """Read an object, or an empty one where it does not exist."""
        text = self.kubectl("get", *what, "--ignore-not-found", "-o", "json")
        found: Json = json.loads(text) if text.strip() else {}
        return found

    def secret(self, namespace: str) -> Json:
        """Read a namespace's pull secret."""
        return self.get("secret", SECRET, "-n", namespace)

    def await_secret(self, namespace: str, *, seconds: float = 20) -> Json:
        """Wait for a namespace's pull secret."""
        return wait_until(lambda: self.secret(namespace), what=f"the secret in {namespace}", seconds=seconds)

    def await_no_secret(self, namespace: str) -> None:
        """Wait until a namespace has no pull secret."""
        wait_until(lambda: not self.secret(namespace), what=f"no secret in {namespace}", seconds=20)

    def forbid_secrets(self, namespace: str) -> None:
        """Have a quota allow no more Secrets, and wait until it counts."""
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-secrets", "namespace": namespace},
            "spec": {"hard": {"count/secrets": "0"}},
        }
        self.apply(quota)
        wait_until(
            lambda: self.get("resourcequota", "no-secrets", "-n", namespace).get("status", {}).get("hard"),
            what=f"the quota of {namespace} to count",
            seconds=30,
        )

    def condition(self, kind: str, namespace: str, name: str, type_: str) -> Json:
        """Read one condition of an object's status, or an empty one."""
        conditions = self.get(kind, name, "-n", namespace).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == type_), {})

    def await_condition(
        self, namespace: str, type_: str, reason: str, *, name: str = "my-app", seconds: float = 30
    ) -> Json:
        """Wait until a License's condition has a reason, and return the condition."""
        found: Json = wait_until(
            lambda: next(
                (item for item in [self.condition("license", namespace, name, type_)] if item.get("reason") == reason),
                None,
            ),
            what=f"{type_} of License {namespace}/{name} to say {reason}",
            seconds=seconds,
        )
        return found

    def await_status(self, namespace: str, *, name: str = "my-app") -> None:
        """Wait until a License's status speaks of the License as it is now."""

        def is_current() -> bool:
            body = self.get("licenses.kots.io", name, "-n", namespace)
            return bool(body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"])

        wait_until(is_current, what=f"the status of License {namespace}/{name}", seconds=30)

    def events(self, namespace: str, name: str = "my-app") -> list[Json]:
        """Read the Events about an object."""
        items: list[Json] = self.get("events", "-n", namespace)["items"]
        return [item for item in items if item["involvedObject"]["name"] == name]


class Namespaces:
    """Namespaces of one test: words made unique, so that none has to wait for another's end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._suffix = secrets.token_hex(3)
        self.created: list[str] = []

    def name(self, word: str) -> str:
        """Return the name that a word stands for, whether or not it exists."""
        return f"{word}-{self._suffix}"

    def create(self, *words: str) -> list[str]:
        """Create namespaces and return their names."""
        names = [self.name(word) for word in words]
        for name in names:
            self._cluster.kubectl("create", "namespace", name)
        self.created += names
        return names


def foreign_secret(namespace: str) -> Json:
    """Write a Secret of our name that is not ours."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "stringData": {"somebody": "else's"},
    }


def content_of(secret: Json) -> str:
    """Decode a pull secret."""
    return base64.b64decode(secret["data"][".dockerconfigjson"]).decode()


def expected_content(*hosts: str, license_id: str = LICENSE_ID) -> str:
    """Write the bytes that KOTS would."""
    auth = base64.b64encode(f"LICENSE_ID:{license_id}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth} for host in sorted(hosts)}}, separators=(",", ":"))


def routes_of(cluster: Cluster) -> str:
    """Read the published routing table; empty where there is none."""
    text: str = cluster.get("configmap", ROUTES, "-n", NAMESPACE).get("data", {}).get("routes.json", "")
    return text
