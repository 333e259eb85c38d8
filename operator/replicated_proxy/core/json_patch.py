"""JSON Patch operations (RFC 6902) and pointers (RFC 6901)."""

from __future__ import annotations

from typing import Literal, TypedDict


class JsonPatchOperation(TypedDict):
    """One operation; only the two that the webhook needs, both safe on a path known to exist."""

    op: Literal["add", "replace"]
    path: str
    value: object


def add(path: str, value: object) -> JsonPatchOperation:
    """Add a member or, at `…/-`, append an element. An existing member is replaced (RFC 6902 4.1)."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: object) -> JsonPatchOperation:
    """Replace a value that is there."""
    return {"op": "replace", "path": path, "value": value}


def escape_token(text: str) -> str:
    """Write a key as one token of a pointer (RFC 6901 section 3)."""
    return text.replace("~", "~0").replace("/", "~1")
