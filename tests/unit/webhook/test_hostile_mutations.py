"""Laws on raw bytes: whatever is done to a real review, it is malformed or gets an answer that the API server takes."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from answering import a_handler, answer_of
from corpus.reviews.judging import judge, operations_of, patch, read_request
from corpus.reviews.making import EPHEMERAL, ORDINARY
from serving import to_bytes

REAL: Final = (ORDINARY.encode(), EPHEMERAL.encode())
# What means something to somebody: JSON, UTF-8, JSON pointers, images.
TOKENS: Final = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"-0", b"1e999", b"NaN", b"\\u0000", b"\\ud800"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"\0", b"\r\n", b"\x1b[31m"),
    *(b'"image":', b'"Image":"x",', b'"containers":null,', b'"metadata":null,', b'"spec":{},', b'"annotations":{},'),
    *(b"/", b"~1", b"~0", b"@sha256:", b":5000/", b"localhost/", b"proxy.replicated.com/proxy/my-app/", b"auto"),
)


HANDLER: Final = a_handler()


def check(body: bytes) -> None:
    """Check an answer by itself, against that of a handler that never saw anything else, and what comes after it."""
    answer = answer_of(HANDLER, body)
    assert answer == answer_of(a_handler(), body)
    if answer is None:
        return
    response, request = judge(body, answer), read_request(body)
    if request is None or not operations_of(response):
        return
    again = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    second = to_bytes({**again, "request": {**request, "object": patch(request, response)}})
    answered = answer_of(HANDLER, second)
    assert answered is None or not operations_of(judge(second, answered))


def one_mutation(body: bytes) -> st.SearchStrategy[bytes]:
    """Flip a byte, cut a piece out, put something in, or repeat a piece."""
    place = st.integers(0, len(body))
    length = st.integers(1, 40)
    put = st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=6)
    return st.one_of(
        st.builds(lambda at, new: body[:at] + bytes([new]) + body[at + 1 :], place, st.integers(0, 255)),
        st.builds(lambda at, size: body[:at] + body[at + size :], place, length),
        st.builds(lambda at, new: body[:at] + new + body[at:], place, put),
        st.builds(lambda at, size, to: body[:to] + body[at : at + size] + body[to:], place, length, place),
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Do one to four things to a real review."""
    body = draw(st.sampled_from(REAL))
    for _ in range(draw(st.integers(1, 4))):
        body = draw(one_mutation(body))
    return body


@pytest.mark.parametrize("body", REAL, ids=["ordinary", "ephemeral"])
def test_real_review_cut_anywhere_is_malformed(body: bytes) -> None:
    """A body that stops at any byte but the last is malformed: nothing is decided by half of a Pod."""
    assert [end for end in range(len(body)) if answer_of(HANDLER, body[:end]) is not None] == []
    assert answer_of(HANDLER, body) is not None


@pytest.mark.parametrize("body", REAL, ids=["ordinary", "ephemeral"])
def test_real_review_with_any_byte_gone_is_malformed_or_answered(body: bytes) -> None:
    """One byte is lost, at each place once."""
    for place in range(len(body)):
        answer = answer_of(HANDLER, body[:place] + body[place + 1 :])
        assert answer is None or judge(body[:place] + body[place + 1 :], answer)


@given(mutated())
@settings(max_examples=600)
@example(ORDINARY.replace('"image":"quay.io/my-org/api:v1"', '"image":"x/y","image":"a/b"').encode())
@example(ORDINARY.replace('"metadata":{', '"metadata":null,"x":{', 1).encode())
def test_mutated_review_is_malformed_or_answered_well(body: bytes) -> None:
    """Whatever is done to a review: the same uid, a patch that applies and touches what it may, words in bounds."""
    check(body)


@given(st.binary(max_size=2000))
def test_any_bytes_are_malformed(body: bytes) -> None:
    """Bytes that come from nothing are no review."""
    assert answer_of(HANDLER, body) is None


@given(st.lists(st.sampled_from(TOKENS), max_size=60))
def test_any_tokens_are_malformed_or_answered_well(tokens: list[bytes]) -> None:
    """Pieces of JSON where the image stands, in any order."""
    check(ORDINARY.encode().replace(b'"quay.io/my-org/api:v1"', b'"' + b"".join(tokens)))
    check(ORDINARY.encode().replace(b"quay.io/my-org/api:v1", b"".join(tokens)))


def test_real_reviews_are_patched() -> None:
    """The reviews that all of this begins with get a patch, so that there is something to spoil."""
    for body in REAL:
        answer = answer_of(HANDLER, body)
        assert answer is not None
        assert operations_of(judge(body, answer))
        assert json.loads(answer)["response"]["uid"] == "a-uid"
