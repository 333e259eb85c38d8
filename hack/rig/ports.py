"""Free TCP ports, chosen at run time."""

import random
import socket
from contextlib import closing

from rig.errors import RigError

# Below the range that Linux hands to outgoing connections (32768 and up), so that a port stays ours while its
# server is stopped between two starts, and above the well-known ones.
_FIRST, _LAST = 20000, 32000
_ATTEMPTS = 200


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of ``address`` on which nobody listens right now."""
    for _ in range(_ATTEMPTS):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - avoids collisions, protects nothing
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as candidate:
            try:
                candidate.bind((address, port))
            except OSError:
                continue
            return port
    raise RigError(f"no free TCP port between {_FIRST} and {_LAST} on {address}")
