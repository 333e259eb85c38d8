"""Free ports: each is given out once, and whoever got it can listen there."""

import os
import random
import socket
from collections import deque
from collections.abc import Iterator

import pytest

from rig import ports
from rig.errors import RigError


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the ports of a test apart from those that servers of other tests still wait for."""
    held = deque[int]()
    monkeypatch.setattr(ports, "_HELD", held)
    yield
    for descriptor in held:
        os.close(descriptor)


@pytest.fixture
def only_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Choose one port again and again."""
    port = ports.free_port()
    os.close(ports._HELD.pop())
    monkeypatch.setattr(random, "randint", lambda *_: port)
    return port


def test_port_is_given_out_once(only_port: int) -> None:
    """While its server has not started yet, which may take seconds, nobody else is given a port."""
    assert ports.free_port() == only_port
    with pytest.raises(RigError, match="no free TCP port"):
        ports.free_port()


def test_server_may_listen_on_its_port(only_port: int) -> None:
    """Before it does nobody is answered there, and it may stop and start."""
    ports.free_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", only_port))
    for _ in range(2):
        with socket.create_server(("127.0.0.1", only_port)), socket.create_connection(("127.0.0.1", only_port)):
            pass


def test_ports_are_held_for_a_while_only() -> None:
    """Their number is bounded, as that of a process's open files is."""
    for _ in range(ports._MOST_HELD + 10):
        ports.free_port()

    assert len(ports._HELD) == ports._MOST_HELD
