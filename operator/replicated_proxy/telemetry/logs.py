"""JSON logs, one line for each record.

What is secret here is text that looks like any other, so the first rule is not to log it; the formatter is the second
line: it blanks fields that carry credentials by their name, and what follows an authorization scheme.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS: Final = frozenset({"time", "level", "logger", "error"})
_SECRET_FIELDS: Final = frozenset(
    {
        ".dockerconfigjson",
        "auth",
        "authorization",
        "auths",
        "body",
        "data",
        "dockerconfigjson",
        "headers",
        "key",
        "licenseid",
        "password",
        "secret",
        "stringdata",
        "tls.key",
        "token",
    }
)
_CREDENTIAL: Final = re.compile(
    r"""(?xi)
      (?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}               # An Authorization header.
    | (?P<member>"(?:auth|password|licenseID|token)\\?"\s*:\s*\\?")[^"\\]*   # A member of a docker config or License.
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END[^-]*-----|\Z)
    """,
    re.DOTALL,
)
_BLANK: Final = "[redacted]"


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message and the record's extra fields; a traceback goes under `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in _OURS:
                fields[name] = _BLANK if name.lower() in _SECRET_FIELDS else _plain(value)
        if record.exc_info:
            fields["error"] = redact(self.formatException(record.exc_info))
        return msgspec.json.encode(fields).decode()


def redact(text: str) -> str:
    """Blank what follows an authorization scheme or a credential's name, and private keys."""
    readable = text.encode("utf-8", "replace").decode()  # A lone surrogate cannot be written as UTF-8.
    return _CREDENTIAL.sub(lambda match: (match["scheme"] or match["member"] or "") + _BLANK, readable)


def _plain(value: object) -> object:
    """Keep numbers; everything else is written as text, since a structure could hold anything."""
    return value if isinstance(value, bool | int | float | None) else redact(str(value))


def configure_logs(level: str, stream: TextIO = sys.stderr) -> None:
    """Send every logger's records to `stream` as JSON; replaces what was configured before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # One line for each watch event; the debug level of the operator itself stays useful without it.
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
