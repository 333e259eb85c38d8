"""Waiting for a condition with a deadline: the only place of the rig that sleeps."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

from rig.errors import RigError

# Short enough to be invisible beside what is waited for, long enough not to load two cores.
_INTERVAL_SECONDS = 0.05

# A deadline is there to end what hangs. What takes a second on an idle machine can take many on a busy one, so none is
# shorter; where all is well nobody waits for it.
_LEAST_SECONDS = 60

Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result | None], *, what: str, seconds: float) -> Result:
    """Return the first truthy result of ``condition``; one that does not come in time names ``what``."""
    seconds = max(seconds, _LEAST_SECONDS)
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise RigError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(_INTERVAL_SECONDS)


def port_answers(address: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
