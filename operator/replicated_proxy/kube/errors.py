"""What the API server can answer instead of an object.

Only the answers that somebody acts on have a class of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from replicated_proxy.core.objects import list_at, mapping_at, text_at

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
_TOO_MANY: Final = 429
_ILL: Final = 500
_LONGEST_RETRY_AFTER: Final = 60.0  # Somebody between us and the server could ask for a year.


class NoCluster(Exception):
    """Nothing says where the API server is and who we are, or what says it cannot be read; carries the remedy."""


class ApiError(Exception):
    """A request that did not succeed.

    Attributes:
        status: HTTP status; 0 when there was no answer at all.
        reason: the Status object's reason (`AlreadyExists`, `Forbidden`, …), or the HTTP reason.
        cause: first cause in the Status details (`NamespaceTerminating`, …), or empty.
        retry_after: seconds that the server asks to be left alone, with a cap; 0 when it asks for nothing.
    """

    def __init__(self, status: int, reason: str, message: str, cause: str = "") -> None:
        """Keep the server's own words; they name the object and the rule."""
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.cause = cause
        self.retry_after = 0.0

    @property
    def passing(self) -> bool:
        """Tell whether the same request may succeed a moment later: nobody answered, or the server was busy or ill."""
        return self.status in {0, _TOO_MANY} or self.status >= _ILL


class Unreachable(ApiError):
    """No answer that could be read: connection refused, reset, timed out, not trusted, or the answer cut off."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", f"API server unreachable: {message}")


class NotFound(ApiError):
    """The object, its namespace or its kind does not exist."""


class Conflict(ApiError):
    """The object exists already, or has changed since it was read, or is another one by now."""


class Gone(ApiError):
    """The resourceVersion is too old; only a new listing helps."""


class Forbidden(ApiError):
    """Refused by RBAC, quota, an admission policy, or because the namespace is terminating."""

    @property
    def namespace_terminating(self) -> bool:
        """Tell whether the namespace is going away, which needs no retry (`NamespaceTerminating` cause)."""
        return self.cause == "NamespaceTerminating"


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    FORBIDDEN: Forbidden,
    NOT_FOUND: NotFound,
    CONFLICT: Conflict,
    GONE: Gone,
}


def error_from_status(http_status: int, body: object, fallback: str, retry_after: str = "") -> ApiError:
    """Make the error for an answer.

    Args:
        http_status: of the answer, or the code in a watch's ERROR event.
        body: the decoded Status object, or anything else: a proxy in between writes what it likes.
        fallback: what to say where `body` says nothing.
        retry_after: the header, if there was one.
    """
    causes = list_at(body, "details", "causes")
    kind = _BY_STATUS.get(http_status, ApiError)
    reason, message = text_at(body, "reason") or fallback, text_at(body, "message") or fallback
    error = kind(http_status, reason, message, text_at(causes[0], "reason") if causes else "")
    error.retry_after = _seconds(retry_after) or _seconds(mapping_at(body, "details").get("retryAfterSeconds"))
    return error


def _seconds(value: object) -> float:
    """Read a pause in whole seconds; the header's other form, a date, is one that API servers do not use."""
    text = str(value)
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0
