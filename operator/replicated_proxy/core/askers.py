"""Who asks about images: a namespace that the routing table names, or one that nothing but `"*"` covers.

Whoever reaches the webhook's port can say any namespace, and under `"*"` each of them is covered, whether it exists or
not: the webhook may not list namespaces. So those that the table names (a License's own, listed ones, those whose
labels claim an application) get limits that no number of invented names can use up, and all others share some.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MARK: Final = "*"  # No namespace has it in its name.

# Tells whether the routing table names a namespace.
IsNamed = Callable[[str], bool]


def asker_of(namespace: str, is_named: IsNamed) -> str:
    """Return what a namespace is called where answers are shared: marked where the table does not name it."""
    return namespace if is_named(namespace) else _MARK + namespace


def is_unnamed(asker: str) -> bool:
    """Tell whether the table does not name the namespace."""
    return asker.startswith(_MARK)


def namespace_of(asker: str) -> str:
    """Return the namespace."""
    return asker.removeprefix(_MARK)
