"""Selections hold what comparing with each entry would find: that comparison is written here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builders import DIGEST, patterns, selectors
from replicated_proxy.core.images import ImageReference, ImageSelector, RepositoryPattern, parse_image
from replicated_proxy.core.selections import ImageSelection, RepositorySelection

HOSTS = st.sampled_from(["", "quay.io/", "a.quay.io/", "a.b.quay.io/", "xquay.io/", "r.io:5000/", "docker.io/"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "library"]), min_size=1, max_size=4).map("/".join)
SUFFIXES = st.sampled_from(["", ":1", ":2", f"@{DIGEST}", f":1@{DIGEST}"])
IMAGES = st.builds(lambda host, path, suffix: f"{host}{path}{suffix}", HOSTS, PATHS, SUFFIXES)
PATTERNS = st.builds(
    lambda host, path: f"{host}/{path}" if path else host,
    st.sampled_from(["quay.io", "*.quay.io", "*.b.quay.io", "*.io", "r.io:5000", "docker.io", "index.docker.io"]),
    st.just("") | PATHS,
)


def selects(selector: ImageSelector, image: ImageReference) -> bool:
    """Compare one selector with an image."""
    mine = selector.reference
    return selector.text == image.text or (
        mine is not None
        and mine.repository == image.repository
        and mine.tag in {None, image.tag}
        and mine.digest in {None, image.digest}
    )


def covers(pattern: RepositoryPattern, image: ImageReference) -> bool:
    """Compare one pattern with an image."""
    below = pattern.any_subdomain and image.domain.endswith(f".{pattern.host}")
    here = not pattern.any_subdomain and image.domain == pattern.host
    return (below or here) and tuple(image.path.split("/"))[: len(pattern.segments)] == pattern.segments


@given(st.lists(IMAGES | st.sampled_from(["auto", "Not An Image"]), max_size=6), IMAGES)
def test_image_selection_holds_what_one_of_its_selectors_names(entries: list[str], image: str) -> None:
    """A set of selectors gives the same answer as one after the other."""
    known, reference = selectors(*entries), parse_image(image)
    assert ImageSelection(known).holds(reference) == any(selects(selector, reference) for selector in known)


@given(st.lists(PATTERNS, max_size=6), IMAGES)
def test_repository_selection_holds_what_lies_under_one_of_its_patterns(entries: list[str], image: str) -> None:
    """A set of patterns gives the same answer as one after the other."""
    known, reference = patterns(*entries), parse_image(image)
    assert RepositorySelection(known).holds(reference) == any(covers(pattern, reference) for pattern in known)
