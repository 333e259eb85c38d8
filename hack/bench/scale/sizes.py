"""How large a run is: NAMESPACES decides, everything else follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NAMESPACES = 5000
_ROUNDS = 3
_LARGEST = 20_000
_FEWEST_NAMESPACES = 50


class InvalidSizes(ValueError):
    """A variable that makes no sense; carries name, value and remedy."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a run consists of.

    Attributes:
        namespaces: how many there are in all but the storm.
        rounds: how often each side fills them.
        fsync: whether etcd waits for the disk, as it does in a real cluster.
    """

    namespaces: int = _NAMESPACES
    rounds: int = _ROUNDS
    fsync: bool = True

    @property
    def steps(self) -> tuple[int, int, int]:
        """Numbers of namespaces at which the memory is read."""
        return (0, self.namespaces // 5, self.namespaces)

    @property
    def storm(self) -> int:
        """Namespaces created at once."""
        return self.namespaces // 5

    @property
    def singles(self) -> int:
        """Namespaces created one at a time."""
        return min(200, self.namespaces // 5)

    @property
    def foreign(self) -> int:
        """Secrets of others."""
        return self.namespaces * 10

    def patience(self, objects: int) -> float:
        """Seconds after which something that takes that many writes counts as stuck."""
        return 60.0 + objects * 0.06


def read_sizes(environment: Mapping[str, str]) -> Sizes:
    """Read NAMESPACES, ROUNDS and FSYNC.

    Raises:
        InvalidSizes: one of them makes no sense.
    """
    return Sizes(
        namespaces=read_number(environment, "NAMESPACES", _NAMESPACES, _FEWEST_NAMESPACES),
        rounds=read_number(environment, "ROUNDS", _ROUNDS, 1),
        fsync=read_number(environment, "FSYNC", 1, 0) > 0,
    )


def read_number(environment: Mapping[str, str], name: str, default: int, least: int) -> int:
    """Read a whole number.

    Raises:
        InvalidSizes: it is none, or out of bounds.
    """
    text = environment.get(name, "") or str(default)
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= _LARGEST:
        raise InvalidSizes(f"{name}={text} is no whole number from {least} to {_LARGEST}")
    return int(text)
