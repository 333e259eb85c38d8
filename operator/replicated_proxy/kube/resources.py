"""Kinds of objects and their paths at the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server's paths name it.

    Attributes:
        group: API group; empty for the core group.
        version: API version.
        plural: the word in the path.
    """

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of the collection when no name is given."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [prefix]
        if namespace:
            parts.append(f"namespaces/{namespace}")
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


CONFIG_MAPS: Final = Resource("", "v1", "configmaps")
CORE_EVENTS: Final = Resource("", "v1", "events")
PODS: Final = Resource("", "v1", "pods")
NAMESPACES: Final = Resource("", "v1", "namespaces")
SECRETS: Final = Resource("", "v1", "secrets")
LICENSES: Final = Resource("kots.io", "v1beta1", "licenses")
APPLICATIONS: Final = Resource("kots.io", "v1beta1", "applications")
DEFINITIONS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
MUTATING_WEBHOOKS: Final = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
