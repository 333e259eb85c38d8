"""A Service's work on a machine without one: connections handed to one replica after the other."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 1 << 16


class Balancer:
    """Accepts on a port of the loopback, and carries each connection to the next of some other ports."""

    def __init__(self, port: int, targets: Sequence[int]) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._targets = itertools.cycle(targets)
        self._open: list[socket.socket] = []
        self._ended = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and every connection with it."""
        self._ended = True
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _accept(self) -> None:
        """Take connections until the end."""
        while not self._ended:
            with suppress(OSError):
                caller, _ = self._listener.accept()
                self._open.append(caller)
                replica = socket.create_connection(("127.0.0.1", next(self._targets)))
                self._open.append(replica)
                for pair in ((caller, replica), (replica, caller)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes until one side ends."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
