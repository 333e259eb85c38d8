"""What is assumed of registries without asking them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.assumptions import InvalidAssumption, parse_assumption, parse_assumptions
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.settings import Settings

SHIPPED = Settings().detection.assume
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.k8s.io/pause:3.10", Visibility.PUBLIC),
        ("mcr.microsoft.com/dotnet/runtime", Visibility.PUBLIC),
        ("public.ecr.aws/nginx/nginx", Visibility.PUBLIC),
        (f"{ECR}/acme/api", Visibility.PRIVATE),
        (f"{ECR}.cn/acme/api", Visibility.PRIVATE),
        (f"evil.{ECR}/acme/api", None),
        ("dkr.ecr.eu-west-1.amazonaws.com/acme/api", None),
        ("registry.k8s.io.evil.example.com/pause", None),
        ("nginx", None),
    ],
)
def test_shipped_assumptions_are_those_of_the_big_registries(image: str, expected: Visibility | None) -> None:
    """Registries without anonymous access are private, those without any other are public, the rest is asked."""
    assert parse_assumptions(SHIPPED).of(parse_image(image)) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/acme/open/api", Visibility.PUBLIC),
        ("ghcr.io/acme/closed", Visibility.PRIVATE),
        ("ghcr.io/acme-two/x", None),
        ("a.example.com/x", Visibility.PUBLIC),
        ("b.example.com/x", Visibility.PRIVATE),
        ("index.docker.io/library/nginx", Visibility.PUBLIC),
    ],
)
def test_most_specific_assumption_holds(image: str, expected: Visibility | None) -> None:
    """A longer path goes before a shorter one, a written label before a `*`."""
    written = {
        "ghcr.io/acme": "Private",
        "ghcr.io/acme/open": "Public",
        "*.example.com": "Private",
        "a.example.com": "Public",
        "index.docker.io/library": "Public",
    }
    assert parse_assumptions(written).of(parse_image(image)) == expected


@pytest.mark.parametrize(
    ("pattern", "word", "told"),
    [
        ("quay.io", "public", "'public' is not one of Public, Private"),
        ("quay.io", "Internal", "'Internal' is not one of Public, Private"),
        ("https://quay.io", "Public", "host/path-prefix"),
        ("Quay.io", "Public", "lower case"),
        ("qu*y.io", "Public", "* for one label"),
        ("quay.io/*", "Public", "host/path-prefix"),
        ("localhost:5000", "Public", "host/path-prefix"),
        ("", "Public", "host/path-prefix"),
    ],
)
def test_entry_that_says_nothing_is_refused(pattern: str, word: str, told: str) -> None:
    """The error names the entry and what could stand there."""
    with pytest.raises(InvalidAssumption) as caught:
        parse_assumption(pattern, word)
    assert told in str(caught.value)
    assert pattern in str(caught.value)


@given(st.text(alphabet="ab*./-_:@", max_size=20))
def test_any_text_is_read_or_refused(pattern: str) -> None:
    """Whatever is written, it is an assumption or an InvalidAssumption."""
    try:
        found = parse_assumption(pattern, "Public")
    except InvalidAssumption:
        return
    assert found.labels
