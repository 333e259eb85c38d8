"""The routing table as text: what stands in the ConfigMap.

Versioned, so that a webhook that meets a newer format keeps its last good table; sorted, so that the same table is
the same bytes; bounded, because a ConfigMap ends at 1 MiB. Nothing secret is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from replicated_proxy.core.hosts import Hosts
from replicated_proxy.core.images import parse_pattern, parse_selector
from replicated_proxy.core.objects import Body, list_at, mapping_at, text_at, texts_at
from replicated_proxy.core.routes import Definitions, NamespaceRules, Route, RoutingTable

FORMAT: Final = 1
DATA_KEY: Final = "routes.json"
LARGEST_DOCUMENT: Final = 1_000_000  # A ConfigMap holds 1 MiB of data and keys (kubernetes validation).


class InvalidRoutingTable(ValueError):
    """The text is no routing table of a format known here."""


class NewerRoutingTable(InvalidRoutingTable):
    """A format of a later version: it must not be overwritten, since it holds what this version cannot know."""


class RoutingTableTooLarge(ValueError):
    """The table would not fit into a ConfigMap."""


def encode_table(table: RoutingTable) -> str:
    """Write a table as compact JSON; the same table gives the same bytes.

    Raises:
        RoutingTableTooLarge: names the size and what makes it smaller.
    """
    document = {
        "format": FORMAT,
        "secretName": table.secret_name,
        "routes": [_encode_route(route) for route in table.routes],
        "listed": {name: list(positions) for name, positions in sorted(table.listed.items())},
        "rules": _encode_rules(table.rules),
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode())
    if size > LARGEST_DOCUMENT:
        raise RoutingTableTooLarge(
            f"the routing table has {size} bytes and a ConfigMap holds {LARGEST_DOCUMENT}: "
            f'list fewer namespaces in additionalNamespaces, or "*" ({len(table.listed)} are listed)'
        )
    return text


def decode_table(text: str) -> RoutingTable:
    """Read a table.

    Raises:
        InvalidRoutingTable: no JSON, or a format that this version does not know.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRoutingTable(f"the routing table is no JSON: {error}") from error
    written = mapping_at(document).get("format")
    if isinstance(written, int) and written > FORMAT:
        raise NewerRoutingTable(f"routing table format {written} is newer than {FORMAT}, which this version knows")
    if written != FORMAT:
        raise InvalidRoutingTable(f"routing table format {written!r} is not {FORMAT}")
    try:
        routes = tuple(_decode_route(mapping_at(route)) for route in list_at(document, "routes"))
        return RoutingTable(
            secret_name=_required(mapping_at(document), "secretName"),
            routes=routes,
            listed=_decode_listed(mapping_at(document, "listed"), len(routes)),
            rules=_decode_rules(mapping_at(document, "rules")),
        )
    except ValueError as error:
        raise InvalidRoutingTable(f"the routing table is damaged: {error}") from error


def route_size(route: Route) -> int:
    """Return how many bytes one License takes in the document, without its listed names."""
    return len(json.dumps(_encode_route(route), separators=(",", ":"), ensure_ascii=False).encode()) + 1


def _encode_route(route: Route) -> Mapping[str, object]:
    """Write one License; absent means empty, so that most take one short line."""
    fields: dict[str, object] = {
        "license": route.license,
        "uid": route.uid,
        "created": route.created,
        "appSlug": route.app_slug,
        "proxyHost": route.hosts.proxy,
        "registryHost": route.hosts.registry,
        "defaultProxyHost": route.hosts.default_proxy,
        "defaultRegistryHost": route.hosts.default_registry,
        "everyNamespace": route.every_namespace,
        "expired": route.expired,
        "retained": route.retained,
        "excludedImages": [image.text for image in route.excluded_images],
        "excludedAtHome": [image.text for image in route.excluded_at_home],
        "claimedImages": [image.text for image in route.claimed_images],
        "claimedUpstreams": [pattern.text for pattern in route.claimed_upstreams],
        "applications": list(route.applications),
        "licenseDefinition": route.definitions.licenses,
        "applicationDefinition": route.definitions.applications,
    }
    return {name: value for name, value in fields.items() if value}


def _decode_route(fields: Body) -> Route:
    """Read one License."""
    key = _required(fields, "license")
    return Route(
        license=key,
        uid=text_at(fields, "uid"),
        created=text_at(fields, "created"),
        namespace=key.partition("/")[0],
        app_slug=_required(fields, "appSlug"),
        hosts=Hosts(
            proxy=_required(fields, "proxyHost"),
            registry=_required(fields, "registryHost"),
            default_proxy=_required(fields, "defaultProxyHost"),
            default_registry=_required(fields, "defaultRegistryHost"),
        ),
        every_namespace=fields.get("everyNamespace") is True,
        expired=fields.get("expired") is True,
        retained=fields.get("retained") is True,
        excluded_images=tuple(map(parse_selector, texts_at(fields, "excludedImages"))),
        excluded_at_home=tuple(map(parse_selector, texts_at(fields, "excludedAtHome"))),
        claimed_images=tuple(map(parse_selector, texts_at(fields, "claimedImages"))),
        claimed_upstreams=tuple(map(parse_pattern, texts_at(fields, "claimedUpstreams"))),
        applications=texts_at(fields, "applications"),
        definitions=Definitions(text_at(fields, "licenseDefinition"), text_at(fields, "applicationDefinition")),
    )


def _required(fields: Body, name: str) -> str:
    """Read a text without which images would be rewritten to nowhere."""
    text = text_at(fields, name)
    if not text:
        raise ValueError(f"{name} is missing")
    return text


def _encode_rules(rules: NamespaceRules) -> Mapping[str, object]:
    """Write exclusions and claims, sorted."""
    return {
        "excluded": sorted(rules.excluded),
        "excludedGlobs": list(rules.excluded_globs),
        "unrewritten": sorted(rules.unrewritten),
        "conflicts": sorted(rules.conflicts),
        "claims": dict(sorted(rules.claims.items())),
    }


def _decode_rules(fields: Body) -> NamespaceRules:
    """Read exclusions and claims."""
    return NamespaceRules(
        excluded=frozenset(texts_at(fields, "excluded")),
        excluded_globs=texts_at(fields, "excludedGlobs"),
        unrewritten=frozenset(texts_at(fields, "unrewritten")),
        conflicts=frozenset(texts_at(fields, "conflicts")),
        claims={name: text for name, text in mapping_at(fields, "claims").items() if isinstance(text, str)},
    )


def _decode_listed(fields: Body, routes: int) -> Mapping[str, tuple[int, ...]]:
    """Read which License lists which namespace; a position that names no License is left out."""
    known = range(routes)
    return {
        name: tuple(place for place in list_at(fields, name) if isinstance(place, int) and place in known)
        for name in fields
    }
