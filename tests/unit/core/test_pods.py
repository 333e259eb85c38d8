"""Where images stand in a Pod, and how each place is named."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_pod, a_slot, ids
from replicated_proxy.core.pods import Carrier, Pod

PLACES = [
    (Carrier.CONTAINERS, "/spec/containers/2/image", "containers/x"),
    (Carrier.INIT_CONTAINERS, "/spec/initContainers/2/image", "initContainers/x"),
    (Carrier.EPHEMERAL_CONTAINERS, "/spec/ephemeralContainers/2/image", "ephemeralContainers/x"),
    (Carrier.VOLUMES, "/spec/volumes/2/image/reference", "volumes/x"),
]


@pytest.mark.parametrize(("carrier", "pointer", "key"), PLACES, ids=ids(PLACES))
def test_slot_is_found_by_pointer_and_named_by_key(carrier: Carrier, pointer: str, key: str) -> None:
    """The pointer goes by position, as RFC 6901 has it; the key goes by name, which people know."""
    slot = a_slot("nginx", carrier, index=2, name="x")

    assert (pointer, key) == (slot.pointer, slot.key)


MIRRORS: list[tuple[str, dict[str, str] | None, bool]] = [
    ("no annotations", None, False),
    ("other annotations", {"kubernetes.io/config.source": "file"}, False),
    ("mirror", {"kubernetes.io/config.mirror": "hash"}, True),
    ("mirror without a hash", {"kubernetes.io/config.mirror": ""}, True),
]


@pytest.mark.parametrize(("annotations", "expected"), [row[1:] for row in MIRRORS], ids=ids(MIRRORS))
def test_mirror_pod_is_known_by_its_annotation(annotations: dict[str, str] | None, expected: bool) -> None:
    """The annotation alone makes a mirror Pod, whatever its value."""
    assert expected == a_pod(annotations=annotations).is_mirror


MARKS: list[tuple[str, dict[str, Any], str]] = [
    ("neither", {}, ""),
    ("label", {"labels": {"key": "label"}}, "label"),
    ("annotation", {"annotations": {"key": "annotation"}}, "annotation"),
    ("both", {"labels": {"key": "label"}, "annotations": {"key": "annotation"}}, "annotation"),
    ("empty annotation", {"labels": {"key": "label"}, "annotations": {"key": ""}}, "label"),
]


@pytest.mark.parametrize(("differs", "expected"), [row[1:] for row in MARKS], ids=ids(MARKS))
def test_mark_is_read_from_annotation_or_label(differs: dict[str, Any], expected: str) -> None:
    """The annotation counts before the label of the same key."""
    assert expected == Pod((), **differs).mark("key")
