"""Which fields of a License were edited after signing.

The signed copy counts, whatever stands beside it; this only tells people. Compared are the fields that KOTS knows,
by its rules: keys without regard to case, a missing field equal to an empty one, channels in order. Their names are
told, never their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from replicated_proxy.core.objects import Body, mapping_at

MOST_NAMED: Final = 10
MOST_ADDED: Final = 100
_LONGEST_NAME: Final = 60
_PLAIN_NAME: Final = re.compile(r"[\w-]+", re.ASCII)
_SPEC_FIELDS: Final = (
    "appSlug",
    "channelID",
    "channelName",
    "customerEmail",
    "customerID",
    "customerName",
    "endpoint",
    "isAirgapSupported",
    "isDisasterRecoverySupported",
    "isEmbeddedClusterDownloadEnabled",
    "isEmbeddedClusterMultiNodeEnabled",
    "isEmbeddedClusterRookEnabled",
    "isGeoaxisSupported",
    "isGitOpsSupported",
    "isIdentityServiceSupported",
    "isSemverRequired",
    "isSnapshotSupported",
    "isSupportBundleUploadSupported",
    "licenseID",
    "licenseSequence",
    "licenseType",
    "replicatedProxyDomain",
)
_CHANNEL_FIELDS: Final = (
    "channelID",
    "channelName",
    "channelSlug",
    "endpoint",
    "isDefault",
    "isSemverRequired",
    "replicatedProxyDomain",
)
_ENTITLEMENT_FIELDS: Final = ("description", "isHidden", "title", "value", "valueType")


def name_edits(outer: Body, signed: Body) -> str:
    """Name the fields of `spec` that differ from the signed copy, sorted; empty when none does."""
    edits = sorted(_edits(_fold(outer), _fold(signed)))
    more = len(edits) - MOST_NAMED
    return ", ".join(edits[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _edits(outer: Body, signed: Body) -> Iterator[str]:
    """Name what differs between two specs with folded keys."""
    yield from (f"spec.{name}" for name in _SPEC_FIELDS if _differs(outer, signed, name))
    yield from _channel_edits(_items(outer.get("channels")), _items(signed.get("channels")))
    yield from _entitlement_edits(mapping_at(outer, "entitlements"), mapping_at(signed, "entitlements"))


def _channel_edits(outer: Sequence[object], signed: Sequence[object]) -> Iterator[str]:
    """Name what differs between two lists of channels; when their number does, no place can be compared."""
    if len(outer) != len(signed):
        yield "spec.channels"
        return
    for index, (left, right) in enumerate(zip(outer, signed, strict=True)):
        one, other = _fold(left), _fold(right)
        yield from (f"spec.channels[{index}].{name}" for name in _CHANNEL_FIELDS if _differs(one, other, name))


def _entitlement_edits(outer: Body, signed: Body) -> Iterator[str]:
    """Name what differs between two sets of entitlements: added and removed ones, and fields of the others.

    Who adds very many makes work for nobody: then only the whole is named.
    """
    if len(outer) > len(signed) + MOST_ADDED:
        yield "spec.entitlements"
        return
    yield from map(_entitlement_path, outer.keys() ^ signed.keys())
    for name in outer.keys() & signed.keys():
        one, other = _fold(outer[name]), _fold(signed[name])
        changed = [field for field in _ENTITLEMENT_FIELDS if _differs(one, other, field)]
        yield from (f"{_entitlement_path(name)}.{field}" for field in changed)


def _entitlement_path(name: object) -> str:
    """Return the path of an entitlement; its name is anybody's, so it is cut and escaped."""
    text = str(name)
    if len(text) <= _LONGEST_NAME and _PLAIN_NAME.fullmatch(text):
        return f"spec.entitlements.{text}"
    shown = repr(text[:_LONGEST_NAME])
    cut = len(text) > _LONGEST_NAME or len(shown) > _LONGEST_NAME + 2
    return f"spec.entitlements[{shown[:_LONGEST_NAME]}…]" if cut else f"spec.entitlements[{shown}]"


def _fold(owner: object) -> Body:
    """Return an object with its keys folded as Go's JSON decoder does; of several that agree the last one counts."""
    if not isinstance(owner, Mapping):
        return {}
    return {key.casefold(): value for key, value in owner.items() if isinstance(key, str)}


def _items(value: object) -> Sequence[object]:
    """Return a list, or an empty one for anything else."""
    return value if isinstance(value, list | tuple) else ()


def _differs(outer: Body, signed: Body, name: str) -> bool:
    """Tell whether a field differs; one that is missing equals any empty value."""
    left, right = outer.get(name.casefold()), signed.get(name.casefold())
    if left is None or right is None:
        return bool(left) or bool(right)
    return _comparable(left) != _comparable(right)


def _comparable(value: object) -> tuple[str, object]:
    """Return a scalar with its JSON type, so that true is not 1; of lists and objects the type alone."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    return ("text", value) if isinstance(value, str) else (type(value).__name__, None)
