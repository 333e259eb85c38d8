"""What pumps of events have in common, whoever brings the events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from replicated_proxy.kube.client import Object
from replicated_proxy.kube.hearing import Hearing
from replicated_proxy.kube.resources import Resource

QUIET_SECONDS: Final = 70.0  # Bookmarks come each minute; a watch is asked for anew after a silence as long as this.
ACCIDENTS: Final = 2  # Ends that a new start heals, and that nobody has to be told of.
STEADY_SECONDS: Final = 20.0

Deliver = Callable[[Resource, str | None, Object], None]
"""Receives each event in the main event loop: kind, type (None while listing), object."""


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """A kind to pump events of.

    Attributes:
        resource: the kind.
        field_selector: narrows list and watch on the server, or empty.
    """

    resource: Resource
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Pumped:
    """What a pump is for.

    Attributes:
        name: of the pump, in logs and metrics.
        kinds: what to pump.
        quiet_seconds: how long a watch may be silent before it is asked for anew.
    """

    name: str
    kinds: tuple[WatchedKind, ...]
    quiet_seconds: float = QUIET_SECONDS


class Pump(Protocol):
    """A pump as its role and the watchdog see it.

    Attributes:
        pumped: what it is for.
        hearing: when each kind was last heard of.
        began: when it last started, by the monotonic clock.
    """

    pumped: Pumped
    hearing: Hearing
    began: float

    def problems(self) -> list[str]:
        """Say that it does not run, for the readiness probe."""
        ...

    def silence(self, resource: Resource) -> float:
        """Return for how many seconds nothing came for a kind although it ran."""
        ...

    def restart(self) -> None:
        """Start anew."""
        ...

    async def run(self) -> None:
        """Pump until cancelled."""
        ...
