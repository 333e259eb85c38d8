"""One line of JSON for each record, and nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.telemetry.logs import JsonFormatter, configure_logs


def _written(message: str, *args: object, error: BaseException | None = None, **extra: Any) -> dict[str, Any]:
    """Return what a record becomes."""
    trouble = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger("a.logger").makeRecord(
        "a.logger", logging.WARNING, "file.py", 1, message, args, trouble, extra=extra
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger, which is as before afterwards."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_record_has_time_level_logger_message_and_extras() -> None:
    """The fixed fields and those of the call stand beside each other."""
    fields = _written("synced %d of %d", 2, 3, namespace="app", count=5)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "WARNING",
        "logger": "a.logger",
        "message": "synced 2 of 3",
        "namespace": "app",
        "count": 5,
    }


def test_traceback_stands_in_one_field() -> None:
    """An exception is part of the line, not a line of its own."""
    assert "KeyError: 'missing'" in _written("failed", error=KeyError("missing"))["error"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer eyJhbGciOi.abc-_def",
        "header was 'Basic TElDRU5TRV9JRDp0b3Atc2VjcmV0'",
        '{"auths":{"proxy.replicated.com":{"auth":"TElDRU5TRV9JRDp0b3Atc2VjcmV0"}}}',
        r'{"value":"{\"auth\":\"TElDRU5TRV9JRDp0b3Atc2VjcmV0\"}"}',
        '{"licenseID": "TElDRU5TRV9JRDp0b3Atc2VjcmV0"}',
        "-----BEGIN PRIVATE KEY-----\nTElDRU5TRV9JRDp0b3Atc2VjcmV0\n-----END PRIVATE KEY-----",
        "cut off: -----BEGIN EC PRIVATE KEY-----\nTElDRU5TRV9JRDp0b3Atc2VjcmV0",
    ],
)
def test_credentials_are_blanked_wherever_they_stand(text: str) -> None:
    """Headers, docker configs, license IDs and keys are blanked in messages, extras and tracebacks."""
    fields = _written("got %s", text, error=ValueError(text), detail=text)
    for name in ("message", "detail", "error"):
        assert "[redacted]" in fields[name]
        assert "TElDRU5TRV9JRDp0b3Atc2VjcmV0" not in fields[name]
        assert "eyJhbGciOi" not in fields[name]


@pytest.mark.parametrize("name", ["token", "Authorization", "data", "body", "auth", "password"])
def test_fields_with_telling_names_are_blanked(name: str) -> None:
    """A field that is named like a credential is blanked whatever it holds."""
    extra: dict[str, Any] = {name: {"a": "b"}}
    assert _written("text", **extra)[name] == "[redacted]"


@given(st.text(), st.text(st.characters(categories=["Cs"])))
def test_any_text_becomes_a_line(text: str, surrogates: str) -> None:
    """No text breaks the format, lone surrogates included."""
    assert "message" in _written("%s", text + surrogates, detail=text + surrogates)


def test_configured_loggers_write_lines(root: logging.Logger) -> None:
    """After configuration every logger of at least the level writes to the stream."""
    stream = io.StringIO()
    configure_logs("INFO", stream)
    logging.getLogger("some.module").info("seen")
    logging.getLogger("some.module").debug("not seen")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["seen"]
    assert root.level == logging.INFO
