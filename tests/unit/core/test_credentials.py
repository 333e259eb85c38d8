"""The bytes of pull secrets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from builders import ids
from replicated_proxy.core.credentials import RegistryCredentials, encode_docker_config, hash_content
from replicated_proxy.core.licenses import LicenseID

PROXY, REGISTRY = "proxy.replicated.com", "registry.replicated.com"


def credentials(license_id: str = "abc", slug: str = "my-app", **differs: Any) -> RegistryCredentials:
    """Return credentials for the default hosts."""
    hosts = {"proxy_hosts": frozenset({PROXY}), "registry_hosts": frozenset({REGISTRY})}
    return RegistryCredentials(license_id=LicenseID(license_id), app_slug=slug, **(hosts | differs))


def auth(license_id: str) -> dict[str, str]:
    """Return the entry of a host."""
    return {"auth": base64.b64encode(f"LICENSE_ID:{license_id}".encode()).decode()}


# replicated.md 3.2: exactly what KOTS's own tests expect.
KOTS = [
    (
        "abc",
        (
            b'{"auths":{"proxy.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="},'
            b'"registry.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="}}}'
        ),
    ),
    (
        "licenseid",
        (
            b'{"auths":{"proxy.replicated.com":{"auth":"TElDRU5TRV9JRDpsaWNlbnNlaWQ="},'
            b'"registry.replicated.com":{"auth":"TElDRU5TRV9JRDpsaWNlbnNlaWQ="}}}'
        ),
    ),
]


@pytest.mark.parametrize(("license_id", "expected"), KOTS, ids=ids(KOTS))
def test_one_license_gives_the_bytes_of_kots(license_id: str, expected: bytes) -> None:
    """With default domains the content is byte for byte what KOTS writes."""
    assert expected == encode_docker_config([credentials(license_id)])


def test_custom_domains_stand_beside_the_default_ones() -> None:
    """KOTS's form with all four hosts, sorted: images that name the default host still pull."""
    custom = credentials(
        proxy_hosts=frozenset({PROXY, "custom.proxy.com"}), registry_hosts=frozenset({REGISTRY, "custom.registry.com"})
    )
    expected = (
        b'{"auths":{"custom.proxy.com":{"auth":"TElDRU5TRV9JRDphYmM="},'
        b'"custom.registry.com":{"auth":"TElDRU5TRV9JRDphYmM="},'
        b'"proxy.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="},'
        b'"registry.replicated.com":{"auth":"TElDRU5TRV9JRDphYmM="}}}'
    )

    assert expected == encode_docker_config([custom])


def test_several_licenses_get_paths_and_the_oldest_the_hosts() -> None:
    """Each application has its own path, ending in a slash; whole hosts belong to the oldest License."""
    content = encode_docker_config([credentials("old", "my-app"), credentials("new", "my-app2")])
    expected = {
        PROXY: auth("old"),
        f"{PROXY}/proxy/my-app/": auth("old"),
        f"{PROXY}/proxy/my-app2/": auth("new"),
        REGISTRY: auth("old"),
        f"{REGISTRY}/my-app/": auth("old"),
        f"{REGISTRY}/my-app2/": auth("new"),
    }

    assert expected == json.loads(content)["auths"]


def test_several_licenses_keep_every_host_of_each() -> None:
    """A younger License's custom domain has only its path, beside the default host's."""
    younger = credentials("new", "other", proxy_hosts=frozenset({PROXY, "proxy.acme.com"}))
    auths = json.loads(encode_docker_config([credentials("old"), younger]))["auths"]

    assert (auth("new"), auth("new"), False) == (
        auths["proxy.acme.com/proxy/other/"],
        auths[f"{PROXY}/proxy/other/"],
        "proxy.acme.com" in auths,
    )


def test_keys_are_sorted_whatever_the_number_of_licenses() -> None:
    """The same Licenses give the same bytes, so nothing is written when nothing changed."""
    content = encode_docker_config([credentials("b", "b"), credentials("a", "a"), credentials("c", "c")])
    keys = list(json.loads(content)["auths"])

    assert sorted(keys) == keys
    assert b" " not in content


def test_oldest_license_wins_where_slugs_repeat() -> None:
    """Should two Licenses of one slug ever meet, the older one's credential stands at the path."""
    auths = json.loads(encode_docker_config([credentials("old"), credentials("new")]))["auths"]

    assert auth("old") == auths[f"{PROXY}/proxy/my-app/"]


def test_license_id_is_written_as_utf8() -> None:
    """An ID of any characters survives."""
    auths = json.loads(encode_docker_config([credentials("ключ:1")]))["auths"]
    expected = "LICENSE_ID:ключ:1"

    assert expected == base64.b64decode(auths[PROXY]["auth"]).decode()


def test_credentials_never_show_themselves() -> None:
    """They can be logged by accident without harm."""
    assert "s3cr3t" not in repr(credentials("s3cr3t"))


def test_hash_is_a_label_value_that_depends_on_content_and_salt() -> None:
    """Equal content has one short hash in an installation and another one elsewhere."""
    hashes = {hash_content(content, salt) for content in (b"a", b"b", b"a") for salt in ("x", "y")}

    assert (4, {40}) == (len(hashes), set(map(len, hashes)))
