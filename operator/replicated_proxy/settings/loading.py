"""Reading the settings file and the environment; all that is wrong is told at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import yaml

from replicated_proxy.settings.checking import check_settings
from replicated_proxy.settings.decoding import decode
from replicated_proxy.settings.model import Settings


class InvalidSettings(ValueError):
    """Settings that cannot be used; one line for each problem."""


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the settings file and the environment.

    Raises:
        InvalidSettings: the file is no YAML mapping, or keys or values are wrong; all problems in one message.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(f"settings file {path} cannot be read: {error}") from error
    return parse_settings(document if document is not None else {}, environment)


def parse_settings(document: object, environment: Mapping[str, str]) -> Settings:
    """Turn a decoded settings document and the environment into settings.

    Raises:
        InvalidSettings: as for `load_settings`.
    """
    problems: list[str] = []
    settings: Settings | None = decode(Settings, document, "", problems)
    if settings is None:
        raise _invalid(problems)
    from_environment = {
        name: environment[variable]
        for name, variable in (("namespace", "POD_NAMESPACE"), ("log_level", "LOG_LEVEL"))
        if environment.get(variable)
    }
    settings = dataclasses.replace(settings, **from_environment)  # type: ignore[arg-type]  # both are text fields
    problems += check_settings(settings)
    if problems:
        raise _invalid(problems)
    return settings


def _invalid(problems: list[str]) -> InvalidSettings:
    """Put all problems into one error."""
    return InvalidSettings("invalid settings:\n" + "\n".join(f"  - {problem}" for problem in problems))
