"""Addresses of our own on the loopback interface: Linux answers on all of 127.0.0.0/8."""

import random
import socket
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Network

from rig.errors import RigError
from rig.ports import free_port

_HTTPS = 443
_ATTEMPTS = 50
# Away from 127.0.0.0/16, where everybody else listens.
_FIRST, _LAST = 64, 250
_USED = 17


@dataclass(frozen=True, slots=True)
class Loopback:
    """Two networks of 254 addresses each, of which nobody else uses any, and a port that is free on all of them."""

    network: IPv4Network
    other: IPv4Network
    port: int
    """443 where this user may listen on it."""

    @classmethod
    def pick(cls) -> "Loopback":
        """Choose at random, so that runs beside each other do not meet."""
        for _ in range(_ATTEMPTS):
            second, third = random.randint(_FIRST, _LAST), random.randrange(0, 254, 2)  # noqa: S311 - avoids collisions
            network, other = (IPv4Network(f"127.{second}.{third + offset}.0/24") for offset in (0, 1))
            port = _HTTPS if _listens_on_low_ports() else free_port(str(network[1]))
            used = (str(each[number]) for each in (network, other) for number in range(1, _USED))
            if all(_may_listen(address, port) for address in used):
                return cls(network, other, port)
        raise RigError("no free addresses on the loopback interface")

    def address(self, number: int) -> str:
        """Return an address of the first network."""
        return str(self.network[number])

    def other_address(self, number: int) -> str:
        """Return an address of the second network."""
        return str(self.other[number])


def _listens_on_low_ports() -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as candidate:
        try:
            # Nobody is on this address: what is refused is refused for want of a privilege.
            candidate.bind((f"127.{_LAST + 1}.{random.randrange(256)}.1", _HTTPS))  # noqa: S311 - avoids collisions
        except OSError:
            return False
        return True


def _may_listen(address: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port))
        except OSError:
            return False
        return True
