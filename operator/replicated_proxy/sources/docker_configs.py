"""The license in a `.dockerconfigjson`: the password for Replicated's hosts."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from replicated_proxy.core.hosts import default_hosts
from replicated_proxy.core.license_documents import STAGING_ENDPOINT
from replicated_proxy.core.objects import Body, mapping_at, text_at

_PRODUCTION_HOSTS: Final = frozenset(default_hosts(""))
_PADDED: Final = re.compile(r"(?:[^=]{4})*(?:[^=]{2}==|[^=]{3}=)?")
_STAGING_HOSTS: Final = frozenset(default_hosts(STAGING_ENDPOINT))


class InvalidDockerConfig(ValueError):
    """A docker config that holds no license, or not one; the message names hosts and remedy, never a credential."""


@dataclass(frozen=True, slots=True)
class DockerLicense:
    """What a docker config says about a license.

    Attributes:
        license_id: the password.
        endpoint: host of the environment that it is for; empty for production.
    """

    license_id: str = field(repr=False)
    endpoint: str = ""


def read_docker_license(auths: Body, proxy_host: str) -> DockerLicense:
    """Find the one password that the entries of Replicated's hosts agree on; all others are somebody else's.

    Args:
        auths: the docker config's entries by server.
        proxy_host: custom proxy domain that counts as well, or empty.

    Raises:
        InvalidDockerConfig: no such entry, one without a password, or two that differ.
    """
    custom = frozenset({proxy_host} - {""})
    wanted = _PRODUCTION_HOSTS | _STAGING_HOSTS | custom
    passwords: dict[str, str] = {}
    for server, entry in auths.items():
        host = _host_of(server)
        if host in wanted:
            password = _password_of(host, mapping_at(entry))
            if passwords.setdefault(host, password) != password:
                raise InvalidDockerConfig(f"has two entries for {host} with different passwords; keep one")
    if not passwords:
        hosts = ", ".join(sorted(_PRODUCTION_HOSTS | custom))
        raise InvalidDockerConfig(
            f"has no entry for {hosts}; use the one that Replicated gave out, and set proxyHost for a custom domain"
        )
    if len(set(passwords.values())) > 1:
        raise InvalidDockerConfig(
            f"has different passwords for {', '.join(sorted(passwords))}; one Secret holds one license"
        )
    endpoint = STAGING_ENDPOINT if _is_staging(passwords) else ""
    return DockerLicense(next(iter(passwords.values())), endpoint)


def _is_staging(passwords: Mapping[str, str]) -> bool:
    """Tell whether the entries name the staging environment and not production."""
    return not _STAGING_HOSTS.isdisjoint(passwords) and _PRODUCTION_HOSTS.isdisjoint(passwords)


def _host_of(server: str) -> str:
    """Return the host of a key, which is a host or a URL (docker login's form) with or without a path."""
    for scheme in ("https://", "http://"):
        server = server.removeprefix(scheme)
    return server.partition("/")[0].lower()


def _password_of(host: str, entry: Body) -> str:
    """Return an entry's password; `auth` goes first, as for docker and the kubelet."""
    auth = text_at(entry, "auth")
    password = _password_in(host, auth) if auth else text_at(entry, "password")
    if not password:
        raise InvalidDockerConfig(
            f"has no password for {host}; a credential helper or a token stands in for it, which nobody else can use: "
            "write `auth`, or `username` and `password`"
        )
    return password


def _password_in(host: str, auth: str) -> str:
    """Return the password in `base64(user:password)`, as the kubelet reads it.

    It takes whole padding or none, and passes over line ends, which `base64` writes after 76 characters.
    """
    plain = auth.replace("\r", "").replace("\n", "")
    padded = plain if plain.endswith("=") else plain + "=" * (-len(plain) % 4)
    try:
        decoded = base64.b64decode(padded, validate=True).decode() if _PADDED.fullmatch(padded) else ""
    except ValueError:
        decoded = ""
    _, colon, password = decoded.partition(":")
    if not colon:
        raise InvalidDockerConfig(f"has an `auth` for {host} that is not base64 of user:password; write it anew")
    return password.strip("\0")  # Docker pads what it stores.
