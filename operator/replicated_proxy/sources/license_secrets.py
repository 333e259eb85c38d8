"""One Secret, one data key, one license: whatever form it is in, a License document comes out.

Three forms are told apart by what they hold, not by names of keys: a vendor portal's license.yaml, the Replicated
SDK's configuration with such a file inside, and a docker config whose password is the license ID.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from replicated_proxy.core.license_documents import LicenseDocument, document_key
from replicated_proxy.core.licenses import is_app_slug
from replicated_proxy.core.objects import Body, mapping_at, text_at
from replicated_proxy.settings.model import SecretSource
from replicated_proxy.sources.decoding import InvalidDocument, decode_document
from replicated_proxy.sources.docker_configs import InvalidDockerConfig, read_docker_license

APP_SLUG_KEY: Final = "appSlug"
_API_VERSIONS: Final = ("kots.io/v1beta1", "kots.io/v1beta2")
_OURS: Final = "kots.io/"
_FORMS: Final = "a license.yaml (kind: License), the Replicated SDK's config.yaml or a .dockerconfigjson"
_UNCHANGED: Final = "store the vendor portal's file unchanged"


class InvalidLicenseSecret(ValueError):
    """A Secret that gives no license: names Secret, data key, what is wrong and the remedy; never what is in it."""


class _Problem(ValueError):
    """What is wrong with the content, before it is known where it stands."""


def read_license_secret(secret: Body, source: SecretSource) -> LicenseDocument:
    """Read the license that a Secret holds under the source's key.

    Raises:
        InvalidLicenseSecret: it holds none.
    """
    try:
        found = _read_content(decode_document(_bytes_at(secret, source.key)), secret, source)
        _check_slug(text_at(found, "spec", "appSlug"), source)
    except (_Problem, InvalidDocument, InvalidDockerConfig) as error:
        # Without its causes, whose texts may quote what is secret.
        raise InvalidLicenseSecret(f"Secret {source.namespace}/{source.name}, key {source.key!r}: {error}") from None
    return LicenseDocument(
        body={**found, "kind": "License", "metadata": _metadata(secret, source)},
        namespaces=source.namespaces,
        key=document_key(source.namespace, source.name, source.key),
        proxy_host=source.proxy_host,
    )


def _bytes_at(secret: Body, key: str) -> bytes:
    """Return what stands under a data key."""
    data = mapping_at(secret, "data")
    if key not in data:
        raise _Problem("there is no such key in the Secret; add it, or correct the entry in settings.sources.secrets")
    try:
        return base64.b64decode(text_at(data, key), validate=True)
    except ValueError:
        raise _Problem("is not base64, in which an API server shows a Secret's data") from None


def _read_content(content: object, secret: Body, source: SecretSource) -> Body:
    """Make a License's apiVersion and spec of one of the three forms."""
    if not isinstance(content, dict):
        raise _Problem(f"is no mapping; store {_FORMS} as it is, not its base64 text")
    readers: tuple[tuple[bool, Callable[[], Body]], ...] = (
        ("auths" in content, lambda: _from_docker_config(content, secret, source)),
        ("kind" in content, lambda: _from_license(content)),
        ("license" in content, lambda: _from_sdk_config(content)),
    )
    for applies, read in readers:
        if applies:
            return read()
    raise _Problem(f"has neither kind, license nor auths; store {_FORMS}")


def _from_license(content: Mapping[str, Any]) -> Body:
    """Take over a license.yaml."""
    if content.get("kind") != "License" or content.get("apiVersion") not in _API_VERSIONS:
        raise _Problem(f"is no License of {' or '.join(_API_VERSIONS)}; {_UNCHANGED}")
    spec = mapping_at(content, "spec")
    for name in ("appSlug", "licenseID"):
        if not text_at(spec, name):
            raise _Problem(f"spec.{name} is missing or no text; {_UNCHANGED}")
    return {"apiVersion": content["apiVersion"], "spec": spec}


def _from_sdk_config(content: Mapping[str, Any]) -> Body:
    """Take the license out of the SDK's configuration, where it stands as text."""
    text = text_at(content, "license")
    if not text:
        raise _Problem("its `license` is empty or no text; install the Replicated SDK with a license")
    try:
        inner = decode_document(text.encode())
        return _from_license(inner if isinstance(inner, dict) else {})
    except (_Problem, InvalidDocument) as error:
        raise _Problem(f"its `license`: {error}") from None


def _from_docker_config(content: Mapping[str, Any], secret: Body, source: SecretSource) -> Body:
    """Make a License of a docker config; what it does not say comes from the settings, or from beside it."""
    found = read_docker_license(mapping_at(content, "auths"), source.proxy_host)
    spec = {"appSlug": source.app_slug or _slug_beside(secret), "licenseID": found.license_id}
    if found.endpoint:
        spec["endpoint"] = f"https://{found.endpoint}"
    if source.proxy_host:
        spec["replicatedProxyDomain"] = source.proxy_host
    return {"apiVersion": _API_VERSIONS[0], "spec": spec}


def _slug_beside(secret: Body) -> str:
    """Read the application's slug from the Secret's own key, in which an editor may have left a line's end."""
    if APP_SLUG_KEY not in mapping_at(secret, "data"):
        raise _Problem(
            "does not say which application it is for; set appSlug in its entry of settings.sources.secrets, or add "
            f"the key {APP_SLUG_KEY!r} to the Secret"
        )
    try:
        return base64.b64decode(text_at(secret, "data", APP_SLUG_KEY), validate=True).decode().strip()
    except ValueError:
        return ""


def _check_slug(slug: str, source: SecretSource) -> None:
    """Check the application's slug; one that the settings name has to be the one that the content names."""
    if not is_app_slug(slug):
        raise _Problem(f"its application slug is none; write {APP_SLUG_KEY} as the vendor portal does")
    if source.app_slug and slug != source.app_slug:
        raise _Problem(
            f"is for another application than {source.app_slug!r}, which its entry of settings.sources.secrets names; "
            "correct one of the two"
        )


def _metadata(secret: Body, source: SecretSource) -> dict[str, object]:
    """Write the License's metadata: the Secret's identity, with those labels and annotations that mean something.

    Others stay out: `kubectl apply` keeps the whole Secret in an annotation. A deletion is not taken over, since a
    Secret that goes is missing, and that has a time of grace.
    """
    metadata = mapping_at(secret, "metadata")
    return {
        "namespace": source.namespace,
        "name": source.name,
        "uid": f"{text_at(metadata, 'uid')}/{source.key}",
        "creationTimestamp": text_at(metadata, "creationTimestamp"),
        "labels": _ours(mapping_at(metadata, "labels")),
        "annotations": _ours(mapping_at(metadata, "annotations")),
    }


def _ours(texts: Body) -> dict[str, object]:
    """Return the labels or annotations in Replicated's and our own name space."""
    return {key: value for key, value in texts.items() if _OURS in key}
