"""Listening sockets that take both address families.

An event loop handed the address `::` makes a socket for IPv6 alone (asyncio sets `IPV6_V6ONLY`), so on a cluster that
runs on IPv4 nobody would reach it: the sockets are made here.
"""

from __future__ import annotations

import socket
from typing import Final

EVERY_ADDRESS: Final = "::"
_BACKLOG: Final = 1024  # The API server may open many connections at once when it starts.


def open_listener(address: str, port: int) -> socket.socket:
    """Listen on an address; `::` takes IPv4 too, also where the kernel has no IPv6. Port 0 picks a free one.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    if address == EVERY_ADDRESS:
        if socket.has_dualstack_ipv6():
            return socket.create_server((address, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        address = ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=_BACKLOG)
