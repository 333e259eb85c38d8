"""The Application (`kots.io/v1beta1`) as a typed value.

Only the fields that widen or narrow what the operator does are read; the rest is KOTS's user interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from replicated_proxy.core.images import (
    ImageSelector,
    InvalidRepositoryPattern,
    RepositoryPattern,
    is_registry_host,
    parse_pattern,
    parse_selector,
)
from replicated_proxy.core.objects import (
    Body,
    ObjectIdentity,
    is_namespace_name,
    list_at,
    quote,
    read_identity,
    text_at,
    texts_at,
)

APP_SLUG_LABEL: Final = "kots.io/app-slug"
UPSTREAMS_ANNOTATION: Final = "proxy.kots.io/upstreams"
EVERY_NAMESPACE: Final = "*"


@dataclass(frozen=True, slots=True)
class Application:
    """Where an application runs beyond its own namespace, and which images are its own.

    Attributes:
        identity: which object this is.
        app_slug: the License it binds to by label, or empty for "the License here".
        namespaces: legal names from `additionalNamespaces`.
        every_namespace: whether the literal `"*"` is among them.
        excluded_images: never rewritten for this application.
        additional_images: claimed for it under `"*"`.
        upstreams: registries and prefixes claimed for it under `"*"`.
        proxy_domain, registry_domain: custom hosts (deprecated by Replicated, still honoured), or empty.
        problems: entries that were skipped, one sentence each.
    """

    identity: ObjectIdentity
    app_slug: str = ""
    namespaces: tuple[str, ...] = ()
    every_namespace: bool = False
    excluded_images: tuple[ImageSelector, ...] = ()
    additional_images: tuple[ImageSelector, ...] = ()
    upstreams: tuple[RepositoryPattern, ...] = ()
    proxy_domain: str = ""
    registry_domain: str = ""
    problems: tuple[str, ...] = ()

    @property
    def reaches_beyond(self) -> bool:
        """Tell whether it names namespaces other than its own."""
        return self.every_namespace or any(name != self.identity.namespace for name in self.namespaces)


def parse_application(body: Body) -> Application:
    """Read an Application; entries that make no sense are skipped and reported, never fatal."""
    namespaces, problems = _read_namespaces(body)
    upstreams, upstream_problems = _read_upstreams(body)
    proxy, proxy_problems = _read_host(body, "proxyRegistryDomain")
    registry, registry_problems = _read_host(body, "replicatedRegistryDomain")
    return Application(
        identity=read_identity(body),
        app_slug=text_at(body, "metadata", "labels", APP_SLUG_LABEL),
        namespaces=namespaces,
        every_namespace=EVERY_NAMESPACE in texts_at(body, "spec", "additionalNamespaces"),
        excluded_images=tuple(map(parse_selector, texts_at(body, "spec", "excludedImages"))),
        additional_images=tuple(map(parse_selector, texts_at(body, "spec", "additionalImages"))),
        upstreams=upstreams,
        proxy_domain=proxy,
        registry_domain=registry,
        problems=problems + upstream_problems + proxy_problems + registry_problems,
    )


def _read_namespaces(body: Body) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the entries into legal names and complaints; `"*"` is the only wildcard, as in KOTS."""
    names, problems = [], []
    for entry in dict.fromkeys(map(_as_text, list_at(body, "spec", "additionalNamespaces"))):
        if is_namespace_name(entry):
            names.append(entry)
        elif entry != EVERY_NAMESPACE:
            problems.append(
                f"additionalNamespaces entry {quote(entry)} is no namespace name and was skipped: "
                'list names, or "*" for every namespace'
            )
    return tuple(names), tuple(problems)


def _as_text(entry: object) -> str:
    """Show an entry of any JSON type; one that is no string can be no namespace name."""
    return entry if isinstance(entry, str) else f"<{'object' if isinstance(entry, Mapping) else entry}>"


def _read_upstreams(body: Body) -> tuple[tuple[RepositoryPattern, ...], tuple[str, ...]]:
    """Read the comma-separated upstreams of the annotation."""
    patterns, problems = [], []
    text = text_at(body, "metadata", "annotations", UPSTREAMS_ANNOTATION)
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            patterns.append(parse_pattern(entry))
        except InvalidRepositoryPattern as error:
            problems.append(f"annotation {UPSTREAMS_ANNOTATION}: {error}; the entry was skipped")
    return tuple(patterns), tuple(problems)


def _read_host(body: Body, field: str) -> tuple[str, tuple[str, ...]]:
    """Read a custom domain; what is no host is reported and left out."""
    text = text_at(body, "spec", field)
    if not text or is_registry_host(text):
        return text, ()
    return "", (f"{field} {quote(text)} is not a host and was skipped: write it without scheme and path",)
