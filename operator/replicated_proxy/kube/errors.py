"""What the API server can answer instead of an object.

Only the answers that somebody acts on have a class of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410


class ApiError(Exception):
    """A request that did not succeed.

    Attributes:
        status: HTTP status; 0 when there was no answer at all.
        reason: the Status object's reason (`AlreadyExists`, `Forbidden`, …), or the HTTP reason.
        cause: first cause in the Status details (`NamespaceTerminating`, …), or empty.
    """

    def __init__(self, status: int, reason: str, message: str, cause: str = "") -> None:
        """Keep the server's own words; they name the object and the rule."""
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.cause = cause


class Unreachable(ApiError):
    """No answer: connection refused, reset, timed out or not trusted."""

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


def error_from_status(http_status: int, body: Any, fallback: str) -> ApiError:
    """Make the error for an answer; `body` is the decoded Status object, or anything else."""
    status = body if isinstance(body, dict) else {}
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    cause = causes[0].get("reason", "") if isinstance(causes, list) and causes else ""
    kind = _BY_STATUS.get(http_status, ApiError)
    return kind(http_status, str(status.get("reason") or fallback), str(status.get("message") or fallback), cause)
