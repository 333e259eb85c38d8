"""Reading `WWW-Authenticate`; the table of what registries send is in the vectors."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.challenges import LONGEST, Challenge, MalformedChallenge, bearer_of, parse_challenges

_WORDS = st.text(st.sampled_from("abcXYZ019!#$%&'*+-.^_`|~"), min_size=1, max_size=12)
# Whatever a quoted string may hold, the separators of everything else included.
_VALUES = st.text(st.sampled_from('ab ,="\\:/?&\té'), max_size=12)


def challenge(scheme: str, **parameters: str) -> Challenge:
    """Return a challenge."""
    return Challenge(scheme, parameters)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], [], id="no line"),
        pytest.param([""], [], id="an empty line"),
        pytest.param([", ,\t,"], [], id="nothing but empty elements"),
        pytest.param([" Basic "], [challenge("basic")], id="white space around it"),
        pytest.param(['Bearer realm = "x"'], [challenge("bearer", realm="x")], id="white space around the equals sign"),
        pytest.param(
            ['Bearer ,realm="x",,service=y,'], [challenge("bearer", realm="x", service="y")], id="empty elements"
        ),
        pytest.param(['BEARER Realm="x"'], [challenge("bearer", realm="x")], id="names in any case"),
        pytest.param(
            ['Basic realm="a"', 'Bearer realm="b"'],
            [challenge("basic", realm="a"), challenge("bearer", realm="b")],
            id="two lines",
        ),
        pytest.param(['Bearer realm="x"', 'service="y"'], [challenge("bearer", realm="x", service="y")], id="split"),
        pytest.param(
            ["Negotiate oYG2MIGzoAMK+/=", 'Bearer realm="b"'],
            [challenge("negotiate"), challenge("bearer", realm="b")],
            id="credentials in place of parameters",
        ),
        pytest.param(["Negotiate abc==, Basic"], [challenge("negotiate"), challenge("basic")], id="padded credentials"),
        pytest.param([r'Bearer realm="a\\b\"c\d"'], [challenge("bearer", realm=r"a\b" + '"cd')], id="escapes"),
        pytest.param(['Bearer realm=""'], [challenge("bearer", realm="")], id="an empty string"),
        pytest.param(['Bearer realm="café"'], [challenge("bearer", realm="café")], id="beyond ASCII in a string"),
    ],
)
def test_challenges_are_read(lines: list[str], expected: list[Challenge]) -> None:
    """Several in a line or in several lines, with all the freedom that the grammar leaves."""
    assert parse_challenges(lines) == tuple(expected)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('realm="x"', id="a parameter of nothing"),
        pytest.param('Bearer, realm="x"', id="a parameter after a scheme that has ended"),
        pytest.param('Negotiate abc==, realm="x"', id="a parameter after credentials"),
        pytest.param('Bearer realm="x', id="no closing quote"),
        pytest.param('Bearer realm="x\\"', id="an escaped closing quote"),
        pytest.param('Bearer realm="x" service="y"', id="no comma"),
        pytest.param('Bearer realm="x"service="y"', id="nothing between"),
        pytest.param("Bearer realm=https://auth.example.com/token", id="an unquoted URL"),
        pytest.param('Bearer ="x"', id="no name"),
        pytest.param('Bearer realm="x",realm="y"', id="twice"),
        pytest.param('Bearer realm="x",REALM=y', id="twice, in another case"),
        pytest.param('Bearer realm="a\nb"', id="a line end in a string"),
        pytest.param('Bearer realm="a\x00b"', id="a control character in a string"),
        pytest.param("Béarer", id="beyond ASCII in a word"),
        pytest.param('"Bearer"', id="a string for a scheme"),
        pytest.param("Bearer; realm=x", id="another separator"),
        pytest.param("Bearer " + "a" * LONGEST, id="too long"),
    ],
)
def test_what_breaks_the_grammar_is_refused_without_being_repeated(line: str) -> None:
    """A realm may hold a secret, so no error quotes the header."""
    with pytest.raises(MalformedChallenge) as caught:
        parse_challenges([line])

    assert "auth.example.com" not in str(caught.value)


def test_realm_makes_no_bearer() -> None:
    """ECR sends Basic with a realm that is a URL; only a Bearer challenge is answered by a token."""
    basic = challenge("basic", realm="https://123.dkr.ecr.us-east-1.amazonaws.com/", service="ecr.amazonaws.com")
    bearer = challenge("bearer", realm="https://auth.example.com/token")

    assert bearer_of([basic]) is None
    assert bearer_of([basic, bearer]) == bearer


@given(st.lists(st.tuples(_WORDS, st.dictionaries(_WORDS.map(str.lower), _VALUES, max_size=3)), max_size=3))
def test_what_is_written_by_the_grammar_is_read_back(written: list[tuple[str, Mapping[str, str]]]) -> None:
    """Law: any challenges, with any values in quotes, are the ones that are found."""
    text = ", ".join(
        " ".join([scheme, ", ".join(f'{name}="{_escape(value)}"' for name, value in parameters.items())])
        for scheme, parameters in written
    )

    assert parse_challenges([text]) == tuple(Challenge(scheme.lower(), dict(each)) for scheme, each in written)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_is_read_or_refused(lines: list[str]) -> None:
    """Law: no text makes anything but challenges or the one error."""
    try:
        found = parse_challenges(lines)
    except MalformedChallenge:
        return
    assert all(each.scheme == each.scheme.lower() for each in found)


def _escape(value: str) -> str:
    """Write a value as the inside of a quoted string."""
    return value.replace("\\", "\\\\").replace('"', '\\"')
