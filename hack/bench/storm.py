"""A storm of requests: what it is to be, what became of it, and how it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from bench.asking import Target
from rig.errors import RigError


@dataclass(frozen=True, slots=True)
class StormJob:
    """What to do.

    Attributes:
        target: whom to ask.
        rate: requests in a second.
        seconds: how long.
        connections: how many there are at most.
        timeout: seconds after which whoever asks gives up and closes the connection.
        core: where this process runs.
    """

    target: Target
    rate: float
    seconds: float
    connections: int
    timeout: int
    core: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of requests of one kind; latencies in milliseconds."""

    number: int
    within_100ms: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class StormFigures:
    """What became of all of them.

    Attributes:
        due: how many requests were due, whether or not they could be sent.
        seconds: from the first to the last of them.
        opened: connections, handshakes included, over the whole time.
        generator: share of a core that the generator took.
        late: milliseconds that the generator was behind its schedule, the 99th percentile.
        outcomes: by word.
    """

    due: int
    seconds: float
    opened: int
    generator: float
    late: float
    outcomes: dict[str, Outcome]

    def share(self, word: str) -> float:
        """Return the share of an outcome."""
        return self.outcomes[word].number / self.due if word in self.outcomes else 0.0


def run_storm(job: StormJob) -> StormFigures:
    """Run it in a process of its own.

    Raises:
        RigError: it failed; what it said is above.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.storming", json.dumps(asdict(job))], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise RigError(f"the storm ended with status {done.returncode}")
    given = json.loads(done.stdout)
    outcomes = {word: Outcome(**item) for word, item in given["outcomes"].items()}
    return StormFigures(**(given | {"outcomes": outcomes}))
