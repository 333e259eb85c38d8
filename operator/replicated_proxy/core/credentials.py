"""Pull-secret bytes: the credential that a License is, in the form the kubelet reads.

One License gives exactly the bytes that KOTS writes (kots `PullSecretForRegistries`): compact JSON, hosts sorted,
only the `auth` key, the literal user name `LICENSE_ID`. With custom domains the default hosts stand beside them;
KOTS leaves those out, which breaks images that name the default (replicated.md 3.3).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from replicated_proxy.core.licenses import LicenseID
from replicated_proxy.core.objects import text_at
from replicated_proxy.core.routes import Route

USER_NAME: Final = "LICENSE_ID"
_API_VERSIONS: Final = frozenset({"v1", "v2"})


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    """One License's credential and the hosts it is good for.

    Attributes:
        license_id: the password.
        app_slug: scopes the keys when several Licenses share a Secret.
        proxy_hosts: effective proxy host and the default one.
        registry_hosts: effective Replicated registry host and the default one.
    """

    license_id: LicenseID
    app_slug: str
    proxy_hosts: frozenset[str]
    registry_hosts: frozenset[str]

    @classmethod
    def of(cls, license_id: LicenseID, route: Route) -> RegistryCredentials:
        """Put a License's ID beside the hosts of its route; the default hosts stay valid beside custom ones."""
        return cls(
            license_id=license_id,
            app_slug=route.app_slug,
            proxy_hosts=frozenset({route.hosts.proxy, route.hosts.default_proxy}),
            registry_hosts=frozenset({route.hosts.registry, route.hosts.default_registry}),
        )

    @property
    def auth(self) -> str:
        """`base64(LICENSE_ID:<licenseID>)` (RFC 7617 credentials, as docker stores them)."""
        return base64.b64encode(f"{USER_NAME}:{self.license_id.reveal()}".encode()).decode()

    def host_keys(self) -> dict[str, str]:
        """Keys that are whole hosts: KOTS's form."""
        return dict.fromkeys(sorted(self.proxy_hosts | self.registry_hosts), self.auth)

    def path_keys(self) -> dict[str, str]:
        """Keys that end at this application's path.

        The kubelet compares paths as plain string prefixes, so each ends in `/`: without it `…/app` would also
        match `…/app2`. From a key's path it drops a leading `/v1` or `/v2`, so an application of such a name has it
        written twice: else its key would stand for the whole host (kubernetes `pkg/credentialprovider/keyring.go`).
        """
        path = f"{self.app_slug}/{self.app_slug}" if self.app_slug in _API_VERSIONS else self.app_slug
        proxied = [f"{host}/proxy/{self.app_slug}/" for host in self.proxy_hosts]
        hosted = [f"{host}/{path}/" for host in self.registry_hosts]
        return dict.fromkeys(sorted(proxied + hosted), self.auth)


def encode_docker_config(credentials: Sequence[RegistryCredentials]) -> bytes:
    """Write the `.dockerconfigjson` for the Licenses of one namespace, oldest first.

    One License: host keys only, as KOTS. Several: path keys for each, host keys for the oldest, which then also
    answers for paths that name no application.
    """
    auths = credentials[0].host_keys()
    if len(credentials) > 1:
        for one in reversed(credentials):  # the oldest is written last and wins where slugs repeat
            auths |= one.path_keys()
    entries = {key: {"auth": auth} for key, auth in sorted(auths.items())}
    return json.dumps({"auths": entries}, separators=(",", ":"), ensure_ascii=False).encode()


def recover_credentials(content: bytes, route: Route, *, alone: bool) -> RegistryCredentials | None:
    """Read a License's credential back from a `.dockerconfigjson` that was written for it.

    Args:
        content: the bytes.
        route: the License's; its default host counts too, for a copy that was written before a custom domain came.
        alone: whether the content was written for this License only, and so by whole hosts.
    """
    for host in (route.hosts.proxy, route.hosts.default_proxy):
        key = host if alone else f"{host}/proxy/{route.app_slug}/"
        if license_id := recover_license_id(content, key):
            return RegistryCredentials.of(license_id, route)
    return None


def recover_license_id(content: bytes, key: str) -> LicenseID | None:
    """Read back the License ID that a `.dockerconfigjson` holds under a key, or None where it holds none of ours."""
    try:
        auth = text_at(json.loads(content), "auths", key, "auth")
        user, _, license_id = base64.b64decode(auth, validate=True).decode().partition(":")
    except (ValueError, RecursionError):
        return None
    return LicenseID(license_id) if user == USER_NAME and license_id else None


def hash_content(content: bytes, salt: str) -> str:
    """Return a short digest for change detection; the salt keeps metadata readers from testing guesses.

    63 characters is the longest label value.
    """
    return sha256(salt.encode() + b"\0" + content).hexdigest()[:40]
