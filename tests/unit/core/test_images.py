"""Image references beyond the vectors: patterns, selectors, and the questions that rewriting asks."""

from __future__ import annotations

import pytest

from builders import DIGEST, ids
from replicated_proxy.core.images import (
    InvalidImageReference,
    InvalidRepositoryPattern,
    is_image_id,
    is_local_host,
    is_registry_host,
    parse_image,
    parse_pattern,
    parse_selector,
)
from replicated_proxy.core.selections import ImageSelection, RepositorySelection

PARTS = [
    ("nginx", "nginx", ""),
    ("nginx:1.25", "nginx", ":1.25"),
    (f"nginx@{DIGEST}", "nginx", f"@{DIGEST}"),
    (f"quay.io/acme/api:1@{DIGEST}", "quay.io/acme/api", f":1@{DIGEST}"),
    ("reg.example.com:5000/team/api:1", "reg.example.com:5000/team/api", ":1"),
    ("index.docker.io/acme/api", "index.docker.io/acme/api", ""),
    (f"sha256:{'a' * 64}", "sha256", f":{'a' * 64}"),
]


@pytest.mark.parametrize(("text", "name", "suffix"), PARTS, ids=ids(PARTS))
def test_text_as_written_is_kept(text: str, name: str, suffix: str) -> None:
    """Name and suffix are what was written, with nothing filled in."""
    reference = parse_image(text)

    assert (text, name, suffix) == (reference.text, reference.name, reference.suffix)


# What distribution/reference v0.6.0 says where a host holds an underscore, and so cannot hold capitals either.
MISFITS = [
    ("My_host.example.com/app", "uppercase"),
    ("my_host.Example.com:5000/app", "format"),
    ("A_foo/bar", "uppercase"),
    ("my_host.\u0130/app", "uppercase"),
    ("l\u0130ocalhost:5000/a", "uppercase"),
    ("my_host.\u00c9/app", "format"),
]


@pytest.mark.parametrize(("text", "kind"), MISFITS, ids=ids(MISFITS))
def test_capitals_are_told_from_other_faults(text: str, kind: str) -> None:
    """A text that would be a reference in small letters has capitals for its fault; any other has its form."""
    with pytest.raises(InvalidImageReference) as caught:
        parse_image(text)

    assert caught.value.kind == kind


def test_error_shows_a_long_text_shortened() -> None:
    """A hostile name of any length gives a short message."""
    with pytest.raises(InvalidImageReference) as caught:
        parse_image("!" * 10_000)

    assert len(str(caught.value)) < 150


HOSTILE = [
    ("long label", "a" * 200_000 + "!"),
    ("many dots", "a." * 100_000 + "/x!"),
    ("many dashes", "a-" * 100_000 + "!"),
    ("many separators", "a/" + "a__" * 100_000 + "!"),
    ("many segments", "a/" * 100_000 + "!"),
    ("long tag", "a:" + "b" * 200_000),
    ("long digest algorithm", "a@" + "b+" * 100_000 + ":00"),
]


@pytest.mark.parametrize("text", [text for _, text in HOSTILE], ids=ids(HOSTILE))
def test_hostile_text_is_refused_without_backtracking(text: str) -> None:
    """A name of 200 KB is refused at once; a grammar that tries again at every character would never end."""
    with pytest.raises(InvalidImageReference):
        parse_image(text)


IMAGE_IDS = [f"sha256:{'a' * 64}", f"sha256:{'0' * 64}"]
NO_IMAGE_IDS = [f"sha256:{'a' * 63}", f"sha256:{'A' * 64}", "a" * 64, f"nginx@sha256:{'a' * 64}", ""]


@pytest.mark.parametrize("text", IMAGE_IDS)
def test_image_id_is_recognised(text: str) -> None:
    """`sha256:` and 64 lower-case hexadecimal digits name a local image."""
    assert is_image_id(text)


@pytest.mark.parametrize("text", NO_IMAGE_IDS, ids=ids(NO_IMAGE_IDS))
def test_anything_else_is_no_image_id(text: str) -> None:
    """Other lengths, cases and algorithms are names."""
    assert not is_image_id(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "127.255.255.255"])
def test_local_host_is_recognised(host: str) -> None:
    """The node itself is `localhost` and all of 127.0.0.0/8."""
    assert is_local_host(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "128.0.0.1", "127.example.com", "docker.io", ""])
def test_other_host_is_not_local(host: str) -> None:
    """A host that only begins like a local one is not local."""
    assert not is_local_host(host)


HOSTS = ["proxy.acme.com", "reg.acme.com:5000", "localhost", "10.0.0.1", "a.b-c.d"]
NO_HOSTS = [
    "",
    "https://proxy.acme.com",
    "proxy.acme.com/",
    "proxy.acme.com/path",
    "Proxy.acme.com",
    "proxy.acme.com:",
    "proxy.acme.com:http",
    "-proxy.acme.com",
    "proxy..acme.com",
    "my_host.acme.com",
    "proxy.acme.com ",
    "*.acme.com",
    "user@proxy.acme.com",
    # Docker reads a first part without dot and port as a Docker Hub organisation, so an image rewritten to
    # such a host would be rewritten again and again.
    "proxy",
]


@pytest.mark.parametrize("text", HOSTS)
def test_registry_host_is_accepted(text: str) -> None:
    """A host is lower case, with an optional port."""
    assert is_registry_host(text)


@pytest.mark.parametrize("text", NO_HOSTS, ids=ids(NO_HOSTS))
def test_what_is_no_registry_host_is_refused(text: str) -> None:
    """Schemes, paths, wildcards, user names and bare words are no hosts."""
    assert not is_registry_host(text)


MATCHES = [
    ("quay.io", "quay.io/acme/api:1"),
    ("quay.io/acme", "quay.io/acme/api:1"),
    ("quay.io/acme/", "quay.io/acme/api:1"),
    (" quay.io/acme ", "quay.io/acme/api"),
    ("quay.io/acme/api", f"quay.io/acme/api@{DIGEST}"),
    ("docker.io", "nginx"),
    ("index.docker.io", "nginx"),
    ("docker.io/library", "nginx:1.25"),
    ("docker.io/acme", "acme/api"),
    ("docker.io/acme", "index.docker.io/acme/api"),
    ("*.example.com", "a.example.com/x/y"),
    ("*.example.com", "a.b.example.com/x/y"),
    ("*.example.com/x", "a.example.com/x/y"),
    ("reg.example.com:5000", "reg.example.com:5000/x"),
]


@pytest.mark.parametrize(("pattern", "image"), MATCHES, ids=[" ~ ".join(row) for row in MATCHES])
def test_pattern_matches_by_host_and_segment(pattern: str, image: str) -> None:
    """A pattern covers everything below its host and path, in every spelling of Docker Hub."""
    assert RepositorySelection([parse_pattern(pattern)]).holds(parse_image(image))


MISMATCHES = [
    ("quay.io", "quay.io.evil.com/acme/api"),
    ("quay.io", "nginx"),
    ("quay.io/acme", "quay.io/acme2/api"),
    ("quay.io/acme/api", "quay.io/acme"),
    ("quay.io/acme/api", "quay.io/acme/api2"),
    ("docker.io/acme", "quay.io/acme/api"),
    ("*.example.com", "example.com/x"),
    ("*.example.com", "evilexample.com/x"),
    ("reg.example.com", "reg.example.com:5000/x"),
    ("reg.example.com:5000", "reg.example.com/x"),
    ("a.example.com", "axexample.com/x"),
]


@pytest.mark.parametrize(("pattern", "image"), MISMATCHES, ids=[" ~ ".join(row) for row in MISMATCHES])
def test_pattern_is_neither_prefix_nor_regular_expression(pattern: str, image: str) -> None:
    """What shares only characters with a pattern does not match it."""
    assert not RepositorySelection([parse_pattern(pattern)]).holds(parse_image(image))


NO_PATTERNS = [
    "",
    "*",
    "*.",
    "https://quay.io",
    "quay.io//acme",
    "quay.io/Acme",
    "quay.io/acme/*",
    "quay.io/acme:1",
    "Quay.io",
    "q*.io",
    "*.*.io",
    "^quay",
    # A bare organisation is never a host, so it would silently match nothing: docker.io/acme is meant.
    "acme",
    "acme/api",
]


@pytest.mark.parametrize("text", NO_PATTERNS, ids=ids(NO_PATTERNS))
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """The error names the entry and the accepted forms."""
    with pytest.raises(InvalidRepositoryPattern, match="write host, host/path-prefix or") as caught:
        parse_pattern(text)

    assert repr(text) in str(caught.value)


SELECTED = [
    ("auto", "auto"),
    ("nginx", "nginx:1.25"),
    ("nginx", "docker.io/library/nginx:1.25"),
    ("docker.io/library/nginx:1.25", "nginx:1.25"),
    ("nginx:1.25", f"nginx:1.25@{DIGEST}"),
    (f"quay.io/acme/api@{DIGEST}", f"quay.io/acme/api:1@{DIGEST}"),
]
NOT_SELECTED = [
    ("nginx:1.25", "nginx"),
    ("nginx:1.25", "nginx:1.26"),
    ("nginx", "quay.io/library/nginx"),
    ("nginx", "acme/nginx"),
    ("quay.io/acme", "quay.io/acme/api"),
    (f"quay.io/acme/api@{DIGEST}", "quay.io/acme/api:1"),
    ("Not An Image", "nginx"),
]


@pytest.mark.parametrize(("entry", "image"), SELECTED, ids=[f"{a[:30]} ~ {b[:30]}" for a, b in SELECTED])
def test_selector_matches_the_repository_it_names(entry: str, image: str) -> None:
    """An entry selects its repository in any spelling, and its tag or digest where it has one."""
    assert ImageSelection([parse_selector(entry)]).holds(parse_image(image))


@pytest.mark.parametrize(("entry", "image"), NOT_SELECTED, ids=[f"{a[:30]} ~ {b[:30]}" for a, b in NOT_SELECTED])
def test_selector_leaves_other_images_alone(entry: str, image: str) -> None:
    """Another repository, tag or digest is not selected."""
    assert not ImageSelection([parse_selector(entry)]).holds(parse_image(image))
