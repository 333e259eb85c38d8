"""Free TCP ports, chosen at run time."""

import os
import random
import socket
from collections import deque
from contextlib import closing

from rig.errors import RigError

# Below the range that Linux hands to outgoing connections (32768 and up), so that a port stays ours while its
# server is stopped between two starts, and above the well-known ones.
_FIRST, _LAST = 20000, 32000
_ATTEMPTS = 200
# Sockets that are bound to the ports given out last, and never listen. A server may bind its port all the same, since
# it sets SO_REUSEADDR, as all of ours do; whoever looks for a free port does not, in this process or beside it. So
# between the choice of a port and the start of its server nobody else is given it.
_HELD: deque[int] = deque()
_MOST_HELD = 64


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of ``address`` on which nobody listens right now, and which nobody else is given for a while."""
    for _ in range(_ATTEMPTS):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - avoids collisions, protects nothing
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as candidate:
            try:
                candidate.bind((address, port))
            except OSError:
                continue
            _hold(candidate)
            return port
    raise RigError(f"no free TCP port between {_FIRST} and {_LAST} on {address}")


def _hold(bound: socket.socket) -> None:
    """Keep a port from being given to others; its server may have it from now on."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _HELD.append(bound.detach())
    if len(_HELD) > _MOST_HELD:
        os.close(_HELD.popleft())
