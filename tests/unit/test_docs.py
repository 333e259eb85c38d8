"""Docs that can fail: what they name exists, what they show parses, what they list is complete."""

from __future__ import annotations

import re

import pytest
import yaml

from pages.settings import PAGE, render_settings
from replicated_proxy.core.applications import parse_application
from replicated_proxy.core.licenses import parse_license
from replicated_proxy.core.signatures import SignatureState
from replicated_proxy.core.statuses import StatusReason
from replicated_proxy.core.validity import ExpiryStanding
from rig.cache import REPOSITORY

PACKAGE = REPOSITORY / "operator" / "replicated_proxy"
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__"))


def words_of_table(page: str) -> set[str]:
    """Return the code words in the table rows of a page."""
    rows = [line for line in (REPOSITORY / page).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_settings_page_is_what_the_code_says() -> None:
    """`docs/settings.md` is up to date; `make docs` writes it."""
    expected = render_settings()

    assert expected == PAGE.read_text(encoding="utf-8")


def test_every_condition_reason_is_explained() -> None:
    """Each reason of a condition has its row with meaning and remedy."""
    reasons = (*StatusReason, *ExpiryStanding, *SignatureState)
    missing = {reason.value for reason in reasons} - words_of_table("docs/status.md")

    assert not missing


@pytest.mark.parametrize("room", ROOMS)
def test_architecture_names_every_room(room: str) -> None:
    """The code map leaves no folder of the package out."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")

    assert f"`{room}/`" in text


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_named_files_exist(page: str) -> None:
    """Every file or folder that a page names is there."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/…])((?:core|controller|webhook|certificates|kube|settings|telemetry)/\w+\.py)", text)
    links = [link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) if link]
    missing = [path for path in named if not (PACKAGE / path).exists()]
    missing += [path for path in links if not (REPOSITORY / path).exists()]

    assert not missing
    assert named or links


def test_readme_objects_are_read_by_the_real_parsers() -> None:
    """The smallest License and Application of the README are good ones."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    lic, application = yaml.safe_load_all(block)

    assert parse_license(lic).app_slug == "my-kots-app"
    assert parse_application(application).problems == ()
    assert parse_application(application).every_namespace
