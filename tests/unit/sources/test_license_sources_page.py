"""`docs/license-sources.md` can fail: its settings are good ones, and its Secrets hold what they say."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import yaml

from license_secrets import Json, encoded
from replicated_proxy.core.licenses import parse_license
from replicated_proxy.settings.loading import parse_settings
from replicated_proxy.settings.model import SecretSource
from replicated_proxy.sources.license_secrets import read_license_secret
from rig.cache import REPOSITORY

PAGE = (REPOSITORY / "docs" / "license-sources.md").read_text(encoding="utf-8")
BLOCKS: list[Json] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
VALUES = {key: value for block in BLOCKS if "kind" not in block for key, value in block.items()}
SECRETS = [block for block in BLOCKS if block.get("kind") == "Secret"]
SOURCES = parse_settings({"sources": VALUES["settings"]["sources"]}, {}).sources


def as_stored(secret: Json) -> Json:
    """Return a Secret as the API server shows it: `stringData` is for writing only."""
    return secret | {"data": {key: encoded(text) for key, text in secret["stringData"].items()}}


@pytest.mark.parametrize(("source", "secret"), list(zip(SOURCES.secrets, SECRETS, strict=True)))
def test_each_entry_reads_its_secret(source: SecretSource, secret: Json) -> None:
    """The settings' entries and the Secrets shown go together and give the licenses that the text says."""
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == (source.namespace, source.name)

    lic = parse_license(read_license_secret(as_stored(secret), source).body)

    assert (lic.app_slug, lic.license_id.reveal(), lic.problems) == (source.namespace, "the-license-id", ())
    assert lic.proxy_domains == ((source.proxy_host,) if source.proxy_host else ())


def test_first_license_ends_when_it_says() -> None:
    """The date without quotes is one."""
    lic = parse_license(read_license_secret(as_stored(SECRETS[0]), SOURCES.secrets[0]).body)

    assert (lic.expiry.problem, lic.expiry.at is not None) == ("", True)


def test_injected_license_is_one() -> None:
    """The value that the chart makes a Secret of holds a license for the application beside it."""
    injected: dict[str, Any] = VALUES["injectedLicense"]
    config = base64.b64decode(VALUES["global"]["replicated"]["dockerconfigjson"], validate=True).decode()
    source = SecretSource("release", "it", ".dockerconfigjson", injected["appSlug"])

    document = read_license_secret(as_stored({"stringData": {".dockerconfigjson": config}}), source)

    assert parse_license(document.body).license_id.reveal() == "abc"
