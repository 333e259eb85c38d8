"""The bytes of pull secrets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CUSTOM_HOSTS, a_route, ids
from replicated_proxy.core.credentials import (
    RegistryCredentials,
    encode_docker_config,
    hash_content,
    recover_credentials,
    recover_license_id,
)
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


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.booleans())
def test_license_id_that_was_written_is_read_back(license_id: str, alone: bool) -> None:
    """Whatever characters an ID has, it comes back from whole hosts and from paths."""
    mine = RegistryCredentials.of(LicenseID(license_id), a_route(hosts=CUSTOM_HOSTS))
    content = encode_docker_config([mine] if alone else [credentials(slug="other"), mine])

    assert mine == recover_credentials(content, a_route(hosts=CUSTOM_HOSTS), alone=alone)


def test_another_license_s_entry_is_not_taken() -> None:
    """Where several share a copy, whole hosts say nothing about one of them; nor do paths where one is alone."""
    shared = encode_docker_config([credentials("old", "old"), credentials("new", "new")])
    own = encode_docker_config([credentials()])
    expected = (None, None)

    assert expected == (
        recover_credentials(shared, a_route("my-app"), alone=False),
        recover_credentials(own, a_route("my-app"), alone=False),
    )


def entry(user_and_password: bytes) -> bytes:
    """Return a `.dockerconfigjson` with one entry for the host `h`."""
    auth_text = base64.b64encode(user_and_password).decode()
    return json.dumps({"auths": {"h": {"auth": auth_text}}}).encode()


GARBAGE: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no JSON", b"{"),
    ("no UTF-8", b"\xff\xfe\xfa"),
    ("null", b"null"),
    ("list", b"[]"),
    ("number of very many digits", b"1" * 5_000),
    ("very deep", b"[" * 100_000),
    ("auths is no object", b'{"auths":[]}'),
    ("no such host", b'{"auths":{"other":{"auth":"TElDRU5TRV9JRDphYmM="}}}'),
    ("entry is no object", b'{"auths":{"h":"TElDRU5TRV9JRDphYmM="}}'),
    ("auth is no text", b'{"auths":{"h":{"auth":5}}}'),
    ("auth is no base64", b'{"auths":{"h":{"auth":"!"}}}'),
    ("auth is no ASCII", b'{"auths":{"h":{"auth":"\xc3\xa9"}}}'),
    ("auth is half a surrogate", b'{"auths":{"h":{"auth":"\\ud800"}}}'),
    ("password is no UTF-8", entry(b"LICENSE_ID:\xff")),
    ("another user", entry(b"user:abc")),
    ("no password", entry(b"LICENSE_ID:")),
    ("no colon", entry(b"LICENSE_ID")),
    ("user and password instead of auth", b'{"auths":{"h":{"username":"LICENSE_ID","password":"abc"}}}'),
]


@pytest.mark.parametrize("content", [row[1] for row in GARBAGE], ids=ids(GARBAGE))
def test_garbage_gives_no_license_id(content: bytes) -> None:
    """A copy that anybody may have edited is read without harm."""
    assert recover_license_id(content, "h") is None


@given(st.binary(max_size=40))
def test_any_bytes_are_read_without_harm(content: bytes) -> None:
    """Neither as the whole nor as a password do bytes raise anything."""
    expected = LicenseID(content.decode()) if content and _is_text(content) else None

    assert recover_license_id(content, "h") is None
    assert expected == recover_license_id(entry(b"LICENSE_ID:" + content), "h")


def _is_text(content: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
