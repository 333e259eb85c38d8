"""Secrets that hold licenses, for tests: each builder makes a working one, and a test states only what differs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import yaml

from replicated_proxy.settings.model import SecretSource

Json = dict[str, Any]
LICENSE_KEY = "license.yaml"
SDK_KEY = "config.yaml"
DOCKER_KEY = ".dockerconfigjson"


def encoded(text: str | bytes) -> str:
    """Return base64, as a Secret's data has it."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def a_source(key: str = LICENSE_KEY, **differs: Any) -> SecretSource:
    """Return an entry of `sources.secrets` for the Secret `app/credential`."""
    return SecretSource(**({"namespace": "app", "name": "credential", "key": key} | differs))


def a_secret(data: Mapping[str, str | bytes], **metadata: Any) -> Json:
    """Return the Secret `app/credential` as the API server would show it."""
    shown = {
        "namespace": "app",
        "name": "credential",
        "uid": "uid-of-secret",
        "creationTimestamp": "2026-02-01T00:00:00Z",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": shown | metadata,
        "data": {key: encoded(value) for key, value in data.items()},
    }


def license_yaml(slug: str = "my-app", *, api_version: str = "kots.io/v1beta1", **spec: Any) -> str:
    """Write a license.yaml as a vendor portal does."""
    return yaml.safe_dump(
        {
            "apiVersion": api_version,
            "kind": "License",
            "metadata": {"name": "jane"},
            "spec": {"appSlug": slug, "licenseID": f"{slug}-id", "licenseType": "prod", **spec},
        }
    )


def sdk_config(license_text: str) -> str:
    """Write the Replicated SDK's configuration around a license, as its chart does."""
    return yaml.safe_dump(
        {
            "license": license_text,
            "licenseFields": {"expires_at": {"name": "expires_at", "value": "2030-01-01T00:00:00Z"}},
            "appName": "My App",
            "channelSequence": 12,
            "releaseCreatedAt": "2026-01-01T00:00:00Z",
            "statusInformers": None,
        }
    )


def docker_config(entries: Mapping[str, Any] | None = None, *, password: str = "my-app-id") -> str:  # noqa: S107
    """Write a docker config, by default KOTS's two entries."""
    auth = {"auth": encoded(f"LICENSE_ID:{password}")}
    return json.dumps({"auths": entries or {"proxy.replicated.com": auth, "registry.replicated.com": auth}})
