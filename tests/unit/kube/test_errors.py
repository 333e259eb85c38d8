"""What comes of answers that are no success."""

from __future__ import annotations

from typing import Any

import pytest

from replicated_proxy.kube.errors import ApiError, Conflict, Forbidden, Gone, NotFound, error_from_status


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Forbidden), (404, NotFound), (409, Conflict), (410, Gone), (500, ApiError)]
)
def test_statuses_have_their_classes(status: int, kind: type[ApiError]) -> None:
    """Those that somebody acts on have a class of their own."""
    error = error_from_status(status, {"reason": "Why", "message": "in words"}, "fallback")

    assert type(error) is kind
    assert (error.status, error.reason, str(error)) == (status, "Why", f"{status} Why: in words")


@pytest.mark.parametrize(
    "body",
    [
        None,
        "<html>",
        [],
        {"details": None},
        {"details": {"causes": None}},
        {"details": {"causes": [None]}},
        {"details": {"causes": ["text"]}},
        {"details": {"causes": [{"reason": 5}]}},
        {"reason": {}, "message": [], "details": {"causes": {"0": 1}, "retryAfterSeconds": "soon"}},
    ],
)
def test_any_body_makes_an_error(body: Any) -> None:
    """A Status of any shape, and what is none, makes an error with the fallback's words."""
    error = error_from_status(422, body, "Unprocessable Entity")

    assert (error.reason, error.cause, error.retry_after) == ("Unprocessable Entity", "", 0.0)


def test_terminating_namespace_is_known() -> None:
    """The first cause is what tells a namespace that is going away."""
    body = {"reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}, None]}}
    error = error_from_status(403, body, "")

    assert isinstance(error, Forbidden)
    assert error.namespace_terminating


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("7", {}, 7.0),
        ("", {"retryAfterSeconds": 3}, 3.0),
        ("5", {"retryAfterSeconds": 3}, 5.0),
        ("99999999", {}, 60.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", {}, 0.0),
        ("-4", {"retryAfterSeconds": -4}, 0.0),
        ("², ٣", {"retryAfterSeconds": True}, 0.0),
    ],
)
def test_retry_after_is_kept(header: str, details: Any, seconds: float) -> None:
    """The seconds that the server asks for come from the header or the Status, and not without a limit."""
    assert error_from_status(429, {"details": details}, "Too Many Requests", header).retry_after == seconds
