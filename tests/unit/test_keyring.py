"""The model of the kubelet's keyring, beyond the vectors: what the kubelet's own code gives for these rows."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import Credential, InvalidEntry, Keyring, read_docker_config

HUB = "https://index.docker.io/v1/"

# keys, repository, what is tried: run through kubernetes v1.36.3 `pkg/credentialprovider`.
LOOKUPS: list[tuple[list[str], str, list[str]]] = [
    # A leading version is no path, but only one, and only with a slash behind it.
    (["reg.io/v2/"], "reg.io/other/image", ["reg.io/v2/"]),
    (["reg.io/v2/v2/"], "reg.io/v2/image", ["reg.io/v2/v2/"]),
    (["reg.io/v2/v2/"], "reg.io/other/image", []),
    (["reg.io/v2"], "reg.io/v2/image", ["reg.io/v2"]),
    (["reg.io/proxy/v2/"], "reg.io/proxy/v2/image", ["reg.io/proxy/v2/"]),
    # The longest path first, then the host; among hosts the reverse order of their bytes.
    (["reg.io", "reg.io/a/", "reg.io/a/b/"], "reg.io/a/b/c", ["reg.io/a/b/", "reg.io/a/", "reg.io"]),
    (["*.io", "reg.io"], "reg.io/a", ["reg.io", "*.io"]),
    (["*.io/a/b", "reg.io"], "reg.io/a/b", ["reg.io", "*.io/a/b"]),
    # Spellings of one key keep the order in which they came.
    (
        ["https://reg.io", "reg.io/", "http://reg.io/v1/"],
        "reg.io/a",
        ["https://reg.io", "reg.io/", "http://reg.io/v1/"],
    ),
    (["HTTPS://reg.io", "ftp://reg.io", "Reg.io"], "reg.io/a", []),
    # Ports.
    (["reg.io:"], "reg.io/a", ["reg.io:"]),
    (["reg.io:port", "reg.io:1:2"], "reg.io/a", []),
    (["reg.io"], "reg.io:5000/a", []),
    # What belongs to URLs and not to registries.
    (["user:password@reg.io/a"], "reg.io/a/b", ["user:password@reg.io/a"]),
    (["us{er@reg.io"], "reg.io/a", []),
    (["reg.io/a?query", "reg.io/a#fragment"], "reg.io/a/b", ["reg.io/a?query", "reg.io/a#fragment"]),
    (["reg.io#%zz", "reg.io/%zz", "re g.io", "reg.io\x01", "%41.io"], "reg.io/a", []),
    (["reg.io/%61/"], "reg.io/a/b", ["reg.io/%61/"]),
    (["%C3%A9.io"], "é.io/a", ["%C3%A9.io"]),
    (["re\\g.io", "reg.io\\"], "reg.io/a", []),
    # IPv6: with a port the brackets go, without one they are a class of characters, which matches no address.
    (["[::1]:5000"], "[::1]:5000/a", ["[::1]:5000"]),
    (["[::1]"], "[::1]/a", []),
    (["[::1]"], "1", ["[::1]"]),
    (["[::ffff:1.2.3.4]", "[1.2.3.4]", "[x]", "[::1", "a[::1]"], "[::ffff:1.2.3.4]/a", []),
    (["a]:5000"], "a]:5000/b", ["a]:5000"]),
    # Globs stay within a label; nothing but a star is one.
    (["*.*"], "reg.io/a", ["*.*"]),
    (["*.io"], "a.reg.io/a", []),
    (["r*g.io", "**.io"], "reg.io/a", ["r*g.io", "**.io"]),
    (["re.o"], "reg.io/a", []),
    # Docker Hub only when nothing else matches, and only for what looks like it.
    ([HUB], "nginx", [HUB]),
    ([HUB], "org/app", [HUB]),
    ([HUB], "index.docker.io/library/nginx", [HUB]),
    ([HUB], "reg.io/a", []),
    ([HUB], "localhost:5000/a", []),
    ([HUB], "/a", []),
    ([HUB], "", []),
    (["https://index.docker.io/a/"], "nginx", []),
    ([], "reg.io/a", []),
]


@pytest.mark.parametrize(("keys", "repository", "tried"), LOOKUPS)
def test_entries_are_found_as_the_kubelet_finds_them(keys: list[str], repository: str, tried: list[str]) -> None:
    """Keys are read as Go reads URLs, matched by port, labels and path, and tried in the reverse of their order."""
    assert tried == Keyring({key: key for key in keys}).lookup(repository)


@given(st.dictionaries(st.text(max_size=12), st.integers(), max_size=4), st.text(max_size=12))
def test_no_text_breaks_the_keyring(entries: dict[str, int], repository: str) -> None:
    """Whatever stands in a key or a name, the answer is some of the entries, each once."""
    found = Keyring(entries).lookup(repository)

    assert set(found) <= set(entries.values())
    assert len(found) <= len(entries)


@given(st.lists(st.sampled_from(["a", "b", "ab", "v1"]), min_size=1, max_size=4))
def test_order_of_the_config_does_not_matter(parts: list[str]) -> None:
    """Keys that differ are tried in the same order however the config lists them."""
    keys = [f"reg.io/x/{'/'.join(parts[:size])}/" for size in range(1, len(parts) + 1)]
    repository = f"reg.io/x/{'/'.join(parts)}/image"

    assert Keyring({key: key for key in keys}).lookup(repository) == keys[::-1]
    assert Keyring({key: key for key in reversed(keys)}).lookup(repository) == keys[::-1]


def auth(text: str) -> str:
    """Encode as docker does."""
    return base64.b64encode(text.encode()).decode()


ENTRIES = [
    ({"auth": auth("user:pass")}, Credential("user", "pass")),
    ({"auth": auth("user:pass:word")}, Credential("user", "pass:word")),
    ({"auth": auth("u:pw").rstrip("=")}, Credential("u", "pw")),
    ({"auth": auth("user:pass"), "username": "other", "password": "other"}, Credential("user", "pass")),
    ({"auth": "", "username": "user", "password": "pass"}, Credential("user", "pass")),
    ({"auth": auth("user:pass")[:4] + "\n" + auth("user:pass")[4:]}, Credential("user", "pass")),
    ({"identitytoken": "x"}, Credential("", "")),
]


@pytest.mark.parametrize(("entry", "credential"), ENTRIES)
def test_entry_is_decoded_as_the_kubelet_does(entry: dict[str, str], credential: Credential) -> None:
    """`auth` beats user and password, is split at its first colon, and may do without padding."""
    content = json.dumps({"auths": {"reg.io": entry}}).encode()

    assert read_docker_config(content) == {"reg.io": credential}


@pytest.mark.parametrize(
    "text", [auth("no colon"), "???", auth("user:pass") + " ", "a-_b", "dTpwdw=", "YTpiYw=x", "dTpw="]
)
def test_entry_that_cannot_be_decoded_is_an_error(text: str) -> None:
    """One such entry makes the kubelet give up on the Pod's pulls, so no test may read over it."""
    with pytest.raises(InvalidEntry):
        read_docker_config(json.dumps({"auths": {"reg.io": {"auth": text}}}).encode())
