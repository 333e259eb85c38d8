"""Which hosts may be asked at all: whoever creates a Pod chooses the registry's name, and with it a request of ours.

Addresses are judged, not names: a name says nothing about where it leads. Only an egress proxy, which looks names up by
itself, leaves nothing but the name to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What ends in a number is an address to a resolver, in whatever spelling (`2130706433`, `0x7f.1`, `127.1`).
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+", re.ASCII)
_MOST_DIGITS: Final = 20  # Above any part of an address, leading zeros included that somebody would write.

# An IPv4 address in an IPv6 one: the packet ends at the former.
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
# What the table of special-purpose addresses calls global and is no registry's, or what not every Python knows yet.
_NEVER: Final = tuple(
    ip_network(each)
    for each in (
        "100.64.0.0/10",  # Shared by carriers, and by several clouds for their own services (100.100.100.200).
        "168.63.129.16/32",  # Azure's host, from inside of every virtual machine.
        "192.0.0.0/24",  # Protocols; Oracle's metadata service is at 192.0.0.192.
        "192.88.99.0/24",  # Relays of 6to4, which are gone.
        "64:ff9b:1::/48",  # Translation to addresses that only the local network knows.
        "2001::/23",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
        "::/96",
    )
)

# RFC 6761, RFC 6762 (appendix G) and ICANN's `internal`, and what Kubernetes calls Services.
_INTERNAL_ENDINGS: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "svc"}
)
_INTERNAL_DOMAINS: Final = ("home.arpa", "cluster.local")


class InvalidHost(ValueError):
    """The text is neither a name nor an address."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What an administrator says about networks, on top of what holds anyway.

    Attributes:
        allowed: networks that may be asked whatever else holds for them.
        internal: more networks that may not.
    """

    allowed: tuple[Network, ...] = ()
    internal: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allowed: Iterable[str], internal: Iterable[str]) -> AddressRules:
        """Read networks in CIDR notation.

        Raises:
            ValueError: one of them is none.
        """
        return cls(tuple(map(ip_network, allowed)), tuple(map(ip_network, internal)))

    def permit(self, address: Address) -> bool:
        """Tell whether a connection may go there."""
        forms = _forms(address)
        if any(form in network for form in forms for network in self.allowed):
            return True
        return all(_is_public(form) for form in forms) and not any(
            form in network for form in forms for network in self.internal
        )


def read_address(host: str) -> Address | None:
    """Return the address that a host is in itself, in any spelling that a resolver takes; None for a name.

    Raises:
        InvalidHost: it ends in a number like an address, and is none.
    """
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        pass
    parts = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    numbers = [_read_number(part) for part in parts]
    *leading, last = numbers
    if len(numbers) > 4 or any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        raise InvalidHost(f"{host[:80]!r} ends in a number and is no address")
    return IPv4Address(sum(number << (24 - 8 * index) for index, number in enumerate(leading)) + last)


def is_internal_name(host: str) -> bool:
    """Tell whether a name is one of a cluster or of a local network, as far as a name can say."""
    name = host.lower().removesuffix(".")
    ending = name.rpartition(".")[2]
    return ending == name or ending in _INTERNAL_ENDINGS or any(f".{name}".endswith(f".{d}") for d in _INTERNAL_DOMAINS)


def _forms(address: Address) -> tuple[Address, ...]:
    """Return an address and the one that it stands for."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        # No network but IPv4 is meant: the form itself never leaves the machine.
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address in _TRANSLATED:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def _is_public(address: Address) -> bool:
    """Tell whether anybody's registry may have the address."""
    if address in _TRANSLATED:
        return True  # As far as what it stands for is.
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NEVER)
    )


def _read_number(part: str) -> int:
    """Read one part of an address as `inet_aton` does: hexadecimal after `0x`, octal after `0`, else decimal."""
    if not _NUMBER.fullmatch(part) or len(part) > _MOST_DIGITS:
        raise InvalidHost(f"{part[:80]!r} is no number of an address")
    try:
        if part[:2].lower() == "0x":
            return int(part[2:] or "0", 16)
        return int(part, 8 if part[0] == "0" else 10)
    except ValueError:
        raise InvalidHost(f"{part[:80]!r} is no number of an address") from None
